"""What of the page is committed: small, complete, with licences, and what its sources give."""

from __future__ import annotations

import importlib.resources
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

STATIC = Path(str(importlib.resources.files("firsthand.query.speql"))) / "static"
WEB = STATIC.with_name("web")


def test_it_is_small_and_needs_nothing_from_elsewhere():
    files = sorted(path.name for path in STATIC.iterdir())
    assert files == ["app.css", "app.js", "index.html", "licences.txt"]
    assert sum(path.stat().st_size for path in STATIC.iterdir()) < 1.5e6
    page = (STATIC / "index.html").read_text(encoding="utf-8")
    assert set(re.findall(r'(?:src|href)="([^"#]+)"', page)) == {
        "data:,",
        "/static/app.css",
        "/static/app.js",
    }
    assert not re.search(r"<style|<script(?![^>]*src=)| style=| on\w+=", page)
    assert "url(" not in (STATIC / "app.css").read_text(encoding="utf-8")


def test_licences_of_what_is_inside_are_there():
    notices = (STATIC / "licences.txt").read_text(encoding="utf-8")
    for name in json.loads((WEB / "package.json").read_text())["dependencies"]:
        assert re.search(rf"^{re.escape(name)} \d", notices, re.MULTILINE), name
    assert "Permission is hereby granted" in notices
    assert "Apache License" in notices


def test_what_is_committed_is_what_the_sources_give(tmp_path):
    node = shutil.which("node")
    if node is None or not (WEB / "node_modules" / "esbuild").is_dir():
        pytest.skip("needs node and `make page`")
    subprocess.run([node, "build.mjs", str(tmp_path)], cwd=WEB, check=True, timeout=60)
    for path in STATIC.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes(), (
            f"{path.name}: run `make page` and commit"
        )


def test_the_palette_is_the_boards():
    """The page names colours of its own, for the editor; those that the board names too are the board's."""
    checkout = Path(__file__).parents[3] / "src" / "firsthand"

    def colours(path):
        return dict(
            re.findall(r"^\s*(--[\w-]+): (light-dark\([^)]*\));", path.read_text(encoding="utf-8"), re.M)
        )

    board = colours(checkout / "claims" / "board_assets" / "board.css")
    page = colours(checkout / "query" / "speql" / "web" / "app.css")
    shared = board.keys() & page.keys()
    assert len(shared) >= 10
    assert {name: page[name] for name in shared} == {name: board[name] for name in shared}
