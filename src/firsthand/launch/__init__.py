"""Where work runs: this process, a local pool of processes, Ray, torchrun; resume; locks; the cache.

Knows nothing of claims or models: a job is the name of a function and plain arguments.
"""

from firsthand.launch.cache import cache_folder, cache_root, locked, machine_lock
from firsthand.launch.distributed import Rank, process_group, this_rank
from firsthand.launch.jobs import Finished, Job, run_jobs
from firsthand.launch.ray_data import map_with_actors
from firsthand.launch.threads import single_thread

__all__ = [
    "Finished",
    "Job",
    "Rank",
    "cache_folder",
    "cache_root",
    "locked",
    "machine_lock",
    "map_with_actors",
    "process_group",
    "run_jobs",
    "single_thread",
    "this_rank",
]
