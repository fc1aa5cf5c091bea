"""Does a reward pay for tricks? Answers that a model under training finds sooner or later, against an honest miss.

`audit_reward` calls a reward function with known ways to cheat and reports each that earns more than an honest answer
that is nearly right. A finding is a reward that training will exploit, not a proof that a model does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from firsthand.training.visual_rft.answers import Detection, write_detections
from firsthand.training.visual_rft.errors import RewardInputError
from firsthand.vision import Box

__all__ = ["AuditFinding", "audit_reward"]

Task = Literal["detect", "classify", "ground"]


@dataclass(frozen=True)
class AuditFinding:
    """A trick that pays: what it is, what it earned, what the honest answer earned, and the text itself."""

    trick: str
    reward: float
    honest: float
    text: str


def audit_reward(
    reward: Callable[..., Sequence[float | None]],
    truth: Sequence[Detection] | Box | str,
    classes: Sequence[str] = (),
    *,
    task: Task = "detect",
    scale: float = 1000.0,
    columns: Mapping[str, Any] | None = None,
    column: str = "solution",
) -> list[AuditFinding]:
    """Try the known tricks on `reward` for one true answer; those that beat an honest near miss, dearest first.

    Args:
        reward: a reward function (or the sum of several): `(completions, **columns)`.
        truth: boxes for "detect", one box for "ground", a class name for "classify".
        classes: names of all classes, for "classify".
        scale: what an image's width and height count as.
        columns: further columns that the reward reads, one entry each.

    The honest answer to "detect" has each box shifted so that IoU is just below one half, at confidence 0.9; to
    "ground" likewise; to "classify" another class.
    """
    solution, honest, tricks = _answers(truth, classes, task, scale)
    texts = [honest, *tricks.values()]
    given = {name: [entry] * len(texts) for name, entry in (columns or {}).items()}
    values = [
        0.0 if v is None else float(v)
        for v in reward(completions=texts, **{column: [solution] * len(texts)}, **given)
    ]
    if len(values) != len(texts):
        raise RewardInputError(f"the reward gave {len(values)} numbers for {len(texts)} answers")
    found = [
        AuditFinding(trick, value, values[0], text)
        for (trick, text), value in zip(tricks.items(), values[1:], strict=True)
        if value > values[0] + 1e-9
    ]
    return sorted(found, key=lambda finding: -finding.reward)


def _answers(truth: Any, classes: Sequence[str], task: Task, scale: float) -> tuple[str, str, dict[str, str]]:
    """The solution's text, an honest near miss, and tricks by name."""
    if task == "classify":
        return _names(truth, classes)
    if task == "ground":
        return _one_box(truth, scale)
    if task == "detect":
        return _boxes(list(truth), scale)
    raise RewardInputError(f"a task is detect, classify or ground, got {task!r}")


def _framed(answer: str) -> str:
    return f"<think>.</think><answer>{answer}</answer>"


def _shifted(box: Box, share: float = 0.35) -> Box:
    """The box moved by a share of its width: an IoU of (1 − share)/(1 + share), 0.48 for 0.35."""
    x1, y1, x2, y2 = box
    step = share * (x2 - x1)
    return (x1 - step, y1, x2 - step, y2) if x1 - step >= 0 else (x1 + step, y1, x2 + step, y2)


def _boxes(truth: list[Detection], scale: float) -> tuple[str, str, dict[str, str]]:
    solution = write_detections(truth)
    whole, corner = (0.0, 0.0, scale, scale), (0.0, 0.0, scale / 500, scale / 500)
    label = truth[0].label if truth else None

    def text(detections: Sequence[Detection]) -> str:
        return write_detections(detections, think=".")

    honest = (
        text([Detection(_shifted(d.box), 0.9, d.label) for d in truth])
        if truth
        else text([Detection(whole, 0.1)])
    )
    step = scale / 6
    grid = [
        Detection((step * i, step * j, step * (i + 1), step * (j + 1)), 0.01, label)
        for i in range(6)
        for j in range(6)
    ]
    far = Detection(corner, 0.0, label)
    tricks = {
        "a tiny box anywhere with confidence 0": text([far]),
        "many tiny boxes with confidence 0": text(
            [Detection((k, k, k + corner[2], k + corner[3]), 0.0, label) for k in range(8)]
        ),
        "the whole image": text([Detection(whole, 1.0, label)]),
        "a grid of boxes with low confidence": text(grid),
        "the same box repeated": text([Detection(whole, 0.0, label)] * 8),
        "a box without an area": _framed("[{'Position': [5, 5, 5, 5], 'Confidence': 1}]"),
        "an infinite box": _framed("[{'Position': [-1e308, -1e308, 1e308, 1e308], 'Confidence': 1}]"),
        "confidence above 1": _framed("[{'Position': [0, 0, 2, 2], 'Confidence': 99}]"),
        "an empty text": "",
        "empty tags": _framed(""),
        "tags and nothing to read": _framed("yes"),
    }
    if truth:
        tricks["nothing is there"] = _framed("[]")
    return solution, honest, tricks


def _one_box(truth: Box, scale: float) -> tuple[str, str, dict[str, str]]:
    def text(box: Sequence[float]) -> str:
        a, b, c, d = (f"{edge:g}" for edge in box)
        return _framed(f"({a},{b}),({c},{d})")

    corner = scale / 500
    tricks = {
        "the whole image": text((0, 0, scale, scale)),
        "a tiny box in a corner": text((0, 0, corner, corner)),
        "a box without an area": text((5, 5, 5, 5)),
        "a box far larger than the image": text((-1e6, -1e6, 1e6, 1e6)),
        "several boxes": _framed("(0,0),(500,500) (500,500),(999,999)"),
        "an empty text": "",
        "empty tags": _framed(""),
    }
    return text(truth), text(_shifted(truth)), tricks


def _names(truth: str, classes: Sequence[str]) -> tuple[str, str, dict[str, str]]:
    others = [name for name in classes if name != truth]
    if not others:
        raise RewardInputError("to audit a reward for class names give the names of at least two classes")
    everything = [*others, truth]
    tricks = {
        "an empty answer": _framed(""),
        "an empty text": "",
        "one letter": _framed("a"),
        "all classes": _framed(", ".join(everything)),
        "all classes, one a line": _framed("\n".join(everything)),
        "all classes without spaces": _framed("".join(everything)),
        "part of every name": _framed("e"),
        "all classes, each in an answer of its own": "".join(_framed(name) for name in everything[::-1]),
    }
    return _framed(truth), _framed(others[0]), tricks
