"""The rules of a board in an address: read leniently, as a form sends them, and written without what is default.

Knows query strings and `Rules`. Knows no pages.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any
from urllib.parse import urlencode

from firsthand.errors import InputError
from firsthand.evaluation.codearena.refusals import InvalidRequest
from firsthand.evaluation.codearena.scores.rules import Rules

__all__ = ["BoardAddress", "board_address"]

_CHOICES = ("challenge", "aggregate", "ac_unit", "es_scope")
_NUMBERS = ("es_weight", "es_tolerance")
_NAMES = ("population", "leave_out")
_LONGEST = 4000  # characters of a list of names
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True)
class BoardAddress:
    """Which board is asked for."""

    rules: Rules
    at: datetime | None
    day: str  # the day that `at` ends, as it was written
    sent: dict[str, str]  # the fields of the form, as they were sent

    @property
    def is_default(self) -> bool:
        """Whether it is the arena's own board of now."""
        return self.rules == Rules() and self.at is None

    def query(self, **more: str) -> str:
        """The query of this board, with a question mark where it has one; `more` with no text leaves that name out."""
        pairs = [*_pairs(self.rules), *([("at", self.day)] if self.day else [])]
        pairs += [(name, value) for name, value in more.items() if value]
        return f"?{urlencode(pairs)}" if pairs else ""

    @property
    def api_query(self) -> str:
        """The query of the same board in the API."""
        pairs = _pairs(self.rules)
        if self.at is not None:
            pairs.append(("at", self.at.isoformat().replace("+00:00", "Z")))
        return f"?{urlencode(pairs)}" if pairs else ""


def board_address(query: Sequence[tuple[str, str]]) -> BoardAddress:
    """The board that a query names; fields without a text are as if they were not there.

    Names may come one by one or in one field with commas or spaces between them.

    Raises:
        InvalidRequest: a value that cannot be; `sent` is in its arguments, so that the form can be shown again.
    """
    sent: dict[str, str] = {}
    for name, value in query:
        value = value.strip()
        if name in _NAMES and value:
            sent[name] = f"{sent[name]} {value}" if name in sent else value
        elif name in (*_CHOICES, *_NUMBERS, "at") and value:
            sent[name] = value
    try:
        return BoardAddress(_rules(sent), *_moment(sent.get("at", "")), sent)
    except InputError as error:
        raise InvalidRequest(str(error), sent) from error


def _rules(sent: dict[str, str]) -> Rules:
    fields: dict[str, Any] = {name: sent[name] for name in _CHOICES if name in sent}
    for name in _NUMBERS:
        if name in sent:
            try:
                fields[name] = float(sent[name].replace(",", "."))
            except ValueError:
                raise InputError(f"{name} must be a number, got {sent[name][:40]!r}") from None
    people = _names(sent, "population")
    if people:
        word = people[0] if len(people) == 1 and people[0] in ("llm", "human", "all") else None
        fields["population"] = word or people
    fields["leave_out"] = [_left_out(name) for name in _names(sent, "leave_out")]
    return Rules(**fields)


def _names(sent: dict[str, str], field: str) -> list[str]:
    text = sent.get(field, "")
    if len(text) > _LONGEST:
        raise InputError(f"{field} has {len(text)} characters; at most {_LONGEST} are read")
    return [name for name in re.split(r"[\s,;]+", text) if name]


def _left_out(name: str) -> str | tuple[str, str]:
    kind, colon, rest = name.partition(":")
    return (kind, rest) if colon and kind in ("user", "problem") else name


def _moment(text: str) -> tuple[datetime | None, str]:
    """The end of a day, UTC; a whole time is taken as it is."""
    if not text:
        return None, ""
    try:
        if _DAY.fullmatch(text):
            day = datetime.fromisoformat(text).date()
            return datetime.combine(day + timedelta(days=1), time(), UTC), text
        found = datetime.fromisoformat(text)
        if found.tzinfo is None or not 1900 <= found.year <= 9000:
            raise ValueError
    except (ValueError, OverflowError):
        raise InputError(
            f"at must be a day such as 2024-07-30, or a time with its zone, got {text[:40]!r}"
        ) from None
    return found.astimezone(UTC), text


def _pairs(rules: Rules) -> list[tuple[str, str]]:
    """What differs from the default rules."""
    default, found = Rules().as_dict(), rules.as_dict()
    pairs: list[tuple[str, str]] = []
    for name, value in found.items():
        if value == default[name]:
            continue
        if isinstance(value, list):
            pairs += [(name, one if isinstance(one, str) else f"{one[0]}:{one[1]}") for one in value]
        else:
            pairs.append((name, f"{value:g}" if isinstance(value, float) else value))
    return pairs
