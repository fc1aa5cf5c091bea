"""TokenSwift beside plain decoding, prompt lookup, speculation in turns and transformers' own.

Model and heads are the check's, trained on Python functions; the draft of the turns is a small model of the same
text. Wall-clock seconds on one core; a ratio is control / ours, the geometric mean over prompts. Then what a
step's own work takes beside its two passes, and one text of 20 000 tokens with a draft that reads 256 keys.
"""

from __future__ import annotations

from typing import Any

from benchmarks.gemma import compared
from benchmarks.measure import Row, at_least, at_most, decoders_row, plain_decoding_row, row


def run(quick: bool = False) -> dict[str, Any]:
    from firsthand.decoding.tokenswift.scales import SIZES
    from firsthand.decoding.tokenswift.world import make_world

    size = SIZES["smoke" if quick else "laptop"]
    world = make_world(size)
    details: dict[str, Any] = {}
    rows = [
        plain_decoding_row(
            world.model, world.text.prompts(1, size.prompt, 0, 9)[0], 8 if quick else 128, 2 if quick else 7
        )
    ]
    rows.append(own_work_row(quick))
    for name, measured in (("sampled", sampled_rows), ("greedy", greedy_rows)):
        found, details[name] = measured(world, size, quick)
        rows += found
    found, details["long text"] = long_rows(world, size, quick)
    rows += found
    if not quick:
        details["Gemma 3 270M, 5 prompts of 64 tokens"] = gemma()
    return {"rows": rows, "details": details}


def own_work_row(quick: bool) -> Row:
    """All that a step does beside its two passes, on a model of 3.2 M weights (random ones)."""
    from firsthand.decoding.tokenswift import MultiTokenHeads, TokenSwift, long_sampling
    from firsthand.lm.decoding.huggingface import HFCausalLM
    from firsthand.lm.shelf import tiny_hybrid

    model = HFCausalLM(tiny_hybrid(width=32 if quick else 256), name="3.2 M")
    swift = TokenSwift(model, MultiTokenHeads(model.hidden_size), kv_budget=64, adaptive=False)
    found = swift.generate(list(range(1, 33)), 16 if quick else 256, long_sampling(penalty_window=64))
    passes = found.seconds["draft"] + found.seconds["verify"]
    share = found.seconds["own"] / passes
    return row(
        "a step's own work beside its two passes, 3.2 M weights",
        {"label": "own", "text": f"{found.seconds['own'] / found.steps * 1e3:.2f} ms a step"},
        {"label": "passes", "text": f"{passes / found.steps * 1e3:.2f} ms a step"},
        share,
        target=at_most(0.15),
        equal=None,
        note="own / passes, wall-clock; the paper's tree, 20 n-grams, its sampling",
    )


def _swift(world: Any, size: Any, **options: Any) -> Any:
    from firsthand.decoding.tokenswift import TokenSwift

    return TokenSwift(world.model, world.heads, kv_budget=size.budget, kv_sink=size.sink, **options)


def _rows(found: Any, kind: str, ours: str, others: list[str]) -> list[Row]:
    return [
        decoders_row(
            found,
            f"{kind}: TokenSwift ({ours}) and {name}",
            ours,
            name,
            target=at_least(0.95) if (ours, name) == ("adaptive", "plain") else None,
            equal=found.timed[ours].divergence is None and found.timed[name].divergence is None,
            note="wall-clock seconds on one core; ratio is control / ours over prompts",
        )
        for name in others
    ]


def sampled_rows(world: Any, size: Any, quick: bool) -> tuple[list[Row], dict[str, Any]]:
    """The paper's sampling; every arm draws with the same numbers, so that all texts are one."""
    from firsthand.decoding.tokenswift import long_sampling
    from firsthand.lm.decoding import PlainDecoder, PromptLookup
    from firsthand.lm.decoding.timing import compare_decoders

    arms: dict[str, Any] = {
        "plain": PlainDecoder(world.model),
        "auto": _swift(world, size, branching="auto", adaptive=False),
        "adaptive": _swift(world, size, branching="auto"),
        "published": _swift(world, size, drawn=False, adaptive=False),
        "prompt lookup": PromptLookup(world.model),
    }
    sampling = {"sampling": long_sampling(penalty_window=size.window, seed=1)}
    found = compare_decoders(
        arms,
        world.text.prompts(1 if quick else 8, size.prompt, 0, 8),
        24 if quick else 512,
        repeats=1 if quick else 2,
        arguments=dict.fromkeys(arms, sampling),
    )
    rows = _rows(found, "sampled", "auto", ["plain", "published", "prompt lookup"])
    rows += _rows(found, "sampled", "adaptive", ["plain"])
    return rows, {"arms": found.rows()}


