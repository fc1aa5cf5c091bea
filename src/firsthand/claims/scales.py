"""Axes and numbers for drawings: ticks a person would choose, numbers a person can read, text that fits.

Knows linear and logarithmic axes, number formatting and a cautious guess at how wide a text is. Knows
nothing of charts, claims or SVG elements beyond escaping; `chart` and `forest` draw with it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

__all__ = [
    "Axis",
    "axis_over",
    "ellipsis",
    "format_given",
    "format_number",
    "format_together",
    "nice_ticks",
    "place",
    "svg_text",
    "text_width",
    "wrap",
]

MINUS = "\N{MINUS SIGN}"
TINY = 1e-100  # below it two values are one: steps between them have no decimals to print
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_NARROW = frozenset("ijlftrI.,:;|!'()[]{}/ -·")
_WIDE = frozenset("mwMW@%&—→←…")


def text_width(text: str, size: float) -> float:
    """A guess at the width of `text` in user units, on the safe side for every common sans-serif face."""
    total = 0.0
    for character in text:
        if character in _NARROW:
            total += 0.42
        elif character in _WIDE:
            total += 1.0
        elif ord(character) > 0x2E80:  # full-width scripts
            total += 1.05
        elif character.isupper():
            total += 0.74
        else:
            total += 0.64
    return total * size


def ellipsis(text: str, size: float, width: float) -> str:
    """`text`, cut with an ellipsis where it would be wider than `width`."""
    if text_width(text, size) <= width:
        return text
    kept = text
    while kept and text_width(kept + "…", size) > width:
        kept = kept[:-1]
    return kept.rstrip() + "…"


def wrap(text: str, size: float, width: float, lines: int) -> list[str]:
    """Break `text` at spaces into at most `lines` lines of `width`; the last one ends in an ellipsis."""
    result: list[str] = []
    current = ""
    for word in text.split():
        trial = f"{current} {word}".strip()
        if current and text_width(trial, size) > width:
            result.append(current)
            current = word
        else:
            current = trial
    if current:
        result.append(current)
    if len(result) > lines:
        result = [*result[: lines - 1], " ".join(result[lines - 1 :])]
    return [ellipsis(line, size, width) for line in result]


def format_number(value: float, digits: int = 3) -> str:
    """`value` to `digits` significant digits, whole ones never cut: −0.012 (true minus), 12,345, 4.2×10⁶."""
    if value == 0:
        return "0"
    if not math.isfinite(value):
        return str(value).replace("-", MINUS)
    rounded = float(f"{value:.{digits - 1}e}")
    exponent = math.floor(math.log10(abs(rounded)))
    if exponent >= 6 or exponent <= -5:
        mantissa = f"{rounded / 10.0**exponent:.{digits - 1}f}"
        mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
        return f"{mantissa}×10{str(exponent).translate(_SUPERSCRIPT)}".replace("-", MINUS)
    if exponent >= digits - 1:  # whole numbers keep all their digits
        return f"{value:,.0f}".replace("-", MINUS)
    return f"{rounded:,.{digits - 1 - exponent}f}".replace("-", MINUS)


def format_given(value: float) -> str:
    """A number somebody chose, a margin or a printed figure, without the zeros nobody wrote: 0.8, +5.3."""
    text = format_number(value, 4)
    return text.rstrip("0").rstrip(".") if "." in text and "×" not in text else text


def format_together(estimate: float, low: float, high: float) -> tuple[str, str, str]:
    """An estimate and its interval with the same decimals, two digits deep into the interval's width."""
    width = high - low
    if not 0 < width < math.inf or max(abs(low), abs(high)) >= 1e6 or width < 1e-6:
        return format_number(estimate), format_number(low), format_number(high)
    decimals = min(6, max(0, 1 - math.floor(math.log10(width))))
    texts = [f"{value:,.{decimals}f}" for value in (estimate, low, high)]
    plain = [text.lstrip("-") if not text.strip("-0.,") else text.replace("-", MINUS) for text in texts]
    return plain[0], plain[1], plain[2]


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round values (steps of 1, 2 or 5 times a power of ten) inside [low, high], about `count` of them."""
    if not high - low > TINY:
        return [low]
    power = 10.0 ** math.floor(math.log10((high - low) / max(1, count)))

    def distance(step: float) -> float:
        return abs(math.floor(high / step + 1e-9) - math.ceil(low / step - 1e-9) + 1 - count)

    step = min((m * power for m in (1.0, 2.0, 5.0, 10.0, 20.0)), key=distance)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    if last - first > 1000:  # the range is below the resolution of its own numbers
        return [low]
    # Dividing by a whole number where the step is below one keeps 0.3 from becoming 0.30000000000000004.
    whole = round(1 / step) if step < 1 else 0
    return [index / whole if whole else index * step for index in range(first, last + 1)]


def log_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Ticks of a log axis over [low, high] > 0: decades, then 1-2-5, then plain round values."""
    first, last = math.floor(math.log10(low) - 1e-9), math.ceil(math.log10(high) + 1e-9)
    stride = max(1, math.ceil((last - first) / max(1, count)))
    for multiples in ((1.0,), (1.0, 2.0, 5.0)):
        ticks = [m * 10.0**e for e in range(first, last + 1, stride) for m in multiples]
        ticks = [tick for tick in ticks if low * (1 - 1e-9) <= tick <= high * (1 + 1e-9)]
        if len(ticks) >= 3:
            return ticks
    return [tick for tick in nice_ticks(low, high, count) if tick > 0]


