"""What every process of a torchrun test runs: FOLDER and a name from below."""

import os
import signal
import sys
import time
from pathlib import Path

from firsthand.errors import CheckError
from firsthand.launch.distributed import process_group


def meet(folder, rank):
    """Each rank signs; after the barrier all signatures are there. Numbered pieces are shared out."""
    time.sleep(0.5 * rank.rank)
    (folder / f"came-{rank.rank}").write_text(str(os.getpid()))
    rank.barrier()
    seen = sorted(path.name for path in folder.glob("came-*"))
    pieces = [number for number in range(5) if rank.takes(number)]
    (folder / f"saw-{rank.rank}").write_text(f"{' '.join(seen)} {pieces} {rank.first} {rank.device()}")


def second_is_killed(folder, rank):
    (folder / f"came-{rank.rank}").write_text(str(os.getpid()))
    rank.barrier()
    if rank.rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    hear(folder, rank)


def second_hangs(folder, rank):
    (folder / f"came-{rank.rank}").write_text(str(os.getpid()))
    rank.barrier()
    if rank.rank == 1:
        time.sleep(600)
    hear(folder, rank)


def hear(folder, rank):
    """Wait for the other rank and note what becomes of it."""
    try:
        rank.barrier()
    except CheckError as error:
        (folder / "heard").write_text(str(error))
        raise


if __name__ == "__main__":
    with process_group(wait_seconds=5 if sys.argv[2] == "second_hangs" else 60) as this:
        globals()[sys.argv[2]](Path(sys.argv[1]), this)
