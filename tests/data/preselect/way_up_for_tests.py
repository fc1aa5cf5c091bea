"""Measures shards as `ShardLosses` does, notes who did, and kills one of the processes once.

Run as a program it is what every process of a torchrun test does: CORPUS, OUTPUT and models.
"""

import os
import signal
import sys
import time
from pathlib import Path

from firsthand.corpora.files import find_inputs
from firsthand.data.preselect import losses
from firsthand.data.preselect.loss_shards import ShardLosses
from firsthand.data.preselect.sampling import sample_seed
from firsthand.data.preselect.shared_losses import sample_and_measure
from firsthand.errors import CheckError

FOLDER = "FIRSTHAND_TEST_FOLDER"  # where the processes leave their notes
SAMPLE = {"seed_docs": 12, "min_chars": 1, "near_duplicates": "ignore"}


class Watched(ShardLosses):
    """Waits until two processes are at work; whichever comes to its second shard first is killed, once."""

    calls = 0

    def __call__(self, item):
        folder = Path(os.environ[FOLDER])
        (folder / f"process-{os.getpid()}").touch()
        deadline = time.monotonic() + 120
        while sum(path.name.startswith("process-") for path in folder.iterdir()) < 2:
            if time.monotonic() > deadline:
                raise CheckError("no second process came")
            time.sleep(0.02)
        Watched.calls += 1
        if Watched.calls == 2:
            try:
                (folder / "died").touch(exist_ok=False)
            except FileExistsError:
                pass
            else:
                os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(item)


def draw_and_measure(corpus, output, models, **options):
    """What the verb `losses` does."""
    return sample_and_measure(
        lambda: sample_seed(find_inputs([corpus]), output / "seed.jsonl", **SAMPLE),
        output / "seed.jsonl",
        {model: model for model in models},
        output / "losses",
        shard_size=2,
        block=64,
        stride=16,
        **options,
    )


if __name__ == "__main__":
    losses.ShardLosses = Watched
    drawn = draw_and_measure(
        Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:], on_progress=lambda *seen: print("progress", *seen)
    )
    if drawn is not None:
        print("reported", len(drawn.documents))
