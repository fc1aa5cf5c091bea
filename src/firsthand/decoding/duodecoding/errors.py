"""What can go wrong here and nowhere else."""

from __future__ import annotations

from firsthand.errors import FirsthandError

__all__ = ["DraftWorkerError"]


class DraftWorkerError(FirsthandError, RuntimeError):
    """The draft model's process died, failed or did not answer in time; the message has its traceback."""
