"""Pages of lists: which one is asked for, and what it looks like."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, TypeVar

from fastapi import Depends, Query

from firsthand.evaluation.codearena.service.schemas import Page

__all__ = ["Paging", "page_of"]

T = TypeVar("T")


@dataclass(frozen=True)
class Wanted:
    """A page, counted from 1, and how many items a page has."""

    page: int
    per_page: int

    @property
    def offset(self) -> int:
        """How many items come before it."""
        return (self.page - 1) * self.per_page


def wanted(
    page: Annotated[int, Query(ge=1, le=1_000_000)] = 1, per_page: Annotated[int, Query(ge=1, le=200)] = 50
) -> Wanted:
    """The page that the query names."""
    return Wanted(page, per_page)


Paging = Annotated[Wanted, Depends(wanted)]


def page_of(items: Sequence[T], total: int, asked: Wanted) -> Page[T]:
    """The page as it is answered."""
    return Page(
        items=list(items),
        page=asked.page,
        per_page=asked.per_page,
        total=total,
        pages=-(-total // asked.per_page),
    )
