"""What of the pages is in the package: small, whole, and in the board's colours."""

from __future__ import annotations

import re
from pathlib import Path

import firsthand
from firsthand.evaluation import codearena

ROOM = Path(codearena.__file__).parent
STATIC, TEMPLATES = ROOM / "pages" / "static", ROOM / "pages" / "templates"


def test_it_is_small_and_needs_nothing_from_elsewhere():
    assert sorted(path.name for path in STATIC.iterdir()) == ["arena.css", "live.js", "mark.svg"]
    assert sum(path.stat().st_size for path in STATIC.iterdir()) < 60_000
    for path in STATIC.iterdir():
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert "url(" not in text
        assert "http" not in text
        assert "@import" not in text


def test_templates_hold_nothing_inline_and_mark_little_as_safe():
    safe = []
    for path in sorted(TEMPLATES.iterdir()):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"<style|<script(?![^>]* src=)| style=| on\w+=|javascript:", text), path.name
        safe += [f"{path.name}: {found}" for found in re.findall(r"\{\{[^}]*\|\s*safe[^}]*\}\}", text)]
        assert "autoescape" not in text
    assert safe == [
        "macros.html: {{ history.drawing|safe }}",  # made of numbers and escaped names by `pages.history`
        "problem.html: {{ statement|safe }}",  # made by `pages.statement`
    ]


def test_the_palette_is_the_boards():
    def colours(path: Path) -> dict[str, str]:
        found = re.findall(r"^\s*(--[\w-]+): (light-dark\([^)]*\));", path.read_text(encoding="utf-8"), re.M)
        return dict(found)

    package = Path(firsthand.__file__).parent
    board = colours(package / "claims" / "board_assets" / "board.css")
    pages = colours(STATIC / "arena.css")
    shared = board.keys() & pages.keys()
    assert len(shared) >= 15
    assert {name: pages[name] for name in shared} == {name: board[name] for name in shared}


def test_every_class_that_the_style_sheet_names_is_used():
    style = re.sub(r"/\*.*?\*/", "", (STATIC / "arena.css").read_text(encoding="utf-8"), flags=re.DOTALL)
    selectors = " ".join(re.findall(r"([^{}]*)\{", style))
    named = set(re.findall(r"\.([a-z][\w-]*)", selectors))
    sources = [*TEMPLATES.iterdir(), ROOM / "pages" / "history.py", ROOM / "pages" / "words.py"]
    used = " ".join(path.read_text(encoding="utf-8") for path in sources)
    numbered = {f"{name}-{number}" for name in ("line", "end", "name") for number in range(1, 7)}
    marks = {f"is-{mark}" for mark in ("ac", "wrong", "waiting", "judge")}
    assert [name for name in sorted(named - numbered - marks) if not re.search(rf"\b{name}\b", used)] == []
