"""Where work runs: this process, a local pool of processes, Ray; resume; locks; the cache.

Knows nothing of claims or models: a job is the name of a function and plain arguments.
"""

from firsthand.launch.cache import cache_folder, cache_root, locked, machine_lock
from firsthand.launch.jobs import Finished, Job, run_jobs
from firsthand.launch.threads import single_thread

__all__ = [
    "Finished",
    "Job",
    "cache_folder",
    "cache_root",
    "locked",
    "machine_lock",
    "run_jobs",
    "single_thread",
]
