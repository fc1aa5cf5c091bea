"""What a judging model says in double square brackets, read strictly (arXiv 2503.01688, section 3: model as judge).

| scale     | verdict                                                                | value                        |
|-----------|------------------------------------------------------------------------|------------------------------|
| numerical | `[[0.55]]`, from 0 to 1                                                | float                        |
| nominal   | `[[graduate]]`, one of five names                                      | the name                     |
| reasoning | `[[Requires knowledge: yes]]`, `[[Requires reasoning: no]]`,           | ReasoningLabels              |
|           | `[[Number of reasoning steps: low]]`                                   |                              |
| rating    | `[[8]]`, from 1 to 10, of the judge's own verdict                      | int                          |

Of several brackets the first counts. What is missing or out of range is a `ParseFailure`, never a default.

Knows replies as texts. Knows no prompts (`judge_prompts`) and asks nobody (`judge`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

from firsthand.errors import InputError
from firsthand.evaluation.uncertainty.errors import ParseFailure

__all__ = [
    "NOMINAL",
    "ReasoningLabels",
    "Scale",
    "Verdict",
    "check_scale",
    "difficulty",
    "parse_nominal",
    "parse_numerical",
    "parse_rating",
    "parse_reasoning",
    "parse_verdict",
]

Scale = Literal["numerical", "nominal", "reasoning"]

NOMINAL = {  # from easy to hard, each with the middle of its part of the numerical scale
    "high school and easier": 0.1,
    "undergraduate easy": 0.3,
    "undergraduate hard": 0.5,
    "graduate": 0.7,
    "postgraduate": 0.9,
}

_YES_NO = ("yes", "no")
_STEPS = ("low", "medium", "high")
_BRACKETS = re.compile(r"\[\[([^\[\]]*)\]\]")
_DECIMAL = re.compile(r"\d+(\.\d+)?|\.\d+", re.ASCII)
_WHOLE = re.compile(r"\d{1,2}", re.ASCII)


@dataclass(frozen=True)
class ReasoningLabels:
    """What a question needs, in the judge's opinion."""

    knowledge: str  # yes or no
    reasoning: str  # yes or no
    steps: str  # low, medium or high

    def as_labels(self) -> dict[str, str]:
        """For `Question.labels`, or the columns `label.NAME` of a table."""
        return {"knowledge": self.knowledge, "reasoning": self.reasoning, "steps": self.steps}


Verdict = float | str | ReasoningLabels


def parse_numerical(reply: str) -> float:
    """Difficulty from 0 to 1, of a reply with `[[0.55]]`.

    Raises:
        ParseFailure: no bracket, or another thing than a plain decimal from 0 to 1 in the first.
    """
    found = _first(reply)
    if not _DECIMAL.fullmatch(found) or float(found) > 1:
        raise ParseFailure(f"the verdict must be a number from 0 to 1, got {found!r:.80}", reply)
    return float(found)


def parse_nominal(reply: str) -> str:
    """One of the names of `NOMINAL`, of a reply with `[[graduate]]`; letters as they are written there.

    Raises:
        ParseFailure: no bracket, or another name in the first.
    """
    found = _first(reply)
    if found not in NOMINAL:
        raise ParseFailure(f"the verdict must be one of {', '.join(NOMINAL)}; got {found!r:.80}", reply)
    return found


def parse_reasoning(reply: str) -> ReasoningLabels:
    """Three labels, of a reply with three brackets that each name theirs; large and small letters are the same.

    Raises:
        ParseFailure: a label that is missing, or has another value.
    """
    tagged: dict[str, str] = {}
    for content in _BRACKETS.findall(reply):
        tag, colon, value = content.partition(":")
        if colon:
            tagged.setdefault(" ".join(tag.lower().split()), value.strip().lower())

    def found(tag: str, allowed: tuple[str, ...]) -> str:
        if tag not in tagged:
            raise ParseFailure(f"no verdict [[{tag.capitalize()}: ...]] in the reply", reply)
        if tagged[tag] not in allowed:
            raise ParseFailure(f"{tag!r} must be {', '.join(allowed)}; got {tagged[tag]!r:.80}", reply)
        return tagged[tag]

    return ReasoningLabels(
        found("requires knowledge", _YES_NO),
        found("requires reasoning", _YES_NO),
        found("number of reasoning steps", _STEPS),
    )


def parse_rating(reply: str) -> int:
    """A rating from 1 to 10, of a reply with `[[8]]`.

    Raises:
        ParseFailure: no bracket, or another thing than a whole number from 1 to 10 in the first.
    """
    found = _first(reply)
    if not _WHOLE.fullmatch(found) or not 1 <= int(found) <= 10:
        raise ParseFailure(f"the rating must be a whole number from 1 to 10, got {found!r:.80}", reply)
    return int(found)


def parse_verdict(reply: str, scale: Scale) -> Verdict:
    """The verdict of a scale.

    Raises:
        ParseFailure: see the scale's own parser.
        InputError: no such scale.
    """
    check_scale(scale)
    if scale == "numerical":
        return parse_numerical(reply)
    return parse_nominal(reply) if scale == "nominal" else parse_reasoning(reply)


def difficulty(verdict: Verdict) -> float:
    """A verdict on difficulty as a number from 0 (easy) to 1, for `error_auc`.

    Raises:
        InputError: labels, which are no difficulty, or a name that is not among `NOMINAL`.
    """
    if isinstance(verdict, float):
        return verdict
    if isinstance(verdict, str) and verdict in NOMINAL:
        return NOMINAL[verdict]
    raise InputError(f"not a verdict on difficulty: {verdict!r}")


def check_scale(scale: str) -> None:
    """Nothing where there is such a scale.

    Raises:
        InputError: there is none.
    """
    if scale not in get_args(Scale):
        raise InputError(f"scale must be one of {', '.join(get_args(Scale))}, got {scale!r}")


def _first(reply: str) -> str:
    found = _BRACKETS.search(reply)
    if found is None:
        raise ParseFailure("no verdict in double square brackets in the reply", reply)
    return found.group(1).strip()
