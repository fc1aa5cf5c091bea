"""By which rules a board is scored: what the paper leaves open, each choice with a default and a name.

Knows the choices and what may be chosen. `points` has the formulas. Every board shows the rules it was scored by.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from firsthand.errors import InputError

__all__ = ["AcUnit", "Aggregate", "Challenge", "EsScope", "LeaveOut", "Population", "Rules", "checked_points"]

Challenge = Literal["formula", "share"]
Aggregate = Literal["sum", "dmoj"]
AcUnit = Literal["user", "submission"]
EsScope = Literal["problem", "problem+language"]
Population = str | Iterable[str] | None
"""Who takes part: "llm" (also None), "human", "all", or a set of user names."""
LeaveOut = Iterable[str | tuple[str, str]]
"""Names of users and problems; ("user", name) or ("problem", name) where a name is both."""

_POPULATIONS = ("llm", "human", "all")


@dataclass(frozen=True)
class Rules:
    """Choices for a board.

    Args:
        challenge: "formula", CS = BPS·(1 − AC) as the equation is printed; or "share", CS = BPS / solvers as the
            prose has it.
        aggregate: "sum", the paper's equation; or "dmoj", performance points over the BPS of solved problems
            (`performance_points`), which explain the published table. Then CS and ES are shown and do not enter.
        ac_unit: what the acceptance rate counts: "user", users who attempted a problem and who solved it; or
            "submission", counted attempts and accepted ones.
        population: "llm" (also None), "human", "all", or a set of user names. It decides who is on the board, in the
            acceptance rate and among those whose runtimes are compared. A named user without an attempt has a row
            of zeros.
        es_weight: factor of ES beside CS, 0 or more.
        es_scope: with whom a runtime is compared: all who solved the "problem", or those of them whose fastest
            accepted solution is in the same language, "problem+language". In both, only with those who were timed on
            the same class of machines.
        es_tolerance: in per cent: a solution is not slower than another one where it takes at most so much longer.
        leave_out: users and problems to score without: what if they had not been there?

    Raises:
        InputError: a value that is none of these.
    """

    challenge: Challenge = "formula"
    aggregate: Aggregate = "sum"
    ac_unit: AcUnit = "user"
    population: Population = None
    es_weight: float = 1.0
    es_scope: EsScope = "problem"
    es_tolerance: float = 0.0
    leave_out: LeaveOut = ()

    def __post_init__(self) -> None:
        choices = {"challenge": Challenge, "aggregate": Aggregate, "ac_unit": AcUnit, "es_scope": EsScope}
        for name, known in choices.items():
            if getattr(self, name) not in get_args(known):
                raise InputError(
                    f"{name} must be one of {', '.join(get_args(known))}, got {getattr(self, name)!r}"
                )
        for name in ("es_weight", "es_tolerance"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
                raise InputError(f"{name} must be a finite number of at least 0, got {value!r}")
            object.__setattr__(self, name, float(value))
        object.__setattr__(self, "population", _population(self.population))
        object.__setattr__(self, "leave_out", _leave_out(self.leave_out))

    @property
    def named(self) -> frozenset[str]:
        """The users that the population names; none where it is one of the three words."""
        return self.population if isinstance(self.population, frozenset) else frozenset()

    def takes(self, users: Iterable[str], human: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """(users,) who belongs to the population; `human` says who is a person."""
        if self.population == "all":
            return np.ones(len(human), np.bool_)
        if isinstance(self.population, str):
            return human if self.population == "human" else ~human
        return np.fromiter((user in self.named for user in users), np.bool_, len(human))

    def left_out(
        self, users: Iterable[str], problems: Iterable[str]
    ) -> tuple[frozenset[str], frozenset[str]]:
        """Which users and which problems are left out.

        Raises:
            InputError: a name that is neither, or one that is both.
        """
        known = {"user": set(users), "problem": set(problems)}
        found: dict[str, set[str]] = {"user": set(), "problem": set()}
        for entry in self.leave_out:
            kinds, name = (tuple(known), entry) if isinstance(entry, str) else ((entry[0],), entry[1])
            kinds = tuple(kind for kind in kinds if name in known[kind])
            if not kinds:
                what = (
                    "neither a user with an attempt nor a problem" if isinstance(entry, str) else "not there"
                )
                raise InputError(f"leave_out names {entry!r}, which is {what}")
            if len(kinds) > 1:
                raise InputError(
                    f"leave_out names {name!r}, which is a user and a problem; "
                    f"write ('user', {name!r}) or ('problem', {name!r})"
                )
            found[kinds[0]].add(name)
        return frozenset(found["user"]), frozenset(found["problem"])

    def as_dict(self) -> dict[str, Any]:
        """The choices as JSON has them; `Rules(**that)` are the same again."""
        return {
            "challenge": self.challenge,
            "aggregate": self.aggregate,
            "ac_unit": self.ac_unit,
            "population": self.population if isinstance(self.population, str) else sorted(self.named),
            "es_weight": self.es_weight,
            "es_scope": self.es_scope,
            "es_tolerance": self.es_tolerance,
            "leave_out": [
                entry if isinstance(entry, str) else list(entry)
                for entry in sorted(self.leave_out, key=lambda entry: (not isinstance(entry, str), entry))
            ],
        }


def _population(given: Population) -> str | frozenset[str]:
    if given is None:
        return "llm"
    if isinstance(given, str):
        if given not in _POPULATIONS:
            raise InputError(
                f"population must be one of {', '.join(_POPULATIONS)} or a set of user names, got {given!r}; "
                f"for one user write {{{given!r}}}"
            )
        return given
    names = frozenset(given)
    for name in names:
        if not isinstance(name, str) or not name:
            raise InputError(f"population holds {name!r}, which is not the name of a user")
    if not names:
        raise InputError("population is an empty set: name at least one user")
    return names


def _leave_out(given: LeaveOut) -> frozenset[str | tuple[str, str]]:
    if isinstance(given, str):
        raise InputError(f"leave_out must be a sequence of names, got the text {given!r}; write [{given!r}]")
    found: set[str | tuple[str, str]] = set()
    for entry in given:
        if isinstance(entry, str):
            found.add(entry)
        elif (
            isinstance(entry, Iterable)
            and len(pair := tuple(entry)) == 2
            and pair[0] in ("user", "problem")
            and isinstance(pair[1], str)
        ):
            found.add((pair[0], pair[1]))
        else:
            raise InputError(
                f"leave_out holds {entry!r}: give names, or pairs such as ('user', name) and ('problem', name)"
            )
    return frozenset(found)


def checked_points(problems: Mapping[str, float]) -> dict[str, float]:
    """Basic problem scores by problem id, ids sorted.

    Raises:
        InputError: no mapping, an id that is not a text, points that are not finite and above 0.
    """
    if not isinstance(problems, Mapping):
        raise InputError(f"problems must map each problem's id to its points, got {type(problems).__name__}")
    for name, points in problems.items():
        if not isinstance(name, str) or not name:
            raise InputError(f"the id of a problem must be a text that is not empty, got {name!r}")
        number = isinstance(points, int | float | np.integer | np.floating) and not isinstance(points, bool)
        if not number or not 0 < points < math.inf:
            raise InputError(f"problem {name!r}: points must be finite and above 0, got {points!r}")
    return {name: float(problems[name]) for name in sorted(problems)}
