"""A seed sample drawn once and measured by as many processes as there are: alone, on Ray, or under torchrun.

    torchrun --nproc-per-node 4 -m firsthand preselect losses corpus --model … --output work

runs the same command in every process. The first draws the sample; the others read what it wrote, so that
all cut the same documents into the same shards.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from firsthand.data.preselect.losses import measure_losses
from firsthand.data.preselect.sampling import read_seed
from firsthand.launch import process_group

__all__ = ["sample_and_measure"]

Drawn = TypeVar("Drawn")


def sample_and_measure(
    draw: Callable[[], Drawn], seed_file: Path, models: Mapping[str, Any], folder: Path, **options: Any
) -> Drawn | None:
    """Draw the seed sample in the first process, measure its losses in all.

    Args:
        draw: writes the sample to `seed_file`; called in the first process only.
        seed_file: what `read_seed` reads, in a folder that all processes share.
        models, folder, options: of `measure_losses`; with `engine="ray"` there is one process here.

    Returns:
        What `draw` returned; None in the other processes, which have nothing to report.

    Raises:
        Whatever `draw` and `measure_losses` raise; `CheckError` in the processes that waited for the one
        that failed.
    """
    with process_group() as rank:
        drawn = draw() if rank.first else None
        rank.barrier()
        measure_losses(models, read_seed(seed_file), folder, rank=rank, **options)
        return drawn
