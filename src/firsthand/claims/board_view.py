"""What a page of the board says: records turned into words, numbers and pictures, ready for a template.

Knows how a verdict, a cost, a paper figure and a chart are put to a reader. Knows nothing of HTML pages
or files (`board` and its templates do that) and judges nothing: every verdict is the record's own.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup
from pydantic import ValidationError

from firsthand.claims.chart import Chart, render_svg
from firsthand.claims.forest import forest_svg, holding_side
from firsthand.claims.model import Claim, ClaimResult, Clause, ClauseResult, PaperFigure, Record
from firsthand.claims.scales import MINUS, format_given, format_number, format_together

__all__ = ["Charts", "ClaimView", "ClauseView", "RecordView", "chart_views", "claim_views", "record_view"]

DETAILS_SHOWN = 20_000  # characters of a seed's other details on its page
_ORDER = ("holds", "fails", "inconclusive", "ran", "not measurable here", "not run")
_NAMES = ("estimate", "95 % interval", "independent units")
_EXACT_NAMES = ("count", "mismatch rate, 95 % bound", "observations")
_UNIT_WORDS = {"seed": "seeds", "item": "items", "cluster": "clusters"}
SCALE_ORDER = ("paper", "gpu", "laptop", "smoke")


@dataclass(frozen=True)
class ClauseView:
    """One clause: its picture and its numbers, as text."""

    id: str
    quantity: str  # "accuracy: preselect − random, points"
    figure: Markup  # for the index
    full_figure: Markup  # with per-unit effects
    estimate: str
    interval: str
    names: tuple[str, str, str]  # what the estimate, the interval and n are called
    n: str
    margin: str  # "above 0.5"
    verdict: str  # "" where nothing was judged
    reason: str
    rows: tuple[tuple[str, str], ...]  # the remaining numbers, label and value


@dataclass(frozen=True)
class ClaimView:
    """One claim with its verdict, in the words the board prints."""

    claim: Claim
    status: str  # one of `_ORDER`
    reason: str
    kind: str
    clauses: tuple[ClauseView, ...]
    paper: str
    evidence: str  # "" for real evidence
    n: str
    level: str

    @property
    def rank(self) -> int:
        """Where the verdict stands when rows are sorted by it."""
        return _ORDER.index(self.status)


@dataclass(frozen=True)
class RecordView:
    """One run of one room's check: where, when, at what cost."""

    record: Record
    stale: bool
    fresh: bool
    wall: str
    cpu: str
    memory: str
    when: str
    seeds: str
    words: str  # "2 hold, 1 inconclusive"

    @property
    def scale_rank(self) -> int:
        """Smallest scale first when rows are sorted by scale."""
        return len(SCALE_ORDER) - SCALE_ORDER.index(self.record.scale)


@dataclass(frozen=True)
class Charts:
    """Charts a check left in its details, which seed drew them, and those that could not be drawn."""

    source: str
    drawings: tuple[tuple[Markup, str], ...]  # picture, note
    faults: tuple[str, ...]


def duration(seconds: float) -> str:
    """A time as a person says it: "0.4 s", "38 s", "4 min 12 s", "2 h 5 min"."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


def memory(mebibytes: float) -> str:
    """ "812 MiB" or "2.4 GiB"."""
    return f"{mebibytes / 1024:.1f} GiB" if mebibytes >= 1024 else f"{mebibytes:.0f} MiB"


def count_text(word: str, count: int) -> str:
    """ "1 holds", "2 hold", "3 inconclusive"."""
    return f"{count} {word.removesuffix('s') if count != 1 and word in ('holds', 'fails') else word}"


def _p(value: float) -> str:
    return "1" if value >= 0.995 else format_number(value, 2)


def _with_unit(text: str, unit: str) -> str:
    if not unit:
        return text
    return f"{text}{unit}" if unit in ("×", "x") else f"{text} {unit}"


def _signed(value: float) -> str:
    text = format_given(value)
    return f"+{text}" if value > 0 else text


def paper_text(figure: PaperFigure | None, clauses: tuple[Clause, ...]) -> str:
    """The paper's figure in one line: "+5.3 points (1B, 30 B tokens), other scale; source: table 2"."""
    if figure is None:
        return ""
    compares = any(clause.kind in ("greater", "less") and not clause.ratio for clause in clauses)
    scale = "same scale and metric" if figure.same_setting else "other scale"
    source = "source unverified" if figure.source == "unverified" else f"source: {figure.source}"
    if figure.value is None:
        return f"in words only ({figure.setting}), {scale}; {source}"
    value = _signed(figure.value) if compares else format_given(figure.value)
    return f"{_with_unit(value, figure.unit)} ({figure.setting}), {scale}; {source}"