def greedy_rows(world: Any, size: Any, quick: bool) -> tuple[list[Row], dict[str, Any]]:
    """Greedy texts, which transformers' own schemes give too."""
    from firsthand.decoding.tokenswift.bench import LENGTHS
    from firsthand.lm.decoding import PlainDecoder, PromptLookup, SamplingParams, SerialSpeculation
    from firsthand.lm.decoding.huggingface import HFCausalLM
    from firsthand.lm.decoding.peers import TransformersGenerate
    from firsthand.lm.decoding.timing import compare_decoders, seconds_by_option
    from firsthand.lm.shelf import Recipe, trained_model

    recipe = Recipe(
        width=64, layers=1, heads=2, kind="hybrid", context=64 if quick else 256,
        steps=20 if quick else 3000, batch=4,
    )  # fmt: skip
    draft = HFCausalLM(trained_model(recipe, world.text.read, world.text.tokenizer), name="draft")
    tokens = 16 if quick else 256
    tuning = world.text.prompts(2, size.prompt, 0, 6)
    seconds = seconds_by_option(
        lambda length: SerialSpeculation(world.model, draft, length=length), LENGTHS, tuning, tokens
    )
    best = min(seconds, key=lambda length: seconds[length])
    turns = f"turns, {best} drafted"
    arms: dict[str, Any] = {
        "plain": PlainDecoder(world.model),
        "auto": _swift(world, size, branching="auto", adaptive=False),
        "adaptive": _swift(world, size, branching="auto"),
        "published": _swift(world, size, drawn=False, adaptive=False),
        turns: SerialSpeculation(world.model, draft, length=best),
        "prompt lookup": PromptLookup(world.model),
        "transformers' prompt lookup": TransformersGenerate(world.model, "prompt-lookup"),
        "transformers' assisted generation": TransformersGenerate(world.model, "assisted", draft),
    }
    greedy = {"sampling": SamplingParams()}
    found = compare_decoders(
        arms,
        world.text.prompts(1 if quick else 8, size.prompt, 0, 5),
        tokens,
        repeats=1 if quick else 2,
        arguments=dict.fromkeys(("auto", "adaptive", "published"), greedy),
    )
    others = [name for name in arms if name not in ("auto", "adaptive")]
    rows = _rows(found, "greedy", "auto", others) + _rows(found, "greedy", "adaptive", ["plain"])
    return rows, {"arms": found.rows(), "turns by length, s": seconds}


def long_rows(world: Any, size: Any, quick: bool) -> tuple[list[Row], dict[str, Any]]:
    """One text of 20 000 tokens: how acceptance, re-use and diversity go along it, what the draft's keys take."""
    from firsthand.decoding.tokenswift import long_sampling

    tokens, every = (96, 32) if quick else (20_000, 1_000)
    swift = _swift(world, size, branching=(1, 2, 2, 1), ngram_topk=8, adaptive=False)
    sampling = long_sampling(penalty_window=size.window, seed=2)
    prompt = world.text.prompts(1, size.prompt, 0, 4)[0]
    found = swift.generate(prompt, tokens, sampling, curve_every=every)
    whole = 2 * 4 * sum(1 for window in world.model.windows if window is None) * _width(world) * tokens
    rows = [
        row(
            f"{tokens} tokens: bytes of the draft's keys and of all keys of the full-attention layers",
            {"label": "draft", "text": f"{found.partial_bytes / 1024:.0f} KiB"},
            {"label": "all", "text": f"{whole / 1024:.0f} KiB"},
            found.partial_bytes / whole,
            target=None,
            equal=None,
            note=f"ours / peer; B = {size.budget}, chosen {found.selections} times, the last time far beyond 4·B",
        )
    ]
    return rows, {
        "tokens": len(found.tokens), "selections": found.selections, "partial_bytes": found.partial_bytes,
        "seconds": found.seconds, "alpha": found.acceptance_rate, "reuse_share": found.reuse_share,
        "tokens_per_step": found.tokens_per_step, "distinct": {str(n): v for n, v in found.distinct.items()},
        "curve": [point._asdict() for point in found.curve],
    }  # fmt: skip


def _width(world: Any) -> int:
    config = world.model.model.config
    return int(config.num_key_value_heads * config.head_dim)


def gemma() -> dict[str, Any]:
    """Real weights: trees of 46 tokens, heads that know nothing, n-grams of a text that is nearly the right one."""
    from firsthand.decoding.tokenswift import MultiTokenHeads, TokenSwift
    from firsthand.lm.decoding import SamplingParams

    def found(model: Any, ids: list[int], wanted: list[int]) -> Any:
        seen = [token for n, token in enumerate([*ids, *wanted]) if n % 9]
        heads = MultiTokenHeads(model.hidden_size).to(model.dtype)
        swift = TokenSwift(
            model, heads, branching=(1, 2, 2, 2), ngram_topk=4, preload=seen, kv_budget=48, adaptive=False
        )
        return swift.generate(ids, 64, SamplingParams())

    return compared(found)
