"""A small description of a chart that a check can leave in its details, and its drawing as inline SVG.

Knows lines, points and bars on linear or log axes. Knows nothing of claims or pages. Colours are CSS
custom properties (`--ink`, `--series-1` …), so that a drawing follows the page's light or dark theme;
series differ in dash and marker too, so that nothing hangs on colour alone.
"""

from __future__ import annotations

import hashlib
from html import escape
from itertools import pairwise
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from firsthand.claims.scales import (
    Axis,
    axis_over,
    ellipsis,
    format_given,
    format_number,
    place,
    svg_text,
    text_width,
    wrap,
)

__all__ = ["Chart", "Series", "render_svg"]

WIDTH = 380.0  # user units; drawn one to one on a phone, a little larger on a desk
SMALL = 11.0
PLOT_HEIGHT = 190.0
_DASHES = ("", "6 3", "2 3", "9 3 2 3", "4 2", "1 4")
_MARKERS = ("circle", "square", "diamond", "triangle", "cross", "ring")


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Series(_Data):
    """One line, set of points or set of bars: `x` and `y` have the same length."""

    name: str
    x: tuple[float | str, ...]
    y: tuple[float, ...]

    @model_validator(mode="after")
    def _same_length(self) -> Series:
        if len(self.x) != len(self.y):
            raise ValueError(f"series {self.name!r}: {len(self.x)} x values and {len(self.y)} y values")
        if not self.x:
            raise ValueError(f"series {self.name!r} is empty")
        return self


class Chart(_Data):
    """What a check wants drawn. Text on `x` makes categories; numbers make an axis."""

    kind: Literal["line", "bar", "points"]
    title: str
    x_label: str = ""
    y_label: str = ""
    series: tuple[Series, ...] = Field(min_length=1)
    note: str = ""
    log_x: bool = False
    log_y: bool = False

    @model_validator(mode="after")
    def _drawable(self) -> Chart:
        if self.log_x and self.categorical:
            raise ValueError(f"chart {self.title!r}: categories have no log axis")
        if self.log_x and any(float(x) <= 0 for series in self.series for x in series.x):
            raise ValueError(f"chart {self.title!r}: log_x needs positive x values")
        if self.log_y and any(y <= 0 for series in self.series for y in series.y):
            raise ValueError(f"chart {self.title!r}: log_y needs positive y values")
        return self

    @property
    def categorical(self) -> bool:
        """Whether any x is text."""
        return any(isinstance(x, str) for series in self.series for x in series.x)

    @property
    def categories(self) -> list[str]:
        """The x values as labels, in order of first appearance."""
        labels = (x if isinstance(x, str) else format_number(x) for series in self.series for x in series.x)
        return list(dict.fromkeys(labels))


def render_svg(chart: Chart, *, prefix: str = "") -> str:
    """`chart` as one `<svg>` element with `<title>` and `<desc>`.

    `prefix` keeps element ids apart where the same chart stands twice on a page. The note is not drawn:
    it is prose and belongs beside the figure.
    """
    head = wrap(chart.title, 13.0 * 1.14, WIDTH, 3)  # bold faces are wider
    parts = [svg_text(0, 13 + 17 * i, line, "chart-title") for i, line in enumerate(head)]
    top = 17.0 * len(head) + 8
    if len(chart.series) > 1:
        legend, top = _legend(chart, top)
        parts.append(legend)
    body, height = (
        _horizontal_bars(chart, top) if chart.kind == "bar" and chart.categorical else _plot(chart, top)
    )
    identity = prefix + hashlib.sha256(chart.model_dump_json().encode()).hexdigest()[:10]
    return (
        f'<svg class="chart" viewBox="0 0 {place(WIDTH)} {place(height)}" role="img" '
        f'aria-labelledby="t{escape(identity)} d{escape(identity)}" preserveAspectRatio="xMinYMin meet">'
        f'<title id="t{escape(identity)}">{escape(chart.title)}</title>'
        f'<desc id="d{escape(identity)}">{escape(_describe(chart))}</desc>'
        f"{''.join(parts)}{body}</svg>"
    )


def _describe(chart: Chart) -> str:
    """The chart in words, for those who do not see it."""
    sentences = [f"{chart.kind} chart of {chart.y_label or 'y'} against {chart.x_label or 'x'}."]
    for series in chart.series:
        low, high = min(series.y), max(series.y)
        sentences.append(
            f"{series.name}: {len(series.y)} values from {format_number(low)} to {format_number(high)}, "
            f"last {format_number(series.y[-1])}."
        )
    return " ".join(sentences)


def _colour(index: int) -> str:
    return f"var(--series-{index % 6 + 1})"


