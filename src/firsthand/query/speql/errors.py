"""What can go wrong between a half-typed query and its answer."""

from __future__ import annotations

from firsthand.errors import FirsthandError, InputError

__all__ = [
    "BudgetExceeded",
    "EngineUnsupported",
    "QueryFailed",
    "QueryInterrupted",
    "RepairFailed",
    "StaleView",
    "UnsafeStatement",
]


class UnsafeStatement(InputError):
    """Anything but one statement that only reads: several, COPY, ATTACH, PRAGMA, a function that reads files."""


class RepairFailed(InputError):
    """No edit of the unfinished text gives something that the database accepts.

    Attributes:
        position: where in the text reading stopped, in Unicode code points; None where the engine does not say.
    """

    def __init__(self, message: str, position: int | None = None) -> None:
        super().__init__(message)
        self.position = position


class QueryFailed(InputError):
    """The database refused or could not finish a query, in its own words.

    Attributes:
        position: of the fault in the query's text, in Unicode code points; None where the engine does not say.
    """

    def __init__(self, message: str, position: int | None = None) -> None:
        super().__init__(message)
        self.position = position


class QueryInterrupted(FirsthandError, InterruptedError):
    """A query that was cancelled, or that ran past its time."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else "the query was interrupted"


class BudgetExceeded(FirsthandError, MemoryError):
    """A speculative table that would be larger than its budget; it is not made."""


class StaleView(FirsthandError, RuntimeError):
    """A speculative table whose source changed after it was made; it is dropped, never read."""


class EngineUnsupported(FirsthandError, NotImplementedError):
    """Something that this database, or its driver, cannot do.

    Attributes:
        feature: what it cannot do.
    """

    def __init__(self, message: str, feature: str = "") -> None:
        super().__init__(message)
        self.feature = feature
