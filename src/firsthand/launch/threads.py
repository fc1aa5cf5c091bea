"""One thread for a seeded job, and the caller's own number back afterwards.

Sums depend on how many threads share them. A seeded observation must repeat bit for bit in this process,
in a pool and on Ray, so a job runs on one thread wherever it runs.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

__all__ = ["single_thread"]

VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


@contextlib.contextmanager
def single_thread() -> Iterator[None]:
    """Run the block on one thread: BLAS and OpenMP already loaded, torch, and what is loaded inside."""
    from threadpoolctl import threadpool_limits

    before = {name: os.environ.get(name) for name in VARIABLES}
    os.environ.update(dict.fromkeys(VARIABLES, "1"))
    # Tokenizers warn about forks and use every core otherwise.
    parallel = os.environ.get("TOKENIZERS_PARALLELISM")
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    torch = sys.modules.get("torch")
    threads = torch.get_num_threads() if torch is not None else None
    if torch is not None:
        torch.set_num_threads(1)
    try:
        with threadpool_limits(limits=1):
            yield
    finally:
        for name, value in {**before, "TOKENIZERS_PARALLELISM": parallel}.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        loaded = sys.modules.get("torch")
        if loaded is not None:
            loaded.set_num_threads(threads or int(before["OMP_NUM_THREADS"] or os.cpu_count() or 1))
