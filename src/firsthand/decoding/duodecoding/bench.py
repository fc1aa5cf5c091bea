"""DuoDecoding beside its controls on a user's own models and prompts: who is how fast, at equal text."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, Literal

from firsthand.decoding.duodecoding.decoder import DuoDecoder
from firsthand.decoding.duodecoding.loading import Runner, draft_recipe, load_draft
from firsthand.decoding.duodecoding.scales import SERIAL_LENGTHS
from firsthand.decoding.duodecoding.workers import ExecutorName
from firsthand.errors import InputError
from firsthand.lm.backend import require
from firsthand.lm.decoding import CausalLM, PlainDecoder, PromptLookup, SerialSpeculation
from firsthand.lm.decoding.emulated import EmulatedDevice
from firsthand.lm.decoding.huggingface import HFCausalLM
from firsthand.lm.decoding.peers import TransformersGenerate
from firsthand.lm.decoding.timing import compare_decoders, seconds_by_option

__all__ = ["bench", "bench_lines"]


def bench(
    target: HFCausalLM,
    draft: str,
    prompts: Sequence[Sequence[int]],
    new_tokens: int,
    *,
    runner: Runner = "framework",
    executor: ExecutorName = "process",
    budget: Literal["auto"] | int = "auto",
    repeats: int = 3,
    emulate_target_ms: float = 0.0,
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Time every scheme on `prompts`, greedily and at an exact length; `draft` is a name for `load_draft`.

    The turns' best length is chosen on the first prompt, which is then left out where there are others. With
    `emulate_target_ms` every pass of the target takes at least so long, transformers' own schemes are left out,
    and the report says `emulated`.
    """
    if not prompts:
        raise InputError("give at least one prompt")
    beside = load_draft(draft, runner)
    model: CausalLM = EmulatedDevice(target, emulate_target_ms) if emulate_target_ms else target
    tuning, judged = prompts[0], list(prompts[1:]) or list(prompts)
    seconds = seconds_by_option(
        lambda length: SerialSpeculation(model, beside, length=length), SERIAL_LENGTHS, [tuning], new_tokens
    )
    best = min(seconds, key=lambda length: seconds[length])
    settings: dict[str, Any] = {"executor": executor, "fallback": False}
    source: Any = draft_recipe(draft, runner) if executor == "process" else beside
    with (
        DuoDecoder(model, source, budget=budget, **settings) as duo,
        DuoDecoder(model, source, budget=budget, sequences=1, **settings) as chain,
        DuoDecoder(model, source, budget=budget, executor=executor) as careful,
    ):
        chosen = duo.calibrate(tuning) if budget == "auto" else None
        for other in (chain, careful):
            other.profile = chosen
        arms: dict[str, Any] = {
            "plain": PlainDecoder(model),
            f"turns, best length ({best})": SerialSpeculation(model, beside, length=best),
            "duo": duo,
            "duo, one chain": chain,
            "duo with fallback": careful,
            "prompt lookup": PromptLookup(model),
        }
        if not emulate_target_ms:
            arms["transformers: plain"] = TransformersGenerate(target)
            arms["transformers: prompt lookup"] = TransformersGenerate(target, "prompt-lookup")
            if isinstance(beside, HFCausalLM):
                arms["transformers: assisted"] = TransformersGenerate(target, "assisted", beside)
        found = compare_decoders(arms, judged, new_tokens, repeats=repeats, on_progress=on_progress)
        last = found.timed["duo"].results[-1].as_dict()
    return {
        "dtype": str(target.dtype).removeprefix("torch."),
        "device": str(target.device),
        "executor": executor,
        "target_latency": "emulated" if emulate_target_ms else "real",
        "prompts": len(judged),
        "new_tokens": new_tokens,
        "profile": None if chosen is None else chosen.as_dict(),
        "turns_by_length_s": {str(length): value for length, value in seconds.items()},
        "arms": found.rows(),
        "last_duo_text": {
            key: last[key]
            for key in (
                "rounds", "tokens_per_round", "hit_rate_first_token", "tail_accept_by_position", "k_histogram",
                "budgets", "draft_steps", "draft_busy_s", "target_busy_s", "idle_share", "comm_s", "ttft_s",
            )
        },
        "machine": {
            "cpus": os.cpu_count(),
            "threads": require("torch").get_num_threads(),
            "torch": require("torch").__version__,
        },
    }  # fmt: skip


def bench_lines(report: dict[str, Any]) -> str:
    """The report as a table."""
    rows = [("decoder", "tokens/s", "speed-up (95 %)", "tokens/step", "first token", "same text")]
    for row in report["arms"]:
        estimate, low, high = row["speedup"]
        rows.append(
            (
                row["decoder"],
                f"{row['tokens_per_s']:.1f}",
                f"{estimate:.2f} ({low:.2f} to {high:.2f})",
                f"{row['tokens_per_step']:.2f}",
                f"{1000 * row['ttft_s']:.1f} ms" if row["ttft_s"] else "",
                "yes" if row["same_text"] else f"differs: {row['first_divergence']}",
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    idle = report["last_duo_text"]["idle_share"]
    lines.append(
        f"idle in the last text: draft {idle['draft']:.0%}, target {idle['target']:.0%}; "
        f"target latency {report['target_latency']}"
    )
    return "\n".join(lines)
