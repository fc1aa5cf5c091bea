"""Answers of a vision-language model as text: where the answer is, and the boxes or the name in it.

The form is `<think>…</think><answer>…</answer>`; an answer to a detection task is a list of
`{'Position': [x1, y1, x2, y2], 'Confidence': 0.9}`, to a grounding task `(x1,y1),(x2,y2)` (section 3 of the paper).
Nothing here raises for what a model wrote, and nothing is evaluated: objects are found by their braces and read as
JSON or as a Python literal, so that an answer that was cut off keeps the objects that were complete.
"""

from __future__ import annotations

import ast
import json
import math
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from firsthand.vision import Box, BoxFormat

__all__ = [
    "Detection",
    "ParsedAnswer",
    "answer_of",
    "answered_boxes",
    "parse_box",
    "parse_detections",
    "read_detections",
    "says_nothing",
    "write_detections",
]

_POSITION = ("position", "bbox_2d", "bbox", "box")
_CONFIDENCE = ("confidence", "score")
_LABEL = ("label", "category", "class")
_LONGEST_OBJECT = 2_000  # characters: no box takes more, and a literal parser's depth is bounded with it
_NUMBER = r"[-+]?\d+(?:\.\d+)?"
_PAIR = re.compile(rf"\(\s*({_NUMBER})\s*,\s*({_NUMBER})\s*\)\s*,?\s*\(\s*({_NUMBER})\s*,\s*({_NUMBER})\s*\)")
_NOTHING = re.compile(r"\s*(?:\[\s*\]|no\s+objects?\.?|none\.?)\s*", re.IGNORECASE)


@dataclass(frozen=True)
class Detection:
    """A box (x1, y1, x2, y2) in the unit of its text, how sure the model is (0 to 1), and what it says it is."""

    box: Box
    confidence: float = 1.0
    label: str | None = None


@dataclass(frozen=True)
class ParsedAnswer:
    """What was read, and what had to be put right on the way.

    Attributes:
        detections: None where there is no list of boxes at all.
        repaired: whether the text was no valid list as it stood.
        out_of_range: confidences outside 0 to 1, which were moved to the nearer end.
        duplicates: boxes that repeated an earlier one and were dropped.
        malformed: objects that are no box with four numbers.
    """

    detections: list[Detection] | None
    repaired: bool = False
    out_of_range: int = 0
    duplicates: int = 0
    malformed: int = 0


def answer_of(
    text: str, *, tags: tuple[str, str] = ("<answer>", "</answer>"), repair: bool = True
) -> str | None:
    """What stands between the last opening tag that is closed and its end, without space around it.

    Answers of several lines count. With `repair` the rest of a text whose answer was not closed is taken; a text
    without any tag is an answer as a whole, less a `<think>` part; without `repair` it is None.
    """
    opening, closing = tags
    end = text.rfind(closing)
    if end >= 0:
        start = text.rfind(opening, 0, end)
        if start >= 0:
            return text[start + len(opening) : end].strip()
    if not repair:
        return None
    start = text.rfind(opening)
    if start >= 0:
        return text[start + len(opening) :].strip()
    return re.sub(r"<think>.*?(?:</think>|$)", "", text, flags=re.DOTALL).strip()


def says_nothing(text: str, *, tags: tuple[str, str] = ("<answer>", "</answer>")) -> bool:
    """Whether the answer is that there is nothing: `[]`, "No Objects" or "None"."""
    answer = answer_of(text, tags=tags)
    return answer is not None and _NOTHING.fullmatch(answer) is not None


def answered_boxes(text: str, *, repair: bool = True) -> list[Detection] | None:
    """The boxes of an answer; an empty list where it says that there is nothing, None where it cannot be read."""
    found = parse_detections(text, repair=repair)
    return [] if found is None and says_nothing(text) else found


def parse_detections(
    text: str, *, tags: tuple[str, str] = ("<answer>", "</answer>"), repair: bool = True, layout: str = "xyxy"
) -> list[Detection] | None:
    """The boxes of an answer in the order in which they stand; None where it holds no list of boxes.

    "No Objects" is None, as in the official code; `says_nothing` tells it from what cannot be read. A single object
    without a list counts as a list of one. `[[{…}]]` is a list too. Never raises.
    """
    return read_detections(text, tags=tags, repair=repair, layout=layout).detections


