"""A clause's result as a picture: our interval, the margin, the side where the claim holds.

Knows one `ClauseResult` at a time and draws it as inline SVG; `strip` adds the per-unit effects on the
same axis. Knows nothing of pages. Words longer than a label (quantities, the paper's setting) belong
beside the picture as HTML, where they can wrap; a paper figure enters the picture only where its scale
and metric are ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from firsthand.claims.model import Clause, ClauseResult, PaperFigure
from firsthand.claims.scales import Axis, axis_over, format_given, format_number, place, svg_text, text_width

__all__ = ["forest_svg", "holding_side", "sides"]

WIDTH = 340.0
EDGE = 10.0
SIZE = 11.0


def holding_side(clause: Clause) -> str:
    """Where the clause holds, in words: "above 0.5", "within ±2"."""
    margin = format_given(clause.margin)
    if clause.kind == "exact":
        return "at 0 only"
    if clause.kind == "equivalent":
        return (
            f"within {format_number(1 / clause.margin)} and {margin}" if clause.ratio else f"within ±{margin}"
        )
    return f"{'above' if _upward(clause) else 'below'} {margin}"


def sides(clause: Clause) -> tuple[float | None, float | None]:
    """The bounds between which the clause holds, on the effect's scale; None is an open end."""
    if clause.kind == "exact":
        return 0.0, 0.0
    if clause.kind == "equivalent":
        return (1 / clause.margin if clause.ratio else -clause.margin), clause.margin
    return (clause.margin, None) if _upward(clause) else (None, clause.margin)


def _upward(clause: Clause) -> bool:
    return clause.kind == "greater" or (clause.kind == "absolute" and clause.direction == "greater")


def forest_svg(
    result: ClauseResult,
    *,
    identity: str,
    label: str,
    paper: PaperFigure | None = None,
    verdict: str = "",
    strip: bool = False,
) -> str:
    """`result` as one `<svg>`, or an empty string where there is nothing to draw.

    `identity` makes the element ids unique on a page; `label` names the picture for those who do not see
    it; `verdict` ("holds", "fails", "inconclusive" or "" for none) only sets the colour of our interval.
    """
    clause = result.clause
    low, estimate, high = _interval(result)
    units = [u for u in result.units if not clause.ratio or u > 0] if strip and clause.kind != "exact" else []
    if estimate is None and not units:
        return ""
    shown_paper = paper.value if paper is not None and paper.same_setting else None
    if shown_paper is not None and clause.ratio and shown_paper <= 0:
        shown_paper = None
    axis = _axis(clause, [v for v in (low, estimate, high, shown_paper) if v is not None] + units)
    parts, y = [], 18.0
    if estimate is not None and low is not None and high is not None:
        parts.append(_interval_mark(axis, low, estimate, high, y + 14))
        y += 28
    if units:
        dots, y = _strip(axis, units, y)
        parts.append(dots)
    if shown_paper is not None:
        parts.append(_paper_mark(axis, shown_paper, y + 8))
        y += 18
    bottom = y
    frame = _sides(axis, clause, bottom) + _ticks(axis, bottom)
    title, description = f"t-{escape(identity)}", f"d-{escape(identity)}"
    colour = f" is-{escape(verdict)}" if verdict else ""
    return (
        f'<svg class="forest{colour}" viewBox="0 0 {place(WIDTH)} {place(bottom + 20)}" role="img" '
        f'aria-labelledby="{title} {description}">'
        f'<title id="{title}">{escape(label)}</title>'
        f'<desc id="{description}">{escape(_describe(result, shown_paper))}</desc>'
        f"{frame}{''.join(parts)}</svg>"
    )


def _interval(result: ClauseResult) -> tuple[float | None, float | None, float | None]:
    """(low, estimate, high); of an exact clause the mismatch rate in per cent."""
    if result.clause.kind != "exact":
        i = result.interval
        return (i.low, i.estimate, i.high) if i is not None else (None, None, None)
    share = result.arms.get(result.clause.treatment)
    if share is None:
        return None, None, None
    rate = 100 * (1 - share)
    bound = 100 * result.mismatch_bound if result.mismatch_bound is not None else rate
    return min(rate, bound) if rate else 0.0, rate, max(rate, bound)


def _axis(clause: Clause, values: list[float]) -> Axis:
    """An axis that shows the values, the margin and, where two arms are compared, "no difference"."""
    if clause.kind == "exact":
        return axis_over([*values, 1.0], EDGE, WIDTH - EDGE, zero=True)
    values = [*values, *(side for side in sides(clause) if side is not None)]
    if clause.control is not None:
        values.append(1.0 if clause.ratio else 0.0)
    log = clause.ratio and min(values) > 0
    return axis_over(values, EDGE, WIDTH - EDGE, log=log, pad=0.1)


