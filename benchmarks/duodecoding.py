"""DuoDecoding beside plain decoding, turns, prompt lookup and transformers' own speculation.

The models are the check's: a target trained on Python functions and its draft, run by transformers (c about 5)
and bare (c above 14), one core for each model. And our plain loop against `model.generate`, which every other
number rests on. Wall-clock seconds; a ratio is control / ours, the geometric mean over prompts.
"""

from __future__ import annotations

from typing import Any

from benchmarks.gemma import compared
from benchmarks.measure import Row, at_least, decoders_row, plain_decoding_row


def run(quick: bool = False) -> dict[str, Any]:
    from firsthand.decoding.duodecoding.scales import SIZES
    from firsthand.decoding.duodecoding.world import make_pair

    size = SIZES["smoke" if quick else "laptop"]
    pair = make_pair(size)
    rows = [
        plain_decoding_row(
            pair.target, pair.text.prompts(1, size.prompt, 0, 9)[0], 8 if quick else 96, 2 if quick else 7
        )
    ]
    details: dict[str, Any] = {}
    for cell in ("slow", "fast"):
        found, details[f"{cell} draft"] = cell_rows(pair, size, cell, quick)
        rows += found
    if not quick:
        details["Gemma 3 270M, 5 prompts of 64 tokens"] = gemma()
    return {"rows": rows, "details": details}


def cell_rows(pair: Any, size: Any, cell: str, quick: bool) -> tuple[list[Row], dict[str, Any]]:
    from firsthand.decoding.duodecoding.decoder import DuoDecoder
    from firsthand.decoding.duodecoding.scales import SERIAL_LENGTHS
    from firsthand.decoding.duodecoding.world import pinned
    from firsthand.lm.decoding import PlainDecoder, PromptLookup, SerialSpeculation
    from firsthand.lm.decoding.peers import TransformersGenerate
    from firsthand.lm.decoding.timing import compare_decoders, seconds_by_option

    draft, target, tokens = pair.draft(cell), pair.target, size.tokens
    tuning = pair.text.prompts(2, size.prompt, 0, 7)

    def worker(cores: tuple[int, int] | None, *, fallback: bool) -> DuoDecoder:
        return DuoDecoder(
            target, pair.recipe(cell), executor="process", draft_threads=1,
            draft_cores=None if cores is None else [cores[1]], fallback=fallback,
        )  # fmt: skip

    with (
        pinned() as cores,
        worker(cores, fallback=False) as duo,
        worker(cores, fallback=True) as careful,
    ):
        profile = duo.calibrate(tuning[0])
        careful.profile = profile
        seconds = seconds_by_option(
            lambda length: SerialSpeculation(target, draft, length=length), SERIAL_LENGTHS, tuning, tokens
        )
        best = min(seconds, key=lambda length: seconds[length])
        arms: dict[str, Any] = {
            "duo": duo,
            "plain": PlainDecoder(target),
            f"turns, {best} drafted": SerialSpeculation(target, draft, length=best),
            "prompt lookup": PromptLookup(target),
            "transformers' prompt lookup": TransformersGenerate(target, "prompt-lookup"),
            "with fallback": careful,
        }
        if cell == "slow":
            arms["transformers' assisted generation"] = TransformersGenerate(target, "assisted", draft)
        found = compare_decoders(
            arms, pair.text.prompts(2 if quick else 12, size.prompt, 0, 8), tokens, repeats=1 if quick else 3
        )
    c = profile.ratio
    rows = []
    for name in arms:
        if name == "duo":
            continue
        ours, target_of = "duo", None
        if name == "with fallback":  # no harm: against plain decoding
            ours, name, target_of = name, "plain", at_least(0.95)
        rows.append(
            decoders_row(
                found,
                f"c = {c:.1f}: {'DuoDecoding' if ours == 'duo' else 'DuoDecoding with fallback'} and {name}",
                ours,
                name,
                target=target_of,
                equal=all(timed.divergence is None for timed in found.timed.values()),
                note="wall-clock seconds, two cores, auto budget; ratio is control / ours over prompts",
            )
        )
    return rows, {"profile": profile.as_dict(), "turns by length, s": seconds, "arms": found.rows()}


def gemma() -> dict[str, Any]:
    """Real weights: overlap with an n-gram draft."""
    from firsthand.decoding.duodecoding.decoder import DuoDecoder
    from firsthand.lm.decoding.ngram import NGramLM

    def found(model: Any, ids: list[int], wanted: list[int]) -> Any:
        # The draft has read what plain decoding wrote, a little disturbed: it is right often, and wrong at times.
        seen = [token for n, token in enumerate([*ids, *wanted]) if n % 9]
        draft = NGramLM(3, vocab_size=model.vocab_size).fit(seen)
        with DuoDecoder(model, draft, budget=4, sequences=1, executor="serial", fallback=False) as decoder:
            return decoder.generate(ids, 64)

    return compared(found)
