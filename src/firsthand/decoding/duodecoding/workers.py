"""Where the draft runs: after the target's turn, in a thread beside it, or in a process of its own.

Knows how a request reaches a `Drafter` and how its answer, its failure or its death comes back; knows nothing
of what is drafted. A worker process sleeps in a pipe's receive between rounds, so it takes no core from the
target; whoever waits for it does so with a time limit and looks whether it lives.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import statistics
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

from firsthand.decoding.duodecoding.budget import draft_step_ms
from firsthand.decoding.duodecoding.drafting import Draft, Drafter, DraftRequest, DraftSettings, Update
from firsthand.decoding.duodecoding.errors import DraftWorkerError
from firsthand.errors import FirsthandError, InputError
from firsthand.launch.threads import one_thread_environment, use_threads
from firsthand.lm.backend import require
from firsthand.lm.decoding.protocol import CausalLM

__all__ = ["DraftExecutor", "DraftInfo", "DraftRecipe", "ExecutorName", "start_executor"]

ExecutorName = Literal["serial", "thread", "process"]
_LOOK = 1.0  # seconds between two looks whether a silent worker lives
_START = 300.0  # seconds that loading the draft model may take


@dataclass(frozen=True)
class DraftRecipe:
    """How a worker process makes its draft model: `build(*args, **kwargs)`, all of it picklable.

    `build` is a function that can be imported, such as `HFCausalLM.from_pretrained` with a folder as argument.
    """

    build: Callable[..., CausalLM]
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)

    def __call__(self) -> CausalLM:
        """The draft model."""
        return self.build(*self.args, **self.kwargs)


class DraftInfo(NamedTuple):
    """What the target's side needs to know of a draft model."""

    name: str
    vocab_size: int
    max_length: int | None


class DraftExecutor(Protocol):
    """Runs one request at a time."""

    info: DraftInfo

    def begin(self, settings: DraftSettings) -> None:
        """A new text; what was under way is given up."""
        ...

    def submit(self, request: DraftRequest) -> None:
        """Start on `request`."""
        ...

    def cancel(self) -> None:
        """Give up the request under way before its next pass; `result` still has to be asked for."""
        ...

    def result(self) -> Draft:
        """Wait for the answer. Raises what the draft raised; `DraftWorkerError` for a dead or silent process."""
        ...

    def step_ms(self, context: Sequence[int], repeats: int) -> float:
        """t_d, measured where the draft runs."""
        ...

    def message_ms(self) -> float:
        """The time of an empty message there and back."""
        ...

    def close(self) -> None:
        """Let go of thread or process; safe to repeat."""
        ...


def start_executor(
    draft: CausalLM | DraftRecipe,
    where: ExecutorName,
    *,
    threads: int | None = None,
    cores: Sequence[int] | None = None,
    timeout_s: float = 60.0,
    clock: Callable[[], float] = time.perf_counter,
) -> DraftExecutor:
    """Make the draft ready to run: "serial", "thread" or "process".

    Args:
        threads: of a worker process (None: one for each of `cores`, or one).
        cores: that a worker process is pinned to, where the system can.
        timeout_s: how long one answer of a worker process may take.

    Raises `InputError` for another `where`, for threads or cores without a process, for a draft that cannot
    be sent to one; `DraftWorkerError` where the process cannot load it.
    """
    if where not in ("serial", "thread", "process"):
        raise InputError(f"executor {where!r} is not one of 'serial', 'thread', 'process'")
    if where == "process":
        recipe = draft if isinstance(draft, DraftRecipe) else DraftRecipe(_itself, (draft,))
        return _ProcessExecutor(recipe, threads, cores, timeout_s)
    if threads is not None or cores is not None:
        raise InputError(
            "draft_threads and draft_cores belong to executor='process': in one process draft and target share "
            "torch's threads"
        )
    model = draft() if isinstance(draft, DraftRecipe) else draft
    return _SerialExecutor(model, clock) if where == "serial" else _ThreadExecutor(model, clock)


def _itself(model: CausalLM) -> CausalLM:
    return model


def _info(model: CausalLM) -> DraftInfo:
    return DraftInfo(model.name, model.vocab_size, model.max_length)