def _sides(axis: Axis, clause: Clause, bottom: float) -> str:
    """The tinted holding side, the margin's dashed line, the line of no difference and the label on top."""
    low, high = sides(clause)
    left = axis(low) if low is not None else 0.0
    right = axis(high) if high is not None else WIDTH
    parts = []
    if right - left > 0.5:
        parts.append(
            f'<rect class="forest-side" x="{place(left)}" y="16" width="{place(right - left)}" '
            f'height="{place(bottom - 16)}"/>'
        )
    neutral = (1.0 if clause.ratio else 0.0) if clause.control is not None else None
    if neutral is not None and neutral not in (low, high):
        parts.append(f'<path class="forest-neutral" d="M{place(axis(neutral))} 16V{place(bottom)}"/>')
    parts.extend(
        f'<path class="forest-margin" d="M{place(axis(side))} 16V{place(bottom)}"/>'
        for side in dict.fromkeys((low, high))
        if side is not None
    )
    words = f"holds {holding_side(clause)}"
    if high is None:
        words = f"{words} →"
    elif low is None:
        words = f"← {words}"
    width = text_width(words, SIZE)
    middle = (left + right) / 2
    start = left + 2 if high is None else right - 2 - width if low is None else middle - width / 2
    start = min(max(start, 0.0), WIDTH - width)
    # Anchored at the end that touches the margin, so that a narrower font leaves no gap there.
    at, anchor = (start + width, "end") if low is None else (start, "start")
    if low is not None and high is not None and 0 < start < WIDTH - width:
        at, anchor = middle, "middle"
    parts.append(svg_text(at, 11, words, "forest-words", anchor))
    return "".join(parts)


def _interval_mark(axis: Axis, low: float, estimate: float, high: float, y: float) -> str:
    left, at, right = axis(low), axis(estimate), axis(high)
    bar = (
        f'<path class="forest-bar" d="M{place(left)} {place(y)}H{place(right)}"/>'
        if right - left > 0.2
        else ""
    )
    ends = (
        "".join(f'<path class="forest-end" d="M{place(x)} {place(y - 5)}v10"/>' for x in (left, right))
        if bar
        else ""
    )
    return f'{bar}{ends}<circle class="forest-dot" cx="{place(at)}" cy="{place(y)}" r="4.5"/>'


def _strip(axis: Axis, units: Sequence[float], top: float) -> tuple[str, float]:
    """Per-unit effects as dots, heaped where they would overlap; returns the drawing and the next y."""
    radius = 3.0 if len(units) <= 60 else 2.0
    step = 2 * radius + 0.6
    levels: list[float] = []  # the last x on each level
    spots: list[tuple[float, int]] = []
    most = 10
    for x in sorted(axis(unit) for unit in units):
        free = next((i for i, last in enumerate(levels) if x - last >= step), None)
        if free is None:
            free = len(levels) if len(levels) < most else len(spots) % most
            levels.extend([x] if free == len(levels) else [])
        levels[free] = x
        spots.append((x, free))
    height = len(levels) * step
    base = top + 4 + height - radius
    dots = "".join(
        f'<circle class="forest-unit" cx="{place(x)}" cy="{place(base - level * step)}" r="{place(radius)}"/>'
        for x, level in spots
    )
    return dots, top + height + 10


def _paper_mark(axis: Axis, value: float, y: float) -> str:
    at, words = axis(value), f"paper {format_given(value)}"
    width = text_width(words, SIZE) + 10
    x, anchor = (at + 9, "start") if at + width < WIDTH else (at - 9, "end")
    diamond = f"M{place(at)} {place(y - 5)}l5 5l-5 5l-5 -5z"
    return f'<path class="forest-paper" d="{diamond}"/>' + svg_text(
        x, y + 4, words, "forest-paper-words", anchor
    )


def _ticks(axis: Axis, bottom: float) -> str:
    parts = [f'<path class="forest-axis" d="M0 {place(bottom)}H{place(WIDTH)}"/>']
    for value, label in axis.ticks(5, SIZE):
        x, half = axis(value), text_width(label, SIZE) / 2
        shown = min(max(x, half), WIDTH - half)
        parts.append(f'<path class="forest-axis" d="M{place(x)} {place(bottom)}v4"/>')
        parts.append(svg_text(shown, bottom + 15, label, "forest-tick", "middle"))
    return "".join(parts)


def _describe(result: ClauseResult, paper: float | None) -> str:
    """The picture in one or two sentences."""
    clause, interval = result.clause, result.interval
    if clause.kind == "exact":
        _, rate, bound = _interval(result)
        text = f"Mismatch rate {format_number(rate or 0)} %"
        if result.mismatch_bound is not None:
            text += f", at most {format_number(bound or 0)} % at 95 % confidence"
        return text + "; the claim holds at 0 only."
    if interval is None:
        return f"{len(result.units)} per-unit effects, no interval; the claim holds {holding_side(clause)}."
    text = (
        f"Estimate {format_number(interval.estimate)}, {100 * interval.level:.0f} % interval "
        f"{format_number(interval.low)} to {format_number(interval.high)}, {interval.n} independent units; "
        f"the claim holds {holding_side(clause)}."
    )
    return text + (f" The paper's figure is {format_number(paper)}." if paper is not None else "")
