"""The board's pages, read as text: what they must say, what they must never do."""

from __future__ import annotations

import hashlib
import math
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.claims.board_fixtures import entries, full_board, preselect, systems

from firsthand.claims import board as board_module
from firsthand.claims.board import BoardEntry, SystemLine, write_board
from firsthand.claims.board_view import chart_views, duration, memory, paper_text
from firsthand.claims.chart import Chart, render_svg
from firsthand.claims.forest import forest_svg, sides
from firsthand.claims.model import Clause, ClauseResult, Interval, PaperFigure
from firsthand.claims.scales import (
    axis_over,
    format_number,
    format_together,
    nice_ticks,
    text_width,
    wrap,
)
from firsthand.errors import InputError, OutputError

VOID = {"meta", "link", "br", "img", "input", "hr"}


class _Page(HTMLParser):
    """Text, tags and attributes of a page; fails on tags that do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open, f"left open: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return full_board(tmp_path_factory.mktemp("site") / "board").parent


@pytest.fixture(scope="module")
def index(out: Path) -> _Page:
    return _Page((out / "index.html").read_text(encoding="utf-8"))


def _rows(out: Path) -> list[str]:
    body = (out / "index.html").read_text(encoding="utf-8").split("<tbody")[1].split("</tbody>")[0]
    return body.split("<tr ")[1:]


def test_one_page_a_system_with_a_record_and_nothing_else(out: Path) -> None:
    rooms = {entry.record.room for entry in entries()}
    assert {path.name for path in out.iterdir()} == {"index.html", "board.css", "board.js"} | {
        f"{r}.html" for r in rooms
    }
    assert not list(out.parent.glob(".*")), "temporary folders are gone"


def test_every_page_nests_has_unique_ids_and_refers_to_nothing_outside(out: Path) -> None:
    for path in out.glob("*.html"):
        page = _Page(path.read_text(encoding="utf-8"))
        ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
        assert len(ids) == len(set(ids)), path.name
        referred = " ".join(attributes.get("aria-labelledby") or "" for _, attributes in page.tags).split()
        assert set(referred) <= set(ids), path.name
        for tag, attributes in page.tags:
            for name in ("src", "href"):
                target = attributes.get(name)
                if target is None or target.startswith(("#", "data:,")):
                    continue
                if tag == "a" and target.startswith("https://arxiv.org/abs/"):
                    continue
                file, _, anchor = target.partition("#")
                assert (out / file).is_file(), f"{path.name}: {tag} {target}"
                if anchor:
                    assert f'id="{anchor}"' in (out / file).read_text(encoding="utf-8"), target
    assert not re.search(r"url\(|@import|https?:", (out / "board.css").read_text(encoding="utf-8"))


def test_the_head_counts_claims_and_what_chance_would_give(index: _Page) -> None:
    text = index.text
    assert "17 claims of 5 systems" in text
    assert re.search(
        r"12 were judged by a statistical test; chance alone would give about 0\.3 false holds", text
    )
    assert re.search(r"2\.5.% × 12", text)
    assert "3 were judged exactly" in text
    assert "1 exploratory record is left out" in text
    assert "25 November 2026" in text


def test_a_board_of_exact_claims_owes_chance_nothing(tmp_path: Path) -> None:
    entry = next(e for e in entries() if e.record.room == "tokenswift")
    lossless = tuple(r for r in entry.record.results if r.claim.id == "lossless")
    only = BoardEntry(entry.record.model_copy(update={"results": lossless}), stale=False)
    page = _Page(
        write_board([only], systems(), tmp_path / "b", generated="today").read_text(encoding="utf-8")
    )
    assert "chance alone would give 0 false holds" in page.text
    assert "1 claim of 1 system:" in page.text


def test_a_row_a_claim_with_verdict_evidence_units_and_cost(out: Path) -> None:
    rows = _rows(out)
    assert len(rows) == 17 + 2, (
        "a row a claim, one for the fresh smoke run, one for the room that could not run"
    )
    faster = next(row for row in rows if "1.5 times as fast" in row)
    for words in (
        "emulated evidence",
        "primary",
        "8 seeds",
        "6 min 52 s",
        "655 s",
        "1.8 GiB",
        "laptop",
        "is-holds",
    ):
        assert words in faster
    assert "stale: the sources changed since this record" in faster
    assert "paper: 3.1× (Llama 3.1 8B, 100 K tokens, A100), other scale; source: table 1" in faster
    both = next(row for row in rows if "also beats perplexity" in row)
    assert both.count('<svg class="forest') == 2
    assert "held-out loss: PreSelect \N{MINUS SIGN} low perplexity (nats)" in both
    first = rows[0]
    assert "laptop scale, 2026-10-02: holds (stale)" in first
    assert "smoke scale, run now: ran" in first


def test_what_was_not_judged_says_so(out: Path, index: _Page) -> None:
    rows = _rows(out)
    unmeasured = next(row for row in rows if "A tenth of the compute" in row)
    assert "not measurable here" in unmeasured
    assert "needs two models trained" in unmeasured
    smoke = next(row for row in rows if "A message survives" in row)
    assert ">ran<" in smoke
    assert not re.search(r"is-(holds|fails|inconclusive)", smoke)
    idle = next(row for row in rows if "SpeQL" in row)
    assert "not run: needs duckdb (firsthand[query])" in idle
    assert "Difix3D+ vision3d, planned" in index.text
    assert "Liger training, ready, no record" in index.text


@pytest.mark.parametrize(
    ("sentence", "reason"),
    [
        ("recovers more often", "too wide: the 95"),
        ("fewer calls than exhaustive", "no variation"),
        ("confidence predicts success", "failed gate: the critic is calibrated"),
        ("ends within ten steps", "an interval needs at least 3"),
        ("gives the same states", "3 of 500 observations disagree"),
        ("gives the same pictures", "an exact claim needs at least 300"),
    ],
)
def test_the_reason_stands_beside_the_verdict(out: Path, sentence: str, reason: str) -> None:
    row = next(row for row in _rows(out) if sentence in row)
    assert reason in row
    assert re.search(r"is-(inconclusive|fails)", row)


def test_nothing_ever_says_reproduced(out: Path) -> None:
    for path in out.iterdir():
        assert "reproduc" not in path.read_text(encoding="utf-8").lower(), path.name


def test_hostile_text_stays_text(out: Path) -> None:
    for path in out.glob("*.html"):
        page = _Page(path.read_text(encoding="utf-8"))
        scripts = [attributes for tag, attributes in page.tags if tag == "script"]
        assert scripts == [{"src": "board.js"}], path.name
        assert not any(tag == "img" or name.startswith("on") for tag, at in page.tags for name in at)
    assert "<script>window.hacked" in _Page((out / "hostile.html").read_text(encoding="utf-8")).text


def test_a_system_page_tells_the_whole_record(out: Path) -> None:
    page = _Page((out / "preselect.html").read_text(encoding="utf-8"))
    for words in (
        "arXiv 2503.00808", "generalises over training seeds", "tested at 5 %", "below \N{MINUS SIGN}0.02",
        "mean of PreSelect, unjudged", "smallest level at which it holds", "As seed 0 left them",
        "the model learns",
        "torch 2.13.0", "0f3c9a1b7d5e", "9b1f0c77aa52e3d4", "0 to 7", "2026-10-02 18:00", "threshold",
    ):  # fmt: skip
        assert words in page.text, words
    text = (out / "preselect.html").read_text(encoding="utf-8")
    assert text.count('class="forest-unit"') == 4 * 8, "eight per-unit effects in each of four clauses"
    assert text.count('<svg class="chart"') == 4
    assert "ratio of totals" in (out / "tokenswift.html").read_text(encoding="utf-8")


def test_the_paper_enters_the_drawing_only_on_our_scale(out: Path) -> None:
    rows = _rows(out)
    own = next(row for row in rows if "cheap scorer" in row)
    assert "forest-paper-words" in own
    assert "same scale and metric" in own
    other = next(row for row in rows if "gives a lower held-out loss" in row)
    assert "forest-paper-words" not in other
    assert "paper: +5.3 points (1B, 30 B tokens, mean accuracy), other scale; source unverified" in other


def test_same_input_same_bytes(out: Path, tmp_path: Path) -> None:
    again = full_board(tmp_path / "again").parent
    digest = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in out.iterdir()}
    assert digest == {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in again.iterdir()}


def test_the_largest_scale_and_then_the_latest_record_speaks(tmp_path: Path) -> None:
    laptop = preselect()
    gpu = laptop.model_copy(update={"scale": "gpu", "started": "2026-01-01T00:00:00Z"})
    later = laptop.model_copy(update={"started": "2026-11-24T00:00:00Z"})
    runs = [BoardEntry(r, stale=False) for r in (laptop, gpu, later)]
    forward = write_board(runs, systems(), tmp_path / "a", generated="x").read_text(encoding="utf-8")
    backward = write_board(runs[::-1], systems(), tmp_path / "b", generated="x").read_text(encoding="utf-8")
    assert forward == backward
    assert "4 claims of 1 system:" in _Page(forward).text
    assert '<td role="cell" class="c-scale">gpu</td>' in forward
    assert forward.index("laptop scale, 2026-11-24") < forward.index("laptop scale, 2026-11-20")


def test_a_record_without_a_card_is_still_shown(tmp_path: Path) -> None:
    path = write_board([BoardEntry(preselect(), stale=False)], [], tmp_path / "b", generated="x")
    assert "Predictive Data Selection" in (path.parent / "preselect.html").read_text(encoding="utf-8")


def test_an_empty_board_says_how_to_fill_it(tmp_path: Path) -> None:
    page = _Page(write_board([], systems(), tmp_path / "b", generated="x").read_text(encoding="utf-8"))
    assert "No record yet" in page.text
    assert "0 claims of 0 systems" in page.text


# --- writing ----------------------------------------------------------------------------------------


def test_an_older_board_is_replaced_whole(tmp_path: Path) -> None:
    full_board(tmp_path / "board")
    write_board([BoardEntry(preselect(), stale=False)], systems(), tmp_path / "board", generated="x")
    assert not (tmp_path / "board" / "tokenswift.html").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["board"]


def test_a_folder_that_is_no_board_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match=r"thesis\.txt"):
        full_board(tmp_path)
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "index.html").write_text("<p>somebody's home page")
    with pytest.raises(InputError, match="not a board's"):
        full_board(tmp_path / "site")
    with pytest.raises(InputError, match="not a folder"):
        full_board(tmp_path / "thesis.txt")
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize("step", ["write_text", "rename"])
def test_a_failed_write_leaves_the_old_board(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    old = full_board(tmp_path / "board").read_bytes()
    original = getattr(Path, step)

    def fail(self: Path, *arguments: object, **options: object) -> object:
        if self.name.endswith(".new") or self.parent.name.endswith(".new"):
            raise OSError("no space left on device")
        return original(self, *arguments, **options)

    monkeypatch.setattr(board_module.Path, step, fail)
    with pytest.raises(OutputError, match="no space left"):
        full_board(tmp_path / "board")
    monkeypatch.undo()
    assert (tmp_path / "board" / "index.html").read_bytes() == old
    assert [p.name for p in tmp_path.iterdir()] == ["board"]


@pytest.mark.parametrize("room", ["../escape", "index", "a/b", "", "Up"])
def test_a_room_that_is_no_file_name_is_refused(tmp_path: Path, room: str) -> None:
    bad = preselect().model_copy(update={"room": room})
    with pytest.raises(InputError, match="slug"):
        write_board([BoardEntry(bad, stale=False)], [], tmp_path / "b", generated="x")
    assert not list(tmp_path.iterdir())


def test_importing_the_board_stays_light() -> None:
    heavy = "torch, transformers, scipy.stats, pandas, matplotlib, ray, jinja2"
    code = (
        f"import sys, firsthand.claims.board; print([m for m in '{heavy}'.split(', ') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert done.stdout.strip() == "[]"


# --- pictures ---------------------------------------------------------------------------------------


def _result(clause: Clause, estimate: float, low: float, high: float) -> ClauseResult:
    return ClauseResult(
        clause=clause, interval=Interval(estimate=estimate, low=low, high=high, n=8), verdict="holds"
    )


def _circle(svg: str) -> float:
    found = re.search(r'class="forest-dot" cx="([\d.]+)"', svg)
    assert found
    return float(found[1])


def _margins(svg: str) -> list[float]:
    return [float(x) for x in re.findall(r'class="forest-margin" d="M([\d.]+)', svg)]


def test_a_ratio_stands_on_a_log_axis() -> None:
    clause = Clause(id="r", kind="equivalent", ratio=True, margin=4.0)
    svg = forest_svg(_result(clause, 1.0, 0.5, 2.0), identity="x", label="speed")
    left, right = _margins(svg)
    assert _circle(svg) == pytest.approx((left + right) / 2, abs=0.1), "1 lies midway between 1/4 and 4"


@pytest.mark.parametrize(
    ("clause", "expected", "arrow"),
    [
        (Clause(id="c", kind="greater", margin=0.5), (0.5, None), "holds above 0.5 →"),
        (Clause(id="c", kind="less", margin=-0.5), (None, -0.5), "← holds below \N{MINUS SIGN}0.5"),
        (Clause(id="c", kind="absolute", margin=0.8), (0.8, None), "holds above 0.8 →"),
        (Clause(id="c", kind="absolute", direction="less", margin=3), (None, 3), "← holds below 3"),
        (Clause(id="c", kind="equivalent", margin=2), (-2, 2), "holds within ±2"),
    ],
)
def test_the_holding_side(clause: Clause, expected: tuple[float | None, float | None], arrow: str) -> None:
    assert sides(clause) == expected
    svg = forest_svg(_result(clause, 1.0, 0.9, 1.1), identity="x", label="q")
    assert f">{arrow}<" in svg
    dot, margins = _circle(svg), _margins(svg)
    for margin, value in zip(margins, [side for side in expected if side is not None], strict=True):
        assert (dot > margin) == (value < 1.0)


def test_a_clause_without_interval_or_units_has_no_picture() -> None:
    clause = Clause(id="c", kind="greater")
    assert (
        forest_svg(
            ClauseResult(clause=clause, interval=None, verdict="inconclusive"), identity="x", label="q"
        )
        == ""
    )


finite = st.floats(-1e9, 1e9, allow_nan=False)


@given(finite, finite)
def test_ticks_are_round_inside_and_few(a: float, b: float) -> None:
    low, high = sorted((a, b))
    ticks = nice_ticks(low, high)
    assert 1 <= len(ticks) <= 12
    assert ticks == sorted(ticks)
    if high - low > max(1e-6 * max(abs(low), abs(high)), 1e-90):
        assert all(low - 1e-9 * (high - low) <= t <= high + 1e-9 * (high - low) for t in ticks)
        assert len(ticks) >= 3


@given(st.lists(finite, min_size=1, max_size=5), st.booleans())
def test_an_axis_shows_its_values_and_its_labels_do_not_touch(values: list[float], log: bool) -> None:
    shown = [abs(v) + 1e-6 for v in values] if log else values
    axis = axis_over(shown, 10, 330, log=log)
    assert all(9.9 <= axis(v) <= 330.1 for v in shown)
    spots = [(axis(v), text_width(label, 11)) for v, label in axis.ticks()]
    assert spots
    assert all(b - a > (wa + wb) / 2 for (a, wa), (b, wb) in pairwise(spots))


def test_numbers_as_people_read_them() -> None:
    minus = "\N{MINUS SIGN}"
    assert [format_number(v) for v in (0, -1.5, 0.01234, 12345.6, 2.5e7, -3e-7, 999.96)] == [
        "0", f"{minus}1.50", "0.0123", "12,346", "2.5×10⁷", f"{minus}3×10{'⁻⁷'}", "1,000",
    ]  # fmt: skip
    assert format_together(-0.0726, -0.1021, -0.043) == (f"{minus}0.073", f"{minus}0.102", f"{minus}0.043")
    assert format_together(0.001, -1.0, 1.0) == ("0.0", f"{minus}1.0", "1.0")
    assert [duration(s) for s in (0.4, 38.2, 59.7, 252, 7500)] == [
        "0.4 s",
        "38 s",
        "1 min 0 s",
        "4 min 12 s",
        "2 h 5 min",
    ]
    assert (memory(812), memory(2458)) == ("812 MiB", "2.4 GiB")


def test_a_paper_figure_in_words() -> None:
    clause = Clause(id="c", kind="greater")
    assert paper_text(None, (clause,)) == ""
    said = PaperFigure(setting="70B", source="section 4")
    assert paper_text(said, (clause,)) == "in words only (70B), other scale; source: section 4"


CHART = {"kind": "line", "title": "T", "series": [{"name": "a", "x": [1, 2], "y": [3, 4]}]}


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "pie"},
        {"series": []},
        {"series": [{"name": "a", "x": [], "y": []}]},
        {"series": [{"name": "a", "x": [1], "y": [1, 2]}]},
        {"series": [{"name": "a", "x": [1], "y": [math.nan]}]},
        {"series": [{"name": "a", "x": [0], "y": [1]}], "log_x": True},
        {"series": [{"name": "a", "x": [1], "y": [0]}], "log_y": True},
        {"series": [{"name": "a", "x": ["u"], "y": [1]}], "log_x": True},
        {"colour": "red"},
    ],
)
def test_a_chart_that_cannot_be_drawn_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Chart.model_validate(CHART | change)


@pytest.mark.parametrize("kind", ["line", "bar", "points"])
@pytest.mark.parametrize(
    "x", [[1, 2, 3], ["one", "two", "a very long name of a category that will not fit"], [5, 5, 5]]
)
@pytest.mark.parametrize("y", [[1, 2, 3], [-2, 0, 2], [7, 7, 7], [1e-9, 1e9, 1]])
def test_charts_of_every_kind_stay_inside_their_frame(kind: str, x: list[object], y: list[float]) -> None:
    series = [
        {"name": name, "x": x, "y": y} for name in ("ours", "a control with quite a long name", "third")
    ]
    for log_y in (False, True) if min(y) > 0 else (False,):
        svg = render_svg(
            Chart.model_validate(
                {"kind": kind, "title": "T" * 200, "x_label": "x", "series": series, "log_y": log_y}
            )
        )
        page = _Page(svg)
        width, height = map(float, (dict(page.tags[0][1])["viewbox"] or "").split()[2:])
        for tag, at in page.tags:
            for name in ("x", "cx"):
                assert -0.1 <= float(at.get(name) or 0) <= width + 0.1, (tag, at)
            for name in ("y", "cy"):
                assert -0.1 <= float(at.get(name) or 0) <= height + 0.1, (tag, at)
            if tag == "rect":
                assert float(at["width"] or -1) >= 0
                assert float(at["height"] or -1) >= 0
        assert {"title", "desc"} <= {tag for tag, _ in page.tags}


def test_a_legend_stands_only_beside_several_series() -> None:
    one = render_svg(Chart.model_validate(CHART))
    two = render_svg(
        Chart.model_validate(CHART | {"series": [*CHART["series"], {"name": "b", "x": [1], "y": [2]}]})
    )  # type: ignore[misc]
    assert "chart-key" not in one
    assert two.count("chart-key") == 2


def test_the_first_seed_with_charts_draws_them_and_faults_are_named() -> None:
    details = {
        "10": {"charts": [CHART]},
        "2": {"charts": [CHART, {"kind": "pie"}]},
        "0": {"kept": 3},
        "charts": [CHART],
    }
    charts = chart_views(details, "p")
    assert charts.source == "seed 2"
    assert len(charts.drawings) == 2
    assert len(charts.faults) == 1
    assert "chart 3 could not be drawn" in charts.faults[0]


@given(st.text(max_size=200), st.integers(1, 4))
def test_wrapped_text_fits(text: str, lines: int) -> None:
    broken = wrap(text, 12, 120, lines)
    assert len(broken) <= lines
    assert all(text_width(line, 12) <= 120 or line == "…" for line in broken)


def test_a_system_line_needs_no_card() -> None:
    assert SystemLine("a", "A", "T", "", "data", "planned", "").slug == "a"


def test_a_recorded_room_that_could_not_run_now_says_what_it_needs(tmp_path):
    write_board(
        entries(),
        systems(),
        tmp_path / "board",
        generated="today",
        not_run={"preselect": "needs fasttext"},
    )
    page = (tmp_path / "board" / "index.html").read_text()
    assert "not run: needs fasttext" in page
    assert 'href="preselect.html"' in page  # the recorded verdicts stay