def tick_labels(ticks: Sequence[float]) -> list[str]:
    """Labels of one axis, all with the same number of decimals where the axis is linear."""
    if not ticks:
        return []
    largest = max(abs(tick) for tick in ticks)
    if len(ticks) == 1 or largest >= 1e6 or 0 < largest < 1e-4:
        return [format_number(tick) for tick in ticks]
    gaps = [b - a for a, b in pairwise(ticks)]
    if max(gaps) > 1.5 * min(gaps):  # logarithmic: every label as short as it can be
        return [format_given(tick) for tick in ticks]
    decimals = next((d for d in range(8) if all(abs(t - round(t, d)) < min(gaps) * 1e-6 for t in ticks)), 8)
    return ["0" if tick == 0 else f"{tick:,.{decimals}f}".replace("-", MINUS) for tick in ticks]


@dataclass(frozen=True)
class Axis:
    """A map from values in [low, high] to positions in [start, stop] (user units; stop < start is fine)."""

    low: float
    high: float
    start: float
    stop: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """The position of `value`; values outside the range are placed outside, never clipped."""
        low, high, at = self.low, self.high, value
        if self.log:
            low, high, at = math.log(low), math.log(high), math.log(value)
        return self.start + (at - low) / (high - low) * (self.stop - self.start)

    def ticks(self, count: int = 5, size: float = 11) -> list[tuple[float, str]]:
        """(value, label) pairs of a horizontal axis, thinned until neighbouring labels do not touch."""
        while True:
            values = (
                log_ticks(self.low, self.high, count) if self.log else nice_ticks(self.low, self.high, count)
            )
            labels = tick_labels(values)
            edges = [(self(v), text_width(label, size)) for v, label in zip(values, labels, strict=True)]
            clear = all(
                abs(b - a) > (wide_a + wide_b) / 2 + size * 0.6
                for (a, wide_a), (b, wide_b) in pairwise(edges)
            )
            if clear or count <= 2:
                pairs = list(zip(values, labels, strict=True))
                return pairs if clear else [pairs[0], pairs[-1]] if len(pairs) > 2 else pairs[:1]
            count -= 1


def axis_over(
    values: Iterable[float],
    start: float,
    stop: float,
    *,
    log: bool = False,
    pad: float = 0.07,
    zero: bool = False,
) -> Axis:
    """An axis that shows all `values` with a little air; `zero` keeps 0 at the edge of a linear axis.

    Raises ValueError for no values, and for a value that is not positive on a log axis.
    """
    found = list(values)
    if not found:
        raise ValueError("an axis needs at least one value")
    low, high = min(found), max(found)
    if log:
        if low <= 0:
            raise ValueError(f"a log axis needs positive values, got {low}")
        span = math.log(high / low) or math.log(2.0)
        return Axis(low * math.exp(-span * pad), high * math.exp(span * pad), start, stop, log=True)
    if zero:
        low, high = min(low, 0.0), max(high, 0.0)
    span, largest = high - low, max(abs(low), abs(high))
    if span <= max(1e-12 * largest, TINY):  # equal up to rounding: show a readable neighbourhood
        span = largest if largest > TINY else 1.0
    below = low if zero and low == 0 else low - span * pad
    above = high if zero and high == 0 else high + span * pad
    return Axis(below, above, start, stop)


def svg_text(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    """One escaped `<text>` element with CSS class `kind`."""
    where = f'x="{place(x)}" y="{place(y)}"'
    return f'<text class="{kind}" {where} text-anchor="{anchor}">{escape(text)}</text>'


def place(value: float) -> str:
    """A coordinate with one decimal: enough for a screen, and the same bytes on every machine."""
    text = f"{value:.1f}"
    return "0" if text in ("-0.0", "0.0") else text.removesuffix(".0")