def quantity_text(clause: Clause) -> str:
    """What the clause compares: "accuracy: preselect − random (points)"."""
    name = clause.quantity or clause.id
    if clause.kind == "exact":
        return f"{name}: mismatches of {clause.treatment} (%)"
    if clause.control is None:
        what = f"{name} of {clause.treatment}"
    else:
        sign = "÷" if clause.ratio else MINUS
        what = f"{name}: {clause.treatment} {sign} {clause.control}"
    unit = "ratio" if clause.ratio and clause.control is not None else clause.unit
    return f"{what} ({unit})" if unit else what


def kind_text(claim: Claim) -> str:
    """The claim's kind in words a reader needs no glossary for."""
    words = {
        "greater": "greater than the control",
        "less": "less than the control",
        "equivalent": "no difference beyond the margin",
        "absolute": "beyond a number",
        "exact": "exact agreement",
        "all of": f"all of {len(claim.clauses)} comparisons",
        "any of": f"any of {len(claim.clauses)} comparisons",
    }
    return words.get(claim.kind, claim.kind)


def _clause_view(result: ClauseResult, outcome: ClaimResult, record: Record, prefix: str) -> ClauseView:
    claim, clause, interval = outcome.claim, result.clause, result.interval
    judged = outcome.verdict is not None
    own = result.verdict if judged else ""
    # A lone clause is the claim: after Holm or a failed gate the claim's word is the one that counts.
    verdict = (outcome.verdict or "") if len(claim.clauses) == 1 else own
    quantity = quantity_text(clause)
    identity = f"{prefix}-{claim.id}-{clause.id}"
    paper = claim.paper if len(claim.clauses) == 1 else None
    unit = "" if clause.ratio and clause.control is not None else clause.unit
    rows: list[tuple[str, str]] = []
    for arm, value in result.arms.items():
        if clause.kind != "exact":  # there the count says it
            rows.append((f"mean of {arm}, unjudged", _with_unit(format_number(value, 4), clause.unit)))
    if result.ratio_of_totals is not None:
        rows.append(("ratio of totals, unjudged", format_number(result.ratio_of_totals)))
    if judged and result.p_holds is not None:
        rows.append(("smallest level at which it holds", f"p = {_p(result.p_holds)}"))
    if judged and result.p_fails is not None:
        rows.append(("smallest level at which it fails", f"p = {_p(result.p_fails)}"))
    if interval is not None:
        rows.append(("interval by", interval.method))
    if clause.statistic != "mean":
        rows.append(("statistic", clause.statistic))
    if clause.kind == "exact":
        n = sum(o.clause == clause.id and o.arm == clause.treatment for o in record.observations)
        share = result.arms.get(clause.treatment)
        estimate = f"{n - round(share * n):,} of {n:,} differ" if share is not None else ""
        count = f"{n:,}"
        bounds = (
            f"at most {format_number(100 * result.mismatch_bound)} %"
            if result.mismatch_bound is not None
            else ""
        )
    else:
        together = (
            format_together(interval.estimate, interval.low, interval.high) if interval else ("", "", "")
        )
        estimate = together[0]
        count = f"{interval.n:,}" if interval else f"{len(result.units)}" if result.units else ""
        bounds = f"{together[1]} to {together[2]}" if interval and interval.low < interval.high else ""

    def draw(*, strip: bool) -> Markup:
        svg = forest_svg(
            result,
            identity=f"{identity}-{'s' if strip else 'f'}",
            label=quantity,
            paper=paper,
            verdict=verdict,
            strip=strip,
        )
        return Markup(svg)  # every text inside was escaped where it was drawn

    return ClauseView(
        id=clause.id,
        quantity=quantity,
        figure=draw(strip=False),
        full_figure=draw(strip=True),
        estimate=estimate if clause.kind == "exact" else _with_unit(estimate, unit) if estimate else "",
        interval=bounds,
        names=_EXACT_NAMES if clause.kind == "exact" else _NAMES,
        n=count,
        margin=holding_side(clause),
        verdict=own,
        # The claim's own reason usually quotes its clauses'; once is enough.
        reason=result.reason if judged and result.reason not in outcome.reason else "",
        rows=tuple(rows),
    )


