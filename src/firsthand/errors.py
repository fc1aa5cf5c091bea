"""The exceptions a user may see.

Every one is a `FirsthandError` and, where a builtin says the same thing, that builtin too, so that
`except ValueError` keeps working. The command prints the message without a traceback and exits 2:
a message therefore says what was wrong, where, and what to do about it.
"""

from __future__ import annotations

__all__ = [
    "CheckError",
    "FirsthandError",
    "InputError",
    "MissingDependencyError",
    "ModelNotFoundError",
    "NotFoundError",
    "OutputError",
]


class FirsthandError(Exception):
    """Base of every error that Firsthand raises on purpose."""


class InputError(FirsthandError, ValueError):
    """A value, a file's content or a configuration that cannot be used."""


class NotFoundError(FirsthandError, FileNotFoundError):
    """A file, folder or room that was named and is not there."""

    def __str__(self) -> str:  # OSError prints an errno tuple otherwise
        return str(self.args[0]) if self.args else ""


class ModelNotFoundError(NotFoundError):
    """A model name, folder or file that nothing on this machine answers to."""


class OutputError(FirsthandError, OSError):
    """Writing failed (full disk, no permission); nothing half-written was left behind."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class MissingDependencyError(FirsthandError, ImportError):
    """An optional package or system program is not installed; the message names what to install."""


class CheckError(FirsthandError, RuntimeError):
    """A check could not be run to its end, or its observations cannot be judged."""