def read_detections(
    text: str, *, tags: tuple[str, str] = ("<answer>", "</answer>"), repair: bool = True, layout: str = "xyxy"
) -> ParsedAnswer:
    """`parse_detections`, and what was put right on the way."""
    answer = answer_of(text, tags=tags, repair=repair)
    if answer is None:
        return ParsedAnswer(None)
    whole = _literal(answer)
    if isinstance(whole, Mapping):
        whole = [whole]
    while isinstance(whole, list) and len(whole) == 1 and isinstance(whole[0], list):
        whole = whole[0]
    repaired = not isinstance(whole, list)
    if repaired:
        objects = (
            [found for found in map(_literal, _objects(answer)) if isinstance(found, Mapping)]
            if repair
            else []
        )
        if not objects:
            return ParsedAnswer(None)
    else:
        objects = whole
    found: list[Detection] = []
    places: set[tuple[Box, str | None]] = set()
    outside = duplicates = malformed = 0
    for entry in objects:
        detection, moved = _detection(entry, layout)
        if detection is None:
            malformed += 1
            continue
        place = (detection.box, detection.label)
        if place in places:
            duplicates += 1
            continue
        places.add(place)
        outside += moved
        found.append(detection)
    if not found and malformed:
        return ParsedAnswer(None, repaired, outside, duplicates, malformed)
    return ParsedAnswer(found, repaired, outside, duplicates, malformed)


def _literal(text: str) -> Any:
    """JSON, or else a Python literal (single quotes), or else None; no code is run."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    if "'" in text:
        if "\\" not in text and '"' not in text:
            try:
                return json.loads(text.replace("'", '"'))
            except (ValueError, RecursionError):
                pass
        if len(text) <= 50 * _LONGEST_OBJECT and text.count("[") + text.count("(") + text.count("{") < 2_000:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # of odd escapes in what a model wrote
                    return ast.literal_eval(text)
            except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
                return None
    return None


def _objects(text: str) -> Iterator[str]:
    """Every complete `{…}` of a text that holds no other."""
    start = -1
    for place, letter in enumerate(text):
        if letter == "{":
            start = place
        elif letter == "}" and start >= 0:
            if place - start <= _LONGEST_OBJECT:
                yield text[start : place + 1]
            start = -1


def _detection(entry: Any, layout: str) -> tuple[Detection | None, bool]:
    """A box out of an object, and whether its confidence had to be moved; None where it is no box."""
    if not isinstance(entry, Mapping):
        return None, False
    fields = {str(name).lower(): value for name, value in entry.items()}
    numbers = _numbers(_first(fields, _POSITION))
    confidence = _number(_first(fields, _CONFIDENCE, 1.0))
    if numbers is None or confidence is None:
        return None, False
    box = numbers if layout == "xyxy" else BoxFormat(layout, 1.0).read(numbers)  # type: ignore[arg-type]
    label = _first(fields, _LABEL)
    inside = min(1.0, max(0.0, confidence))
    return Detection(box, inside, None if label is None else str(label)), inside != confidence


def _first(fields: Mapping[str, Any], names: Sequence[str], otherwise: Any = None) -> Any:
    return next((fields[name] for name in names if name in fields), otherwise)


def _numbers(value: Any) -> Box | None:
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 4:
        return None
    a, b, c, d = (_number(entry) for entry in value)
    return None if a is None or b is None or c is None or d is None else (a, b, c, d)


def _number(value: Any) -> float | None:
    """A finite number, also one written as text; None for anything else."""
    if isinstance(value, bool):
        return None
    if not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def parse_box(
    text: str, *, tags: tuple[str, str] = ("<answer>", "</answer>"), repair: bool = True
) -> Box | None:
    """The last `(x1,y1),(x2,y2)` of an answer, or None; never raises."""
    answer = answer_of(text, tags=tags, repair=repair)
    found = None if answer is None else list(_PAIR.finditer(answer))
    if not found:
        return None
    a, b, c, d = (float(number) for number in found[-1].groups())
    return (a, b, c, d) if all(math.isfinite(number) for number in (a, b, c, d)) else None


def write_detections(detections: Sequence[Detection], *, think: str = "") -> str:
    """The text of an answer: what a model is taught, and ground truth (confidence 1)."""
    listed = [
        {
            "Position": [int(edge) if float(edge).is_integer() else edge for edge in detection.box],
            "Confidence": int(detection.confidence)
            if detection.confidence in (0, 1)
            else detection.confidence,
            **({} if detection.label is None else {"Label": detection.label}),
        }
        for detection in detections
    ]
    head = f"<think>{think}</think>" if think else ""
    return f"{head}<answer>{listed}</answer>"