def _marker(index: int, x: float, y: float, radius: float = 3.2) -> str:
    """The marker of series `index`; shapes differ so that colour is never the only key."""
    shape, colour, r = _MARKERS[index % 6], _colour(index), radius
    if shape in ("circle", "ring"):
        paint = f"fill:{colour}" if shape == "circle" else f"fill:none;stroke:{colour};stroke-width:1.6"
        return f'<circle cx="{place(x)}" cy="{place(y)}" r="{place(r)}" style="{paint}"/>'
    corners = {
        "square": ((-r, -r), (r, -r), (r, r), (-r, r)),
        "diamond": ((0, -r * 1.4), (r * 1.4, 0), (0, r * 1.4), (-r * 1.4, 0)),
        "triangle": ((0, -r * 1.3), (r * 1.3, r), (-r * 1.3, r)),
    }
    if shape in corners:
        points = " ".join(f"{place(x + dx)},{place(y + dy)}" for dx, dy in corners[shape])
        return f'<polygon points="{points}" style="fill:{colour}"/>'
    width = place(2 * r)
    path = f"M{place(x - r)} {place(y - r)}l{width} {width}m0 -{width}l-{width} {width}"
    return f'<path d="{path}" style="fill:none;stroke:{colour};stroke-width:1.8"/>'


def _legend(chart: Chart, top: float) -> tuple[str, float]:
    """Keys flowing left to right, a new line where one would not fit; returns the next free y."""
    parts, x, y = [], 0.0, top + 8
    for index, series in enumerate(chart.series):
        label = ellipsis(series.name, SMALL, WIDTH - 40)
        width = 28 + text_width(label, SMALL) + 14
        if x and x + width - 14 > WIDTH:
            x, y = 0.0, y + 17
        if chart.kind == "line":
            parts.append(_stroke(f"M{place(x)} {place(y - 4)}h22", index))
        if chart.kind == "bar":
            parts.append(_block(x + 6, y - 9, 10, 10, index))
        else:
            parts.append(_marker(index, x + 11, y - 4))
        parts.append(svg_text(x + 28, y, label, "chart-key"))
        x += width
    return "".join(parts), y + 12


def _stroke(path: str, index: int) -> str:
    dash = _DASHES[index % 6]
    dashed = f";stroke-dasharray:{dash}" if dash else ""
    paint = f"fill:none;stroke:{_colour(index)};stroke-width:2;stroke-linejoin:round{dashed}"
    return f'<path d="{path}" style="{paint}"/>'


def _block(x: float, y: float, width: float, height: float, index: int) -> str:
    where = f'x="{place(x)}" y="{place(y)}" width="{place(width)}" height="{place(height)}"'
    return f'<rect {where} style="fill:{_colour(index)}"/>'


def _plot(chart: Chart, top: float) -> tuple[str, float]:
    """Line, points, or bars over a numeric axis; returns the drawing and its full height."""
    if chart.y_label:
        top += 10
    bottom = top + PLOT_HEIGHT
    all_y = [y for series in chart.series for y in series.y]
    bars = chart.kind == "bar"
    vertical = axis_over(all_y, bottom, top + 6, log=chart.log_y, zero=bars and not chart.log_y)
    # A vertical axis has room for its labels whatever their width: only their number matters.
    y_ticks = Axis(vertical.low, vertical.high, 0, 4000, vertical.log).ticks(5, SMALL)
    left = max(text_width(label, SMALL) for _, label in y_ticks) + 8
    parts = [
        f'<path class="chart-grid" d="M{place(left)} {place(vertical(value))}H{place(WIDTH)}"/>'
        + svg_text(left - 6, vertical(value) + 4, label, "chart-tick", "end")
        for value, label in y_ticks
    ]
    if chart.y_label:
        parts.append(svg_text(0, top - 4, ellipsis(chart.y_label, SMALL, WIDTH), "chart-label"))
    position, x_axis = _x_positions(chart, left, bottom)
    parts.append(x_axis)
    for index, series in enumerate(chart.series):
        spots = [(position(x), vertical(y)) for x, y in zip(series.x, series.y, strict=True)]
        if bars:
            parts.extend(_columns(chart, index, spots, vertical, position))
            continue
        if chart.kind == "line":
            parts.append(_stroke("M" + "L".join(f"{place(x)} {place(y)}" for x, y in spots), index))
        if chart.kind == "points" or len(spots) <= 24:
            parts.extend(_marker(index, x, y) for x, y in spots)
    parts.append(f'<path class="chart-axis" d="M{place(left)} {place(bottom)}H{place(WIDTH)}"/>')
    height = bottom + 20
    if chart.x_label:
        height += 17
        label = ellipsis(chart.x_label, SMALL, WIDTH - left)
        parts.append(svg_text((left + WIDTH) / 2, height - 5, label, "chart-label", "middle"))
    return "".join(parts), height