class _SerialExecutor:
    """Drafts when it is asked to, before the target's turn: for debugging, and as the meaning of the others."""

    def __init__(self, model: CausalLM, clock: Callable[[], float]) -> None:
        self.info = _info(model)
        self._clock = clock
        self._drafter = Drafter(model, clock)
        self._answer: Draft | None = None

    def begin(self, settings: DraftSettings) -> None:
        self._drafter.begin(settings)

    def submit(self, request: DraftRequest) -> None:
        self._answer = self._drafter.draft(request)

    def cancel(self) -> None:
        """Nothing is under way."""

    def result(self) -> Draft:
        answer, self._answer = self._answer, None
        assert answer is not None, "nothing was submitted"
        return answer

    def step_ms(self, context: Sequence[int], repeats: int) -> float:
        return draft_step_ms(self._drafter.model, context, repeats, self._clock)

    def message_ms(self) -> float:
        return 0.0

    def close(self) -> None:
        """Nothing is held."""


class _ThreadExecutor:
    """A thread in this process: for a target on a GPU, or on an emulated device, which leave the core alone."""

    def __init__(self, model: CausalLM, clock: Callable[[], float]) -> None:
        self.info = _info(model)
        self._clock = clock
        self._drafter = Drafter(model, clock)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="firsthand-draft")
        self._stop = threading.Event()
        self._future: Future[Draft] | None = None

    def begin(self, settings: DraftSettings) -> None:
        self._drop()
        self._pool.submit(self._drafter.begin, settings).result()

    def submit(self, request: DraftRequest) -> None:
        self._drop()
        self._stop.clear()
        self._future = self._pool.submit(self._drafter.draft, request, self._stop.is_set)

    def cancel(self) -> None:
        self._stop.set()

    def result(self) -> Draft:
        future, self._future = self._future, None
        assert future is not None, "nothing was submitted"
        return future.result()

    def step_ms(self, context: Sequence[int], repeats: int) -> float:
        return self._pool.submit(draft_step_ms, self._drafter.model, context, repeats, self._clock).result()

    def message_ms(self) -> float:
        return _median_round_trip(lambda: self._pool.submit(int).result())

    def close(self) -> None:
        self.cancel()
        self._pool.shutdown(wait=True)

    def _drop(self) -> None:
        """Forget an answer that nobody asked for: the text ended while it was drafted."""
        if self._future is not None:
            self.cancel()
            with contextlib.suppress(Exception):
                self._future.result()
            self._future = None


def _median_round_trip(act: Callable[[], Any], repeats: int = 20) -> float:
    times = []
    for _ in range(repeats + 3):
        started = time.perf_counter()
        act()
        times.append(time.perf_counter() - started)
    return statistics.median(times[3:]) * 1000


# --- a process of its own ------------------------------------------------------------------------------


class _ProcessExecutor:
    """A spawned process that holds the draft model and answers over a pipe."""

    def __init__(
        self, recipe: DraftRecipe, threads: int | None, cores: Sequence[int] | None, timeout_s: float
    ) -> None:
        if timeout_s <= 0:
            raise InputError(f"timeout_s must be above 0, got {timeout_s}")
        pinned = None if cores is None else _possible(cores)
        threads = threads if threads is not None else len(pinned or (0,))
        if threads < 1:
            raise InputError(f"draft_threads must be at least 1, got {threads}")
        try:
            packed = pickle.dumps(recipe)
        except Exception as error:  # whatever pickling raises
            raise InputError(
                f"the draft cannot be sent to another process ({type(error).__name__}: {error}); give a "
                "DraftRecipe(build, args) that loads it there"
            ) from error
        self._timeout = timeout_s
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._cancelled = context.RawValue("q", 0)  # requests up to this number are given up
        self._number = 0  # of the latest request
        self._waiting = False
        self._process = context.Process(
            target=_serve,
            args=(theirs, self._cancelled, packed, threads, pinned),
            name="firsthand-draft",
            daemon=True,
        )
        with one_thread_environment() if threads == 1 else contextlib.nullcontext():
            self._process.start()
        theirs.close()  # or the pipe would not end when the worker does
        self._finalizer = weakref.finalize(self, _end, self._process, self._pipe)
        self.info = DraftInfo(*self._receive(_START))

    @property
    def pid(self) -> int | None:
        """The worker's process id."""
        return self._process.pid

    def begin(self, settings: DraftSettings) -> None:
        self._drop()
        self._send(("begin", settings))
        self._receive(self._timeout)

    def submit(self, request: DraftRequest) -> None:
        self._drop()
        self._number += 1
        # Plain tuples: a message of a round stays below 300 bytes.
        self._send(("draft", self._number, tuple(tuple(u) for u in request.updates), *request[1:]))
        self._waiting = True

    def cancel(self) -> None:
        self._cancelled.value = self._number

    def result(self) -> Draft:
        assert self._waiting, "nothing was submitted"
        answer = self._receive(self._timeout)
        self._waiting = False
        return Draft(*answer)

    def step_ms(self, context: Sequence[int], repeats: int) -> float:
        self._drop()
        self._send(("step_ms", list(context), repeats))
        return float(self._receive(self._timeout))

    def message_ms(self) -> float:
        self._drop()

        def there_and_back() -> None:
            self._send(("ping",))
            self._receive(self._timeout)

        return _median_round_trip(there_and_back)

    def close(self) -> None:
        self._finalizer()

    def _drop(self) -> None:
        if self._waiting:
            self.cancel()
            self._receive(self._timeout)
            self._waiting = False

    def _send(self, message: tuple[Any, ...]) -> None:
        try:
            self._pipe.send(message)
        except (OSError, ValueError) as error:
            raise self._dead() from error

    def _receive(self, timeout_s: float) -> Any:
        due = time.monotonic() + timeout_s
        while True:
            try:
                if self._pipe.poll(min(_LOOK, max(0.0, due - time.monotonic()))):
                    fine, answer = self._pipe.recv()
                    break
            except (EOFError, OSError) as error:
                raise self._dead() from error
            if not self._process.is_alive() and not self._pipe.poll(0):
                raise self._dead()
            if time.monotonic() >= due:
                self.close()
                raise DraftWorkerError(
                    f"the draft process did not answer within {timeout_s:g} s and was ended; raise timeout_s if "
                    "the draft is that slow"
                )
        if fine:
            return answer
        cause, text = answer
        self.close()
        if isinstance(cause, FirsthandError):
            raise cause from DraftWorkerError(f"in the draft process:\n{text}")
        raise DraftWorkerError(f"the draft process failed:\n{text}")

    def _dead(self) -> DraftWorkerError:
        self._process.join(1.0)
        code = self._process.exitcode
        self.close()
        how = f"by signal {-code}" if code is not None and code < 0 else f"with exit code {code}"
        return DraftWorkerError(
            f"the draft process ended {how}. If it never began: a script that starts processes needs "
            "`if __name__ == '__main__':` around its work; if it was killed: is there enough memory?"
        )


