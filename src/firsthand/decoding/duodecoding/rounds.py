"""The rounds of one text: draft and check at once, then keep what fits (Algorithm 1 of the paper).

While the target checks what was drafted in the last round, the draft writes what may come next. The text is
`verified + tail`: tokens that are certain, then drafted ones that the next pass checks. Without a tail (the
paper's pre-verification) a round gives one certain token; with one (post-verification) it gives the accepted
tail and one more. Knows verification and roll-back; the draft's side is `drafting`, where it runs `workers`,
what a round is worth `fallback`.

Certain tokens are given out as soon as the target's pass is over, before anyone waits for the draft.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Generator
from typing import Any, Literal

from firsthand.decoding.duodecoding.budget import HardwareProfile, draft_budget
from firsthand.decoding.duodecoding.drafting import (
    Draft,
    DraftRequest,
    DraftSettings,
    Floats,
    Update,
    draft_random,
)
from firsthand.decoding.duodecoding.fallback import Fallback, PlainTimes
from firsthand.decoding.duodecoding.result import DuoResult, Round
from firsthand.decoding.duodecoding.verification import accept_first, accept_token
from firsthand.decoding.duodecoding.workers import DraftExecutor
from firsthand.lm.decoding.protocol import CausalLM
from firsthand.lm.decoding.sampling import Sampler
from firsthand.lm.decoding.stops import Ending, Stop

__all__ = ["Text"]


class Text:
    """One text on its way: `run` goes round after round until it ends.

    `budget` is γ, or "auto" with a `profile`. `clock` gives seconds.
    """

    def __init__(
        self,
        target: CausalLM,
        worker: DraftExecutor,
        ids: list[int],
        max_new_tokens: int,
        settings: DraftSettings,
        stop: Stop,
        *,
        budget: Literal["auto"] | int,
        profile: HardwareProfile | None,
        fallback: bool,
        plain_times: PlainTimes,
        clock: Callable[[], float],
    ) -> None:
        self._target, self._worker, self._settings, self._clock = target, worker, settings, clock
        self._free = settings.mode == "sample" and not settings.sampling.greedy
        self._sampler = Sampler(settings.sampling, target.name)
        self._ending = Ending(stop, max_new_tokens)
        self._prompt_tokens, self._total = len(ids), len(ids) + max_new_tokens
        self._verified = ids
        self._tail: list[int] = []
        self._tail_q: Floats | None = None  # what the tail was drawn from, if it was drawn freely
        self._unread = list(ids)  # of verified + tail, what the target has not read
        self._cache = target.new_cache()
        self._updates = [Update(0, -1, tuple(ids))]  # what the draft has yet to be told
        self._log: list[Round] = []
        self._emitted: list[int] = []
        self._profile = profile
        self._budget = draft_budget(profile) if profile is not None else int(budget)
        known = plain_times.get(len(ids), clock())
        self._fallback = Fallback(max_new_tokens, known) if fallback else None
        self._plain_times = plain_times
        self._fell_back = False
        self._next_look, self._looked_at = 2 * len(ids), 1  # a context; a round: since then times are new
        self._first_s = 0.0

    def run(self) -> Generator[list[int], None, DuoResult]:
        """Yield certain tokens; return what they took."""
        self._started = self._clock()
        self._worker.begin(self._settings)
        while not self._ending.reached:
            if not self._tail and self._log and (self._fell_back or self._wants_plain()):
                yield from self._plain_step()
            else:
                yield from self._round()
            if len(self._verified) >= self._next_look:
                self._look_again()
        return DuoResult(
            tokens=tuple(self._emitted),
            stop_reason=self._ending.reason or "length",
            prompt_tokens=self._prompt_tokens,
            steps=len(self._log),
            target_passes=len(self._log),
            drafted=sum(entry.tail + (entry.hit is not None) for entry in self._log),
            accepted=sum(entry.accepted + (entry.hit is not None and entry.hit >= 0) for entry in self._log),
            ttft_s=self._first_s,
            wall_s=self._clock() - self._started,
            fell_back=self._fell_back,
            log=tuple(self._log),
            profile=self._profile,
        )

    # --- a round ---------------------------------------------------------------------------------------

    def _round(self) -> Generator[list[int], None, None]:
        """Draft and check at once, then see whether what was drafted goes on from what was found."""
        started = self._clock()
        number, tail = len(self._log), len(self._tail)
        base = len(self._verified) + tail
        # In the first round the draft reads the prompt beside the target; more than one token would delay both.
        budget = 1 if number == 0 else self._budget
        at_end = (
            base >= self._total
        )  # then the tail is all that is left to check, and its last token leads nowhere
        if self._fell_back or at_end:
            budget = 0
        if budget:
            limit_s = self._fallback.limit_s if self._fallback is not None and number else float("inf")
            room = min(budget, self._total - base)
            self._worker.submit(DraftRequest(tuple(self._updates), budget, room, number, limit_s))
            self._updates = []
        if at_end:
            del self._unread[-1]
        read = len(self._unread)
        sent = self._clock()
        logits = self._pass(tail + (not at_end))
        target_s = self._clock() - sent

        random = draft_random(self._settings.sampling.seed, number, 2) if self._free else None
        draft: Draft | None = None
        hit: int | None = None
        wait_s = comm_s = 0.0
        certain, accepted = self._check_tail(logits, random)
        whole = accepted == tail
        if (
            whole and not at_end and random is not None
        ):  # freely drawn first tokens take part in choosing this one
            if budget:
                draft, wait_s, comm_s = self._answer(sent)
            p = self._sampler.probabilities(logits[tail], self._verified)
            firsts = () if draft is None else tuple(sequence[0] for sequence in draft.sequences)
            token, hit = accept_first(p, _first_q(draft, p), firsts, random)
            certain.append(token)
            self._verified.append(token)
        elif whole and not at_end:
            token = self._sampler.draw(logits[tail], self._verified)
            certain.append(token)
            self._verified.append(token)
        before = len(self._emitted)
        away = yield from self._emit(certain)
        given = len(self._emitted) - before

        ended = self._ending.reached
        if budget and draft is None:
            if ended or not whole:  # what is being drafted goes on from a text that is not this one
                self._worker.cancel()
            if not ended:
                draft, wait_s, comm_s = self._answer(sent)
            if whole and not self._free and draft is not None:
                hit = next((j for j, s in enumerate(draft.sequences) if s[0] == certain[-1]), None)
        appended = () if ended else self._go_on(certain[-1], whole, hit, draft, base)
        entry = Round(
            kind="duo",
            budget=budget,
            sequences=len(draft.sequences) if draft else 0,
            length=max((len(sequence) for sequence in draft.sequences), default=0) if draft else 0,
            tail=tail,
            accepted=accepted,
            hit=None if draft is None or not draft.sequences or not whole else -1 if hit is None else hit,
            appended=appended,
            certain=given,
            draft_steps=draft.steps if draft else 0,
            draft_passes=draft.passes if draft else 0,
            target_tokens=read,
            draft_s=draft.ended - draft.started if draft else 0.0,
            target_s=target_s,
            wait_s=wait_s,
            comm_s=comm_s,
            wall_s=self._clock() - started - away,
        )
        self._log.append(entry)
        if budget and not ended:
            self._judge(entry, given_up=whole and draft is not None and draft.cancelled)

    def _pass(self, rows: int) -> Any:
        """Logits (rows, V), on the CPU, of the target after all that it had not read."""
        return self._target.forward(self._unread, self._cache, last=rows).to("cpu")

    def _check_tail(self, logits: Any, random: Any) -> tuple[list[int], int]:
        """Certain tokens that the tail's check gives, and how many of the tail were right.

        Row i of `logits` is the target after `verified` and i tokens of the tail. The first wrong one is
        replaced by the target's own, and the check ends.
        """
        certain: list[int] = []
        for place, drafted in enumerate(self._tail):
            if random is not None and self._tail_q is not None:
                p = self._sampler.probabilities(logits[place], self._verified)
                token, right = accept_token(p, self._tail_q[place], drafted, random)
            else:
                token = self._sampler.draw(logits[place], self._verified)
                right = token == drafted
            certain.append(token)
            self._verified.append(token)
            if not right:
                return certain, place
        return certain, len(self._tail)

    def _answer(self, sent: float) -> tuple[Draft, float, float]:
        """The draft, the seconds it was waited for, and those that both messages were under way."""
        waiting = self._clock()
        draft = self._worker.result()
        received = self._clock()
        comm_s = max(0.0, draft.started - sent) + max(0.0, received - max(draft.ended, waiting))
        return draft, received - waiting, comm_s

    def _emit(self, tokens: list[int]) -> Generator[list[int], None, float]:
        """Give out what still belongs to the text; returns the seconds that the caller kept."""
        taken = self._ending.take(tokens)
        self._emitted += taken
        before = self._clock()
        self._first_s = self._first_s or before - self._started
        yield taken
        return self._clock() - before

    def _go_on(
        self, token: int, whole: bool, hit: int | None, draft: Draft | None, base: int
    ) -> tuple[int, ...]:
        """Bring tail, caches and the draft's text to where the next round starts; returns what was appended."""
        self._tail, self._tail_q = [], None
        if whole and hit is not None and draft is not None:
            sequence = draft.sequences[hit]
            self._tail = list(sequence[1:])
            self._tail_q = None if draft.chain_q is None else draft.chain_q[hit]
            self._unread = list(sequence)
            self._updates.append(Update(base, hit, ()))
            return sequence
        kept = len(self._verified) - 1
        self._cache.truncate(kept)  # after a miss nothing is left out
        self._updates.append(Update(kept, -1, (token,)))
        self._unread = [token]
        return (token,)

    # --- plain steps, and when to take them ------------------------------------------------------------

    def _wants_plain(self) -> bool:
        return self._fallback is not None and self._fallback.wants_plain

    def _plain_step(self) -> Generator[list[int], None, None]:
        """One token without the draft: to learn what it takes, or for good."""
        started = self._clock()
        logits = self._pass(1)
        target_s = self._clock() - started
        token = self._sampler.draw(logits[0], self._verified)
        kept = len(self._verified)
        self._verified.append(token)
        self._unread = [token]
        if not self._fell_back:
            self._updates.append(Update(kept, -1, (token,)))
        away = yield from self._emit([token])
        wall_s = self._clock() - started - away
        self._log.append(Round.plain(token, target_s, wall_s))
        if self._fallback is not None and not self._fell_back:
            self._fallback.saw_plain(wall_s)
            if self._fallback.plain_s is not None:
                self._plain_times.put(len(self._verified), self._clock(), self._fallback.plain_s)

    def _judge(self, entry: Round, given_up: bool) -> None:
        if self._fallback is None:
            return
        if len(self._log) == 1:  # it read the prompt: only what the draft's reading took longer can be a loss
            self._fallback.saw_wait(entry.wait_s)
            return
        self._fallback.saw_round(entry.wall_s, entry.certain, given_up=given_up)
        self._fell_back = self._fallback.gave_up

    def _look_again(self) -> None:
        """The context has doubled: the budget follows what the rounds since then took."""
        self._next_look *= 2
        if self._fell_back:
            return
        recent = [entry for entry in self._log[self._looked_at :] if entry.draft_passes]
        self._looked_at = len(self._log)
        if self._profile is not None and recent:
            profile = self._profile
            draft_s = statistics.median(entry.draft_s / entry.draft_passes for entry in recent)
            factor = statistics.median(
                entry.target_s * 1000 / profile.target_time(entry.target_tokens) for entry in recent
            )
            self._profile = profile.scaled(
                draft_ms=max(draft_s * 1000, 1e-6),
                target_factor=max(factor, 1e-6),
                context_len=len(self._verified),
            )
            self._budget = draft_budget(self._profile)


def _first_q(draft: Draft | None, p: Floats) -> Floats:
    """What the first tokens were drawn from; without any, it does not matter."""
    return p if draft is None or draft.first_q is None else draft.first_q