def _x_positions(chart: Chart, left: float, bottom: float) -> tuple[_Positions, str]:
    """Where an x value stands, and the ticks beneath the axis."""
    if not chart.categorical:
        axis = _bar_axis(chart, left) if chart.kind == "bar" else _number_axis(chart, left)
        marks = [(axis(value), label) for value, label in axis.ticks(6, SMALL)]
        return _Positions(axis, None), _x_ticks(marks, left, bottom)
    labels = chart.categories
    slot = (WIDTH - left) / len(labels)
    every = next((n for n in range(1, len(labels)) if slot * n >= 34), len(labels))
    places = {label: left + slot * (i + 0.5) for i, label in enumerate(labels)}
    marks = [(places[label], ellipsis(label, SMALL, slot * every - 6)) for label in labels[::every]]
    return _Positions(None, places), _x_ticks(marks, left, bottom)


def _numbers(chart: Chart) -> list[float]:
    return sorted({float(x) for series in chart.series for x in series.x})


def _number_axis(chart: Chart, left: float) -> Axis:
    return axis_over(_numbers(chart), left + 6, WIDTH - 8, log=chart.log_x, pad=0.02)


def _bar_axis(chart: Chart, left: float) -> Axis:
    """An axis with half a gap of air at both ends, so that the outer bars stay inside."""
    numbers = _numbers(chart)
    if chart.log_x:
        air = min((b / a for a, b in pairwise(numbers)), default=4.0) ** 0.5
        return axis_over([numbers[0] / air, numbers[-1] * air], left, WIDTH, log=True, pad=0.0)
    gap = min((b - a for a, b in pairwise(numbers)), default=abs(numbers[0]) or 1.0) / 2
    return axis_over([numbers[0] - gap, numbers[-1] + gap], left, WIDTH, pad=0.0)


class _Positions:
    """A map from an x value, number or text, to user units."""

    def __init__(self, axis: Axis | None, places: dict[str, float] | None) -> None:
        self.axis, self.places = axis, places or {}

    def __call__(self, x: float | str) -> float:
        if self.axis is not None:
            return self.axis(float(x))
        return self.places[x if isinstance(x, str) else format_number(x)]


def _x_ticks(marks: list[tuple[float, str]], left: float, bottom: float) -> str:
    parts = []
    for x, label in marks:
        half = text_width(label, SMALL) / 2
        shown = min(max(x, left - 6 + half), WIDTH - half)  # labels at the rim stay inside the drawing
        parts.append(f'<path class="chart-axis" d="M{place(x)} {place(bottom)}v4"/>')
        parts.append(svg_text(shown, bottom + 16, label, "chart-tick", "middle"))
    return "".join(parts)


def _columns(
    chart: Chart, index: int, spots: list[tuple[float, float]], vertical: Axis, horizontal: _Positions
) -> list[str]:
    """Bars over a numeric axis: as wide as the narrowest gap allows, series side by side."""
    at = [horizontal(number) for number in _numbers(chart)]
    gap = min((b - a for a, b in pairwise(at)), default=WIDTH / 4)
    width = max(0.5, gap * 0.8 / len(chart.series))
    ground = vertical.start if vertical.log else vertical(0.0)
    shift = (index - (len(chart.series) - 1) / 2) * width
    return [_block(x + shift - width / 2, min(y, ground), width, abs(ground - y), index) for x, y in spots]


def _horizontal_bars(chart: Chart, top: float) -> tuple[str, float]:
    """Bars of named things: the name above its bars, the value at the bar's end, so long names fit."""
    values = [y for series in chart.series for y in series.y]
    room = max(text_width(format_given(y), SMALL) for y in values) + 8
    inset = room if min(values) < 0 and not chart.log_y else 1.0
    axis = axis_over(
        values,
        inset,
        WIDTH - room,
        log=chart.log_y,
        pad=0.0 if not chart.log_y else 0.1,
        zero=not chart.log_y,
    )
    ground = axis.start if axis.log else axis(0.0)
    parts: list[str] = []
    y = top
    if chart.y_label:
        y += 12
        parts.append(svg_text(0, y - 2, ellipsis(chart.y_label, SMALL, WIDTH), "chart-label"))
    for label in chart.categories:
        y += 19
        parts.append(svg_text(0, y, ellipsis(label, SMALL + 1, WIDTH), "chart-name"))
        y += 5
        first = y
        for index, series in enumerate(chart.series):
            for x, value in zip(series.x, series.y, strict=True):
                if (x if isinstance(x, str) else format_number(x)) != label:
                    continue
                end = axis(value)
                parts.append(_block(min(ground, end), y, max(1.0, abs(end - ground)), 11, index))
                text, anchor = format_given(value), "start" if end >= ground else "end"
                parts.append(
                    svg_text(end + (4 if end >= ground else -4), y + 9.5, text, "chart-tick", anchor)
                )
                y += 13
        parts.append(f'<path class="chart-axis" d="M{place(ground)} {place(first - 1)}V{place(y - 1)}"/>')
    if chart.x_label:
        y += 17
        parts.append(svg_text(0, y, ellipsis(chart.x_label, SMALL, WIDTH), "chart-label"))
    return "".join(parts), y + 6
