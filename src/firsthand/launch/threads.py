"""One thread for a seeded job, and the caller's own number back afterwards.

Sums depend on how many threads share them. A seeded observation must repeat bit for bit in this process,
in a pool and on Ray, so a job runs on one thread wherever it runs.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

__all__ = ["ONE_THREAD", "one_thread_environment", "single_thread", "use_threads"]

# What makes a process that starts with it run on one thread. Tokenizers use every core otherwise, and warn
# about forks.
ONE_THREAD = {
    **dict.fromkeys(
        ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1"
    ),
    "TOKENIZERS_PARALLELISM": "false",
}


@contextlib.contextmanager
def one_thread_environment() -> Iterator[None]:
    """Set `ONE_THREAD` in this process's environment for the block, so that its children inherit it."""
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(ONE_THREAD)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def use_threads(count: int) -> None:
    """From here on this whole process computes on `count` threads: for the first lines of a worker process.

    It holds for BLAS and OpenMP libraries that are loaded, and for torch if it is. A library's process belongs
    to its caller: use `single_thread` there.
    """
    from threadpoolctl import threadpool_limits

    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(count)
    threadpool_limits(limits=count)


@contextlib.contextmanager
def single_thread() -> Iterator[None]:
    """Run the block on one thread: BLAS and OpenMP already loaded, torch, and what is loaded inside."""
    from threadpoolctl import threadpool_limits

    torch = sys.modules.get("torch")
    threads = torch.get_num_threads() if torch is not None else None
    if torch is not None:
        torch.set_num_threads(1)
    try:
        with one_thread_environment(), threadpool_limits(limits=1):
            yield
    finally:
        loaded = sys.modules.get("torch")
        if loaded is not None:
            loaded.set_num_threads(threads or int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1))
