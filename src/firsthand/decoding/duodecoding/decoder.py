"""DuoDecoding for users: two models, where the draft runs, and how they are driven.

Knows arguments, the draft's worker and the times that the budget comes from; what happens to one text is
`rounds`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from typing import Literal

from firsthand.decoding.duodecoding.budget import (
    HardwareProfile,
    target_pass_ms,
)
from firsthand.decoding.duodecoding.drafting import (
    DraftMode,
    DraftSettings,
)
from firsthand.decoding.duodecoding.fallback import PlainTimes
from firsthand.decoding.duodecoding.result import DuoResult
from firsthand.decoding.duodecoding.rounds import Text
from firsthand.decoding.duodecoding.workers import (
    DraftExecutor,
    DraftRecipe,
    ExecutorName,
    start_executor,
)
from firsthand.errors import InputError
from firsthand.lm.decoding.protocol import CausalLM, ContextLengthError, check_prompt
from firsthand.lm.decoding.results import drive
from firsthand.lm.decoding.sampling import SamplingParams
from firsthand.lm.decoding.stops import Stop

__all__ = ["DuoDecoder"]


class DuoDecoder:
    """Decode with `target`, and with `draft` at work beside it.

    Args:
        target: the model whose text this is.
        draft: a small model with the same vocabulary; for executor "process" better a `DraftRecipe`, which
            loads it there.
        budget: γ, drafted tokens of a round over all sequences; "auto" times both models before the first
            text, and follows what the rounds take whenever the context has doubled.
        max_sequences: the largest k; 1 is a single chain, as in PEARL.
        sequences: "dynamic" after the paper's rule, or a fixed k (the largest divisor of the budget up to it).
        draft_mode: "greedy" or "coupled" (see `DraftSettings`) give plain decoding's text token for token at
            any temperature; "sample" gives a text of the same distribution.
        executor: "thread" beside a target on a GPU (or an emulated one), "process" for two devices made of
            cores, "serial" for debugging: all three give the same tokens.
        draft_threads, draft_cores: of the worker process.
        fallback: learn what a plain token takes, compare after 16 rounds (then every 64), and go on plainly
            if speculation is slower; at once where it has lost 3 % of the planned text's time. The result
            says so (`fell_back`).
        profile: times that were measured before, for budget "auto".
        timeout_s: how long a worker process may take for one answer.
        clock: seconds; for tests on a virtual clock.

    Raises `InputError` for values outside their range or different vocabularies. Close it, or use it in a
    `with` block, to end a worker process early; otherwise it ends with the decoder.
    """

    def __init__(
        self,
        target: CausalLM,
        draft: CausalLM | DraftRecipe,
        *,
        budget: Literal["auto"] | int = "auto",
        max_sequences: int = 8,
        sequences: Literal["dynamic"] | int = "dynamic",
        draft_mode: DraftMode = "greedy",
        executor: ExecutorName = "thread",
        draft_threads: int | None = None,
        draft_cores: Sequence[int] | None = None,
        fallback: bool = True,
        profile: HardwareProfile | None = None,
        timeout_s: float = 60.0,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        if budget != "auto" and (not isinstance(budget, int) or budget < 1):
            raise InputError(f"budget must be >= 1 or 'auto', got {budget!r}")
        if max_sequences < 1:
            raise InputError(f"max_sequences must be at least 1, got {max_sequences}")
        if sequences != "dynamic" and (not isinstance(sequences, int) or sequences < 1):
            raise InputError(f"sequences must be >= 1 or 'dynamic', got {sequences!r}")
        if draft_mode not in ("greedy", "coupled", "sample"):
            raise InputError(f"draft_mode {draft_mode!r} is not one of 'greedy', 'coupled', 'sample'")
        self.target = target
        self.budget = budget
        self.executor = executor
        self.fallback = fallback
        self.profile = profile
        self._draft = draft
        self.max_sequences, self.sequences, self.draft_mode = max_sequences, sequences, draft_mode
        self._threads, self._cores, self._timeout = draft_threads, draft_cores, timeout_s
        self._clock = clock
        self._plain_times = PlainTimes()
        self._worker: DraftExecutor | None = None
        self._busy = False
        worker = self._started_worker()
        if worker.info.vocab_size != target.vocab_size:
            self.close()
            raise InputError(
                f"draft and target vocabularies differ: {worker.info.vocab_size} vs {target.vocab_size}; a draft "
                "must have its target's tokenizer"
            )

    def __enter__(self) -> DuoDecoder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the draft's thread or process; the next text would start another one."""
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.close()

    def calibrate(self, prompt_ids: Sequence[int], repeats: int = 20) -> HardwareProfile:
        """Time both models after `prompt_ids`, each where it runs, for budget "auto"; kept for all texts."""
        ids = check_prompt(self.target, prompt_ids, 0)
        worker = self._started_worker()
        self.profile = HardwareProfile(
            draft_ms=worker.step_ms(ids, repeats),
            target_ms=target_pass_ms(self.target, ids, max(1, repeats // 2), clock=self._clock),
            comm_ms=worker.message_ms(),
            context_len=len(ids),
        )
        return self.profile

    def stream(
        self,
        prompt_ids: Sequence[int],
        max_new_tokens: int,
        sampling: SamplingParams | None = None,
        stop: Stop | None = None,
    ) -> Generator[list[int], None, DuoResult]:
        """Yield new tokens as they become certain; the generator's return value is the result.

        One text at a time: raises `InputError` for a second stream while one is under way.
        """
        ids = check_prompt(self.target, prompt_ids, max_new_tokens)
        worker = self._started_worker()
        limit = worker.info.max_length
        if limit is not None and len(ids) + max_new_tokens > limit:
            raise ContextLengthError(
                f"{len(ids)} prompt tokens and {max_new_tokens} new ones are {len(ids) + max_new_tokens}; the draft "
                f"{worker.info.name} reads at most {limit}. Use a draft with its target's context, or ask for fewer "
                "tokens"
            )
        if self._busy:
            raise InputError("this decoder is in the middle of another text; use one decoder for each")
        self._busy = True
        try:
            profile_s = 0.0
            if self.budget == "auto" and self.profile is None and max_new_tokens:
                started = self._clock()
                self.calibrate(ids)
                profile_s = self._clock() - started
            sampling = sampling or SamplingParams()
            text = Text(
                self.target,
                worker,
                ids,
                max_new_tokens,
                DraftSettings(self.draft_mode, sampling, self.sequences, self.max_sequences),
                stop or Stop(),
                budget=self.budget,
                profile=self.profile if self.budget == "auto" else None,
                fallback=self.fallback,
                plain_times=self._plain_times,
                clock=self._clock,
            )
            result = yield from text.run()
            return replace(result, executor=self.executor, profile_s=profile_s)
        except (Exception, KeyboardInterrupt):
            self.close()  # it may have failed, or be in the middle of a message
            raise
        finally:
            self._busy = False
            if self._worker is worker:
                worker.cancel()

    def generate(
        self,
        prompt_ids: Sequence[int],
        max_new_tokens: int,
        sampling: SamplingParams | None = None,
        stop: Stop | None = None,
        on_token: Callable[[int], None] | None = None,
    ) -> DuoResult:
        """Go on from `prompt_ids` (T,) by at most `max_new_tokens`.

        Raises `InputError` and `ContextLengthError` as `check_prompt` does, `NonFiniteLogitsError` for NaN of
        either model, `DraftWorkerError` where the draft's process fails.
        """
        return drive(self.stream(prompt_ids, max_new_tokens, sampling, stop), on_token)

    def _started_worker(self) -> DraftExecutor:
        if self._worker is None:
            self._worker = start_executor(
                self._draft,
                self.executor,
                threads=self._threads,
                cores=self._cores,
                timeout_s=self._timeout,
                clock=self._clock,
            )
        return self._worker
