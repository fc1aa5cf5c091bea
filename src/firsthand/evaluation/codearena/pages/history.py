"""How contestants' points went: the lines of a chart, drawn on the server, and the same as rows of a table.

The drawing holds classes and no styles, so that the page's policy lets it stand and its style sheet colours it. Lines
differ in dash and in the name at their end, so that nothing hangs on colour alone. Knows times and numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape

from firsthand.claims.scales import axis_over, ellipsis, place, svg_text
from firsthand.evaluation.codearena.pages.words import day_text, points_text
from firsthand.evaluation.codearena.store.checkpoints import HistoryPoint

__all__ = ["History", "history_of"]

_MOST = 6  # lines that can be told apart
_WIDTH, _HEIGHT = 720.0, 260.0
_RIGHT = 150.0  # for names
_SMALL = 12.0
_ROWS = 24  # checkpoints in the table


@dataclass(frozen=True)
class History:
    """A drawing, and a table of its numbers: a row for each moment, with points by name."""

    drawing: str
    names: tuple[str, ...]
    rows: tuple[tuple[datetime, tuple[float | None, ...]], ...]
    moments: int  # checkpoints there are; the table has the newest of them


def history_of(points: Sequence[HistoryPoint], names: Sequence[str]) -> History | None:
    """Lines of the first few of `names` that were on a checkpoint; None where there are fewer than two of these.

    Args:
        points: the oldest first.
        names: whom, the most important first.
    """
    lines: dict[str, list[tuple[datetime, float]]] = {}
    for point in points:
        lines.setdefault(point.user, []).append((point.at, point.dp))
    shown = [name for name in names if name in lines][:_MOST]
    moments = sorted({at for name in shown for at, _ in lines[name]})
    if len(moments) < 2:
        return None
    values = [dict(lines[name]) for name in shown]
    rows = tuple((at, tuple(found.get(at) for found in values)) for at in reversed(moments[-_ROWS:]))
    return History(_drawing({name: lines[name] for name in shown}, moments), tuple(shown), rows, len(moments))


def _drawing(lines: dict[str, list[tuple[datetime, float]]], moments: Sequence[datetime]) -> str:
    everything = [value for line in lines.values() for _, value in line]
    bottom, top = _HEIGHT - 26, 12.0
    upwards = axis_over([max(1.0, *everything)], bottom, top, zero=True)  # also where nobody has a point
    left, right = 46.0, _WIDTH - _RIGHT
    first, last = moments[0], moments[-1]
    span = (last - first).total_seconds()

    def across(at: datetime) -> float:
        return left + (right - left) * (at - first).total_seconds() / span

    parts = []
    for value, label in upwards.ticks(5, _SMALL):
        y = upwards(value)
        parts.append(f'<path class="grid" d="M{place(left)} {place(y)}H{place(right)}"/>')
        parts.append(svg_text(left - 7, y + 4, label, "tick", "end"))
    for at, anchor in ((first, "start"), (first + (last - first) / 2, "middle"), (last, "end")):
        parts.append(svg_text(across(at), _HEIGHT - 6, f"{at.astimezone(UTC):%d %b %Y}", "tick", anchor))
    ends = _spread([upwards(line[-1][1]) for line in lines.values()], 15.0, top, bottom)
    for number, ((name, line), y) in enumerate(zip(lines.items(), ends, strict=True), 1):
        path = "L".join(f"{place(across(at))} {place(upwards(value))}" for at, value in line)
        parts.append(f'<path class="line line-{number}" d="M{path}"/>')
        at, value = line[-1]
        parts.append(
            f'<circle class="end end-{number}" cx="{place(across(at))}" cy="{place(upwards(value))}" r="3.5"/>'
        )
        lead = f"M{place(across(at) + 5)} {place(upwards(value))}L{place(right + 12)} {place(y)}"
        parts.append(f'<path class="lead end-{number}" d="{lead}"/>')
        parts.append(svg_text(right + 16, y + 4, ellipsis(name, _SMALL, _RIGHT - 18), f"name name-{number}"))
    said = "; ".join(
        f"{name} from {points_text(line[0][1])} to {points_text(line[-1][1])}" for name, line in lines.items()
    )
    return (
        f'<svg class="history" viewBox="0 0 {place(_WIDTH)} {place(_HEIGHT)}" role="img" '
        'aria-labelledby="history-name history-words">'
        '<title id="history-name">Points over time</title>'
        f'<desc id="history-words">{escape(day_text(first))} to {escape(day_text(last))}: {escape(said)}. '
        f"The table below has the numbers.</desc>{''.join(parts)}</svg>"
    )


def _spread(wanted: Sequence[float], gap: float, top: float, bottom: float) -> list[float]:
    """Places at least `gap` apart, as near to the wanted ones as that allows."""
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    found = [0.0] * len(wanted)
    level = top - gap
    for index in order:
        level = found[index] = max(wanted[index], level + gap)
    excess = level - bottom
    if excess > 0:  # pushed out below: move up what stands too close to the end
        ceiling = bottom + gap
        for index in reversed(order):
            ceiling = found[index] = min(found[index], ceiling - gap)
    return found
