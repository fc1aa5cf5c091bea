"""What pages say: numbers, times, verdicts and rules in words.

Knows language. Knows no HTML and no database.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from firsthand.evaluation.codearena.scores.rules import Rules

__all__ = [
    "KINDS",
    "VERDICTS",
    "WORDS_OF_STATUS",
    "Said",
    "bytes_text",
    "day_text",
    "milliseconds",
    "moment_text",
    "percent",
    "points_text",
    "rules_in_words",
    "said_of",
]

VERDICTS = {
    "AC": "Accepted",
    "WA": "Wrong answer",
    "TLE": "Too slow",
    "MLE": "Too much memory",
    "OLE": "Too much output",
    "RTE": "Crashed",
    "CE": "Does not compile",
    "IE": "Judge failed",
    "AB": "Aborted",
}
_EXPLAINED = {
    "AC": "Every test case gave the expected output within the limits.",
    "WA": "The output of a test case is not the expected one.",
    "TLE": "A test case took more processor time than the problem allows.",
    "MLE": "A test case took more memory than the problem allows.",
    "OLE": "A test case printed more than may be printed.",
    "RTE": "The program ended with an error on a test case.",
    "CE": "The compiler refused the source.",
    "IE": "The judge itself failed, more than once. This counts for nothing; an administrator can judge it again.",
    "AB": "It was taken out and counts for nothing.",
}
_WAITING = {
    "queued": ("Waiting", "A judge will take it when it is its turn."),
    "leased": ("Being judged", "A judge has taken it."),
    "judging": ("Being judged", "The test cases are running."),
}
KINDS = {
    "llm": "language model",
    "human": "person",
    "curator": "curator",
    "reader": "reader",
    "admin": "administrator",
}

WORDS_OF_STATUS = {
    400: ("This request cannot be read", "The address or the form holds something that was not understood."),
    401: ("Log in first", "This page is for those who show a token of this arena."),
    403: ("You may not do this", "Your token does not allow it, or the request came from another site."),
    404: ("There is nothing here", "The address is wrong, or what it named is not published."),
    405: ("This cannot be done here", "The address is right, but not for this kind of request."),
    409: ("This contradicts what is there", "Somebody was faster, or it was done before."),
    413: ("This is too long", "The arena takes shorter ones only."),
    422: ("This value cannot be used", "Part of the address or of the form is not among what may be chosen."),
    429: ("Too many requests", "The arena answers everybody in turn; wait a moment."),
    500: ("Something failed here", "It is the arena's fault, not yours, and its log says what it was."),
    503: (
        "Nothing is judged at the moment",
        "No judge can isolate programs now, and without isolation the arena runs none.",
    ),
}


@dataclass(frozen=True)
class Said:
    """A verdict or a state: its mark for style sheets, a word, and a sentence."""

    mark: str  # ac, wrong, judge, waiting
    word: str
    sentence: str
    code: str


def said_of(verdict: str | None, state: str) -> Said:
    """What became of a submission, in words; what waits to be judged again is waiting."""
    if state in _WAITING:
        word, sentence = _WAITING[state]
        return Said("waiting", word, sentence, "")
    code = verdict or ""
    mark = "ac" if code == "AC" else "judge" if code in ("IE", "AB") else "wrong"
    return Said(mark, VERDICTS.get(code, code or "Unknown"), _EXPLAINED.get(code, ""), code)


# --- numbers -----------------------------------------------------------------------------------------


def points_text(value: float | None, digits: int = 2) -> str:
    """Points with two decimals; a dash where there are none."""
    if value is None:
        return "–"
    text = f"{value:,.{digits}f}".replace("-", "−")
    return text.lstrip("−") if not text.strip("−0.,") else text


def percent(share: float | None, digits: int = 0) -> str:
    """A share in per cent; a dash where there is none. What is not all is never called 100 %, nor nothing 0 %."""
    if share is None:
        return "–"
    text = f"{100 * share:.{digits}f}"
    least = 10.0**-digits
    if 0 < share < 1 and float(text) in (0.0, 100.0):
        return f"< {least:g} %" if float(text) == 0 else f"> {100 - least:g} %"
    return f"{text} %"


def milliseconds(value: float | None) -> str:
    """58 ms, 1.24 s; a dash where there is none."""
    if value is None:
        return "–"
    if value >= 1000:
        return f"{value / 1000:,.2f} s"
    return f"{value:.0f} ms" if value >= 10 else f"{value:.1f} ms"


def bytes_text(kib: float | None) -> str:
    """KiB as KiB, MiB or GiB."""
    if kib is None:
        return "–"
    if kib < 1024:
        return f"{kib:.0f} KiB"
    size = kib / 1024
    unit = "MiB"
    if size >= 1024:
        size, unit = size / 1024, "GiB"
    return f"{size:.1f}".removesuffix(".0") + f" {unit}"


def day_text(moment: datetime | Any) -> str:
    """30 July 2024."""
    if isinstance(moment, datetime):
        moment = moment.astimezone(UTC)
    return f"{moment.day} {moment:%B %Y}"


def moment_text(moment: datetime) -> str:
    """30 July 2024, 12:00 UTC."""
    return f"{day_text(moment)}, {moment.astimezone(UTC):%H:%M} UTC"


# --- rules -------------------------------------------------------------------------------------------


def _listed(names: Iterable[str]) -> str:
    found = list(names)
    return found[0] if len(found) == 1 else f"{', '.join(found[:-1])} and {found[-1]}"


def rules_in_words(rules: Rules) -> list[str]:
    """What the rules of a board mean, a sentence each, the important ones first."""
    unit = (
        "contestants: those who solved a problem of those who tried it"
        if rules.ac_unit == "user"
        else "submissions: the accepted ones of all counted ones"
    )
    share = rules.challenge == "share"
    if rules.aggregate == "dmoj":
        said = [
            "Points are DMOJ’s performance points over the basic points of solved problems: the best counts whole, "
            "each further one 5 % less, and solving many gives a bonus. Challenge and efficiency do not enter."
        ]
    else:
        weight = "" if rules.es_weight == 1 else f", efficiency {rules.es_weight:g} times"
        said = [f"Points are the sum of challenge and efficiency over all problems that one solved{weight}."]
    said.append(
        "Challenge: a problem’s basic points are split evenly among all who solved it (the paper’s prose)."
        if share
        else "Challenge: a problem’s basic points times the share of attempts that failed (the paper’s formula)."
    )
    scope = " in the same language" if rules.es_scope == "problem+language" else ""
    tolerance = f", up to {rules.es_tolerance:g} % slower counting as equal" if rules.es_tolerance else ""
    said.append(f"Efficiency: the share of solvers{scope} who took at least as long{tolerance}.")
    if not share:
        said.append(f"The failing share counts {unit}.")
    if rules.named:
        said.append(f"The field is {_listed(sorted(rules.named))}, and nobody else.")
    else:
        field = {"llm": "all language models", "human": "all people", "all": "everybody, models and people"}
        said.append(f"The field is {field[str(rules.population)]}.")
    if rules.leave_out:
        names = sorted(
            entry if isinstance(entry, str) else f"the {entry[0]} {entry[1]}" for entry in rules.leave_out
        )
        said.append(f"Scored as if {_listed(names)} had never been there.")
    return said
