"""The hardware-aware draft budget: as many drafted tokens as fit beside one pass of the target (section 3.2).

Knows how to time the two models and how to choose γ from the times; knows nothing of rounds.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from firsthand.errors import InputError
from firsthand.lm.decoding.protocol import CausalLM, check_pair
from firsthand.lm.decoding.sampling import Sampler, SamplingParams

__all__ = ["CANDIDATES", "HardwareProfile", "draft_budget", "draft_step_ms", "profile", "target_pass_ms"]

CANDIDATES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48)
PASSES = (1, 2, 4, 8, 16, 32)
WARM_UP = 3


@dataclass(frozen=True)
class HardwareProfile:
    """How long the two models take on their devices, in milliseconds.

    Attributes:
        draft_ms: t_d, one draft step of one token.
        target_ms: t_t(n), one target pass over n tokens, by n.
        comm_ms: one message to the draft's side and back.
        context_len: at how many tokens of context this was measured.
    """

    draft_ms: float
    target_ms: dict[int, float]
    comm_ms: float = 0.0
    context_len: int = 0
    _points: list[tuple[int, float]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        points = sorted((int(n), float(ms)) for n, ms in self.target_ms.items())
        if not points or points[0][0] < 1 or not all(ms > 0 for _, ms in points):
            raise InputError("target_ms maps numbers of tokens (at least 1) to milliseconds (above 0)")
        if not self.draft_ms > 0 or not self.comm_ms >= 0:
            raise InputError(
                f"draft_ms must be above 0 and comm_ms at least 0; got {self.draft_ms} and {self.comm_ms}"
            )
        object.__setattr__(self, "_points", points)

    def target_time(self, tokens: int) -> float:
        """t_t(n) in ms: between measured n on a straight line, outside them as the nearest two go on."""
        points = self._points
        if len(points) == 1:
            return points[0][1]
        above = next((i for i, (n, _) in enumerate(points) if n >= tokens), len(points) - 1)
        (n0, ms0), (n1, ms1) = points[max(above, 1) - 1], points[max(above, 1)]
        if tokens > n1:  # passes never get shorter with more tokens
            return ms1 + max(0.0, (ms1 - ms0) / (n1 - n0)) * (tokens - n1)
        return ms0 + (ms1 - ms0) * (max(tokens, n0) - n0) / (n1 - n0)

    @property
    def ratio(self) -> float:
        """c = t_t(1)/t_d: draft steps in one pass of one token."""
        return self.target_time(1) / self.draft_ms

    def scaled(self, *, draft_ms: float, target_factor: float, context_len: int) -> HardwareProfile:
        """The profile at another context: a new t_d, and all of t_t times a factor."""
        return replace(
            self,
            draft_ms=draft_ms,
            target_ms={n: ms * target_factor for n, ms in self.target_ms.items()},
            context_len=context_len,
        )

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        plain = asdict(self)
        del plain["_points"]
        return {**plain, "target_ms": {str(n): ms for n, ms in self._points}, "ratio": self.ratio}


def draft_budget(profile: HardwareProfile, candidates: Sequence[int] = CANDIDATES) -> int:
    """γ: the largest candidate with γ·t_d ≤ t_t(γ) + t_comm, at least 1.

    Then drafting and checking end at about the same time and neither side idles. With cheap drafts the time of
    the message counts too; the candidates' end bounds γ where a draft takes next to nothing.
    """
    if not candidates or min(candidates) < 1:
        raise InputError("candidates for the budget must be numbers from 1 on")
    fitting = [
        budget
        for budget in candidates
        if budget * profile.draft_ms <= profile.target_time(budget) + profile.comm_ms
    ]
    return max(fitting, default=1)


def profile(
    target: CausalLM,
    draft: CausalLM,
    context_len: int = 256,
    repeats: int = 20,
    *,
    prompt_ids: Sequence[int] | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> HardwareProfile:
    """Time both models, one after the other, at a context of `context_len` tokens.

    t_d is the median of `repeats` steps of one token, t_t(n) of half as many passes, each after three that do
    not count. The context is `prompt_ids`, repeated or cut to length; without them, token ids in turn.
    """
    check_pair(target, draft)
    if repeats < 1 or context_len < 1:
        raise InputError(f"repeats and context_len must be at least 1, got {repeats} and {context_len}")
    context = _context(prompt_ids or range(min(target.vocab_size, 1000)), context_len, target, draft)
    return HardwareProfile(
        draft_ms=draft_step_ms(draft, context, repeats, clock),
        target_ms=target_pass_ms(target, context, max(1, repeats // 2), clock=clock),
        context_len=len(context),
    )


def _context(ids: Sequence[int], length: int, *models: CausalLM) -> list[int]:
    for model in models:
        if model.max_length is not None:
            length = min(length, max(1, model.max_length - max(PASSES)))
    text = list(ids)
    return (text * (length // len(text) + 1))[:length]


def draft_step_ms(
    draft: CausalLM,
    context: Sequence[int],
    repeats: int = 20,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """t_d in ms: one token read, and the next one chosen."""
    sampler = Sampler(SamplingParams(), draft.name)
    cache = draft.new_cache()
    draft.forward(context, cache, last=1)

    def step() -> None:
        logits = draft.forward(context[-1:], cache, last=1)
        sampler.draw(logits[0], context)
        cache.truncate(len(context))

    return _median_ms(step, repeats, clock)


def target_pass_ms(
    target: CausalLM,
    context: Sequence[int],
    repeats: int = 10,
    passes: Sequence[int] = PASSES,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[int, float]:
    """t_t(n) in ms for n in `passes`: n tokens read, their logits on the CPU."""
    cache = target.new_cache()
    target.forward(context, cache, last=1)
    room = None if target.max_length is None else target.max_length - len(context)
    times = {}
    for count in passes:
        if room is not None and count > max(1, room):
            break
        tokens = (list(context) * (count // len(context) + 1))[:count]

        def one(tokens: list[int] = tokens) -> None:
            target.forward(tokens, cache).cpu()
            cache.truncate(len(context))

        times[count] = _median_ms(one, repeats, clock)
    return times


def _median_ms(act: Callable[[], None], repeats: int, clock: Callable[[], float]) -> float:
    for _ in range(WARM_UP):
        act()
    times = []
    for _ in range(repeats):
        started = clock()
        act()
        times.append(clock() - started)
    return max(statistics.median(times) * 1000, 1e-6)
