"""The documentation: the site builds without a warning, links lead somewhere, figures are the records' own.

Also the README's generated parts, and the examples that pages name. Fenced blocks run in `test_docs_blocks`.
"""

from __future__ import annotations

import functools
import http.server
import os
import re
import shutil
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal
from urllib.parse import unquote, urldefrag

import pytest
import typer
from docs import system_pages

from firsthand.catalogue.render import public_names, room_record
from firsthand.catalogue.rooms import OWN_ORIGIN, all_rooms, find_room
from firsthand.claims.board_view import claim_views

CHECKOUT = Path(__file__).parents[1]
ROOMS = [room for room in all_rooms() if room.origin == OWN_ORIGIN]
READY = [room for room in ROOMS if room.ready]


class _Page(HTMLParser):
    """A page's text, ids, links and what it loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        if "id" in found:
            self.ids.add(found["id"])
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        loads = "src" if tag in ("img", "script", "iframe", "source") else "href" if tag == "link" else ""
        if loads and found.get(loads):
            self.loads.append(found[loads])

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make docs` writes, in a folder of the test's own."""
    folder = tmp_path_factory.mktemp("docs") / "site"
    answer = subprocess.run(
        [str(Path(sys.executable).parent / "mkdocs"), "build", "--strict", "--site-dir", str(folder)],
        cwd=CHECKOUT, capture_output=True, text=True, timeout=600,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    assert "WARNING" not in answer.stdout + answer.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[str, _Page]:
    return {
        path.relative_to(site).as_posix(): _Page(path.read_text(encoding="utf-8"))
        for path in site.rglob("*.html")
        if path.name != "404.html"  # served from any address, so its links start at the root
    }


def test_every_system_has_its_page(pages: dict[str, _Page]) -> None:
    assert len(ROOMS) == 27
    for room in ROOMS:
        text = pages[f"systems/{room.slug}.html"].text
        card = room.card
        for shown in (
            card.title,
            f"arXiv {card.arxiv}",
            card.summary,
            f"firsthand cite {room.slug}",
            room.status,
        ):
            assert shown in text, (room.slug, shown)
        assert all(" ".join(peer.note.split()) in text for peer in card.peers)
        assert all(figure.value in text for figure in card.figures)
        # colours cut BibTeX into pieces: compare without spaces
        assert "".join(card.bibtex.split()) in "".join(text.split())


def test_every_link_leads_somewhere(site: Path, pages: dict[str, _Page]) -> None:
    broken = []
    for name, page in pages.items():
        for link in [*page.links, *page.loads]:
            if re.match(r"[a-z]+:", link):
                assert link.startswith(("https:", "mailto:", "http:")), (name, link)
                continue
            address, anchor = urldefrag(link)
            target = (site / name).parent / unquote(address) if address else site / name
            if target.is_dir():
                target = target / "index.html"
            there = target.is_file()
            known = pages.get(target.resolve().relative_to(site.resolve()).as_posix()) if there else None
            if not there or (anchor and known and unquote(anchor) not in known.ids):
                broken.append((name, link))
    assert not broken


def test_nothing_is_loaded_from_elsewhere(site: Path, pages: dict[str, _Page]) -> None:
    for name, page in pages.items():
        assert not [one for one in page.loads if re.match(r"(https?:)?//", one)], name
    own = (site / "assets" / "extra.css").read_text(encoding="utf-8")
    assert "url(" not in own
    assert "@import" not in own


@pytest.mark.parametrize("room", READY, ids=lambda room: room.slug)
def test_a_ready_page_says_what_the_record_says(room: Any, pages: dict[str, _Page]) -> None:
    page = pages[f"systems/{room.slug}.html"]
    record = room_record(room, "laptop")
    assert record is not None
    for view in claim_views(record, "x"):
        assert view.claim.id in page.ids
        for shown in (view.claim.sentence, view.status, view.reason.replace("\N{NO-BREAK SPACE}", " ")):
            assert shown in page.text, shown
        for clause in view.clauses:
            assert clause.estimate in page.text
            assert clause.interval in page.text
    assert record.environment.processor in page.text
    assert ("have changed since this record was made" in page.text) == room.is_stale(record)


@pytest.mark.parametrize("room", READY, ids=lambda room: room.slug)
def test_a_ready_page_has_features_verbs_and_names(room: Any, pages: dict[str, _Page]) -> None:
    page = pages[f"systems/{room.slug}.html"]
    for feature in tomllib.loads((room.folder / "features.toml").read_text(encoding="utf-8"))["features"]:
        assert feature["name"] in page.text
        assert all(test.rpartition("/")[2] in page.text for test in feature.get("tests", []))
        if not feature.get("tests"):
            assert f"not there yet : {feature['later']}" in page.text
    group: Any = typer.main.get_command(room.module("command").app)
    for verb, command in group.commands.items():
        assert f"firsthand {room.slug} {verb}" in page.text
        for parameter in command.params:
            for option in parameter.opts if parameter.param_type_name == "option" else ():
                assert option in page.text
    for name in public_names(room.folder / "__init__.py"):
        assert f"{room.package}.{name}" in page.ids, name


def test_planned_pages_say_so_and_have_no_verdict(pages: dict[str, _Page]) -> None:
    for room in ROOMS:
        if not room.ready:
            page = pages[f"systems/{room.slug}.html"]
            assert "This room has no check and no command yet" in page.text
            assert "What we measured" not in page.text


def test_how_to_add_a_room_is_contributing_itself(pages: dict[str, _Page]) -> None:
    text = (CHECKOUT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    heads = re.findall(r"^\d+\. \*\*(\w+)\.\*\*", text, re.MULTILINE)
    assert len(heads) >= 8
    assert all(f"{head}." in pages["contributing.html"].text for head in heads)
    assert not (CHECKOUT / "docs" / "contributing.md").exists()


def test_a_changed_record_changes_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    room = next(room for room in READY if room.slug == "preselect")
    record = room_record(room, "laptop")
    assert record is not None
    first = record.results[0]
    clause = first.clauses[0]
    assert clause.interval is not None
    interval = clause.interval.model_copy(update={"estimate": 40.0, "low": 39.5, "high": 40.5})
    moved = first.model_copy(
        update={
            "verdict": "fails",
            "reason": "because",
            "clauses": (clause.model_copy(update={"interval": interval}), *first.clauses[1:]),
        }
    )
    changed = record.model_copy(
        update={"results": (moved, *record.results[1:]), "source_hash": "0" * 64, "wall_seconds": 7260.0}
    )
    monkeypatch.setattr(
        system_pages, "room_record", lambda room, scale: changed if scale == "laptop" else None
    )
    text = system_pages.claims_part(room)
    assert "40.0" in text
    assert "39.5 to 40.5" in text
    assert "✗ fails" in text
    assert "because" in text
    assert "2 h 1 min" in text
    assert '!!! warning "Stale"' in text


def test_parts_go_where_the_page_asks_for_them(tmp_path: Path) -> None:
    room = find_room("preselect")
    written = "# A title\n\nfirst\n\n<!-- here: peers -->\n\nlast\n"
    page = system_pages.composed_page(room, written, tmp_path)
    order = [
        page.index(text) for text in ("# A title", room.card.title, "first", "## What else there is", "last")
    ]
    assert order == sorted(order)
    assert page.count("## What else there is") == 1
    assert page.index("last") < page.index("## Features and their tests") < page.index("## How to cite")
    assert "## Beside its peers" not in page  # no benchmark in that folder
    for wrong, message in (
        ("no title\n", "must begin with its title"),
        ("# A\n<!-- here: nothing -->\n", "no part is called 'nothing'"),
        ("# A\n<!-- here: cite -->\n<!-- here: cite -->\n", "asked for twice"),
    ):
        with pytest.raises(system_pages.PageError, match=message):
            system_pages.composed_page(room, wrong, tmp_path)


def test_a_missed_target_and_unequal_results_are_said(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    side = '{"label": "l<b>", "text": "1 s"}'
    row = (
        f'{{"what": "w", "ours": {side}, "peer": {side}, "ratio": 0.5, "met": false, "equal": false, '
        '"target": {"kind": "at least", "value": 0.9}, "note": "n"}'
    )
    path.write_text(
        f'{{"rows": [{row}], "machine": {{"processor": "P", "cores": 2}}, "load_average_before": [0.5, 1, 1], '
        '"started": "2026-01-02T00:00:00"}',
        encoding="utf-8",
    )
    text = system_pages.benchmark_part(path)
    assert "target: at least 0.9×, <b>missed</b>" in text
    assert "results differ" in text
    assert "l&lt;b&gt;" in text


def test_options_of_a_literal_are_listed() -> None:
    app = typer.Typer()

    @app.command()
    def one(kind: Literal["zero", "half"] | None = None, count: int = 3) -> None: ...

    @app.command()
    def two() -> None: ...

    room = SimpleNamespace(slug="x", module=lambda name: SimpleNamespace(app=app))
    text = system_pages.command_part(room)  # type: ignore[arg-type]
    assert "one of <code>zero</code>, <code>half</code>" in text
    assert "<code>--count</code>" in text
    assert "<code>3</code>" in text
    assert "firsthand x two" in text


def _colours(path: Path) -> dict[str, str]:
    pattern = re.compile(r"^\s*(--[\w-]+): (light-dark\([^)]*\));", re.MULTILINE)
    return dict(pattern.findall(path.read_text(encoding="utf-8")))


def test_the_palette_is_the_boards() -> None:
    board = _colours(CHECKOUT / "src" / "firsthand" / "claims" / "board_assets" / "board.css")
    own = CHECKOUT / "docs" / "assets" / "extra.css"
    assert len(board) > 10
    assert _colours(own) == board
    # and there is no other colour in it
    rest = re.sub(r"light-dark\([^)]*\)", "", own.read_text(encoding="utf-8"))
    assert not re.findall(r"#[0-9a-fA-F]{3,8}\b|rgba?\(|hsla?\(", rest)


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.mark.browser
def test_pages_fit_a_phone_and_a_desk_in_both_schemes(address: str) -> None:
    executable = next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )
    if executable is None:
        pytest.skip("needs chromium (system-packages.txt)")
    from playwright.sync_api import sync_playwright

    backgrounds = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        )
        for scheme, width in (("light", 390), ("light", 1440), ("dark", 390), ("dark", 1440)):
            context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
            page = context.new_page()
            asked: list[str] = []
            complaints: list[str] = []
            page.on("request", lambda request, asked=asked: asked.append(request.url))
            page.on("pageerror", lambda error, complaints=complaints: complaints.append(str(error)))
            for name in (
                "index",
                "start",
                "systems/index",
                "systems/preselect",
                "systems/rds-plus",
                "models",
            ):
                page.goto(f"{address}/{name}.html")
                wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
                assert wide <= 0, (scheme, width, name)
                outside = page.evaluate(
                    "[...document.querySelectorAll('.md-content article *')].filter(e => !e.closest('pre')"
                    " && e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 80))"
                )
                assert not outside, (scheme, width, name, outside)
            backgrounds[scheme] = page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert not [url for url in asked if not url.startswith((address, "data:", "blob:"))]
            assert not complaints
            context.close()
        browser.close()
    assert backgrounds == {"light": "rgb(252, 251, 248)", "dark": "rgb(21, 24, 27)"}  # the board's --page


def test_readme_is_what_make_readme_writes():
    answer = subprocess.run(
        [sys.executable, "docs/readme.py", "--check"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_the_readmes_example_runs():
    answer = subprocess.run(
        [sys.executable, "examples/preselect_quickstart.py"],
        cwd=CHECKOUT, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    strengths, selected = answer.stdout.splitlines()
    assert strengths == "[1.         0.83333333 0.        ]"
    kept, pool = map(int, re.findall(r"(\d+)%", selected))
    assert kept > 2 * pool


def test_files_that_the_readme_links_to_exist():
    text = (CHECKOUT / "README.md").read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
        assert (CHECKOUT / target).exists(), target