def claim_views(record: Record, prefix: str) -> tuple[ClaimView, ...]:
    """All claims of a record, primary first; `prefix` keeps element ids unique on a page."""
    views = []
    for outcome in record.results:
        claim = outcome.claim
        clauses = tuple(_clause_view(result, outcome, record, prefix) for result in outcome.clauses)
        if not claim.measured:
            status, reason = "not measurable here", claim.reason
        elif record.scale == "smoke" or outcome.verdict is None:
            status, reason = "ran", ""
        else:
            status, reason = outcome.verdict, outcome.reason
        counts = list(dict.fromkeys(clause.n for clause in clauses if clause.n))
        exact = all(clause.kind == "exact" for clause in claim.clauses)
        noun = "observations" if exact else _UNIT_WORDS[claim.unit_of_analysis]
        views.append(
            ClaimView(
                claim=claim,
                status=status,
                reason=reason.replace(" %", "\N{NO-BREAK SPACE}%"),
                kind=kind_text(claim),
                clauses=clauses,
                paper=paper_text(claim.paper, claim.clauses),
                evidence="" if claim.evidence == "real" else claim.evidence,
                n=f"{', '.join(counts)} {noun}" if counts else "",
                level=f"{100 * outcome.alpha:.3g} %" if outcome.alpha is not None and not exact else "",
            )
        )
    return tuple(sorted(views, key=lambda view: not view.claim.primary))


def record_view(record: Record, *, stale: bool, fresh: bool) -> RecordView:
    """A record's circumstances, as text."""
    statuses = Counter(
        "ran" if record.scale == "smoke" or r.verdict is None else r.verdict
        for r in record.results
        if r.claim.measured
    )
    words = [count_text(word, statuses[word]) for word in _ORDER if statuses[word]]
    seeds = record.seeds
    consecutive = len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[0] + len(seeds)))
    listed = f"{seeds[0]} to {seeds[-1]}" if consecutive else ", ".join(map(str, seeds))
    return RecordView(
        record=record,
        stale=stale,
        fresh=fresh,
        wall=duration(record.wall_seconds),
        cpu=f"{record.cpu_seconds:,.1f} s" if record.cpu_seconds < 10 else f"{record.cpu_seconds:,.0f} s",
        memory=memory(record.peak_memory_mib),
        when=record.started[:16].replace("T", " "),
        seeds=listed,
        words=", ".join(words),
    )


def chart_views(details: Mapping[str, Any], prefix: str) -> Charts:
    """The charts of the first seed that left any, and those kept at the record's own level."""
    found: list[Any] = list(_listed(details.get("charts")))
    source = ""
    for seed in sorted((key for key in details if key.lstrip("-").isdigit()), key=int):
        own = details[seed]
        charts = _listed(own.get("charts")) if isinstance(own, Mapping) else []
        if charts:
            found.extend(charts)
            source = f"seed {seed}"
            break
    drawings, faults = [], []
    for index, raw in enumerate(found):
        try:
            chart = Chart.model_validate(raw)
        except ValidationError as error:
            faults.append(f"chart {index + 1} could not be drawn: {error.errors()[0]['msg']}")
            continue
        drawings.append((Markup(render_svg(chart, prefix=f"{prefix}{index}-")), chart.note))
    return Charts(source, tuple(drawings), tuple(faults))


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []


def other_details(details: Mapping[str, Any]) -> tuple[str, str]:
    """(seed, JSON text) of the first seed's details without its charts; empty where there are none."""
    for seed in sorted((key for key in details if key.lstrip("-").isdigit()), key=int):
        own = details[seed]
        rest = {k: v for k, v in own.items() if k != "charts"} if isinstance(own, Mapping) else {}
        if rest:
            text = json.dumps(rest, indent=2, ensure_ascii=False, sort_keys=True, default=str)
            return seed, text if len(text) <= DETAILS_SHOWN else text[:DETAILS_SHOWN] + "\n… (cut)"
    return "", ""