def _possible(cores: Sequence[int]) -> tuple[int, ...]:
    wanted = tuple(int(core) for core in cores)
    if not hasattr(os, "sched_setaffinity"):
        raise InputError("this system cannot pin processes to cores; leave draft_cores out")
    there = os.sched_getaffinity(0) | set(range(os.cpu_count() or 1))
    if not wanted or not set(wanted) <= there:
        raise InputError(f"draft_cores {list(wanted)}: this machine has {sorted(there)}")
    return wanted


def _end(process: Any, pipe: Any) -> None:
    """End a worker: ask by closing the pipe, then insist."""
    with contextlib.suppress(OSError):
        pipe.close()
    process.join(0.5)
    if process.is_alive():
        process.terminate()
        process.join(2.0)
        if process.is_alive():
            process.kill()
            process.join()


def _serve(
    pipe: Any, cancelled: Any, packed: bytes, threads: int, cores: tuple[int, ...] | None
) -> None:  # pragma: no cover (its own process)
    """The worker: loads the draft, answers requests until the pipe closes."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's Ctrl-C is for the process that started us
    try:
        if cores is not None:
            os.sched_setaffinity(0, cores)
        recipe = pickle.loads(packed)
        drafter = Drafter(_on_threads(recipe, threads))
        pipe.send((True, tuple(_info(drafter.model))))
        while True:
            what, *arguments = pipe.recv()
            answer: Any = None
            if what == "draft":
                number, updates, *rest = arguments
                request = DraftRequest(tuple(Update(*update) for update in updates), *rest)
                answer = tuple(drafter.draft(request, _asked(cancelled, number)))
            elif what == "begin":
                drafter.begin(*arguments)
            elif what == "step_ms":
                answer = draft_step_ms(drafter.model, *arguments)
            pipe.send((True, answer))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass  # the other side has gone
    except Exception as raised:  # whatever the model raises has to reach the other side
        answer = (raised if _can_travel(raised) else None, traceback.format_exc())
        with contextlib.suppress(OSError):
            pipe.send((False, answer))


def _can_travel(error: Exception) -> bool:  # pragma: no cover (its own process)
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return False
    return True


def _on_threads(recipe: DraftRecipe, threads: int) -> CausalLM:  # pragma: no cover (its own process)
    """The draft model, with every pool of this process at `threads`."""
    require("torch")  # before the number is set, so that it holds for torch too
    use_threads(threads)
    model = recipe()
    use_threads(threads)  # for what loading the model has brought along
    return model


def _asked(cancelled: Any, number: int) -> Callable[[], bool]:  # pragma: no cover (its own process)
    return lambda: bool(cancelled.value >= number)
