"""Every fenced block of the documentation runs, or says beside it why it cannot run here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from docs.blocks import RUN, Block, blocks_of, likeness, run_blocks

CHECKOUT = Path(__file__).parents[1]
PAGES = [CHECKOUT / "README.md", CHECKOUT / "CONTRIBUTING.md", *sorted((CHECKOUT / "docs").rglob("*.md"))]
BLOCKS = {page: blocks_of(page) for page in PAGES}
RUNNING = [page for page in PAGES if any(b.language in RUN and not b.not_run for b in BLOCKS[page])]

# What cannot run here: `make check` and `make test` in README.md and in docs/index.md, which would run
# themselves, and the `pip install` of docs/index.md, which would change the environment that the tests run in.
NOT_RUN = 3

# "About a minute on one core", and what a crowded machine adds to it.
CPU_SECONDS = 90
# The first load of an embedded model in a fresh cache unpacks it; that is the model's time and not the page's.
UNPACKING = 90


@pytest.mark.parametrize("page", RUNNING, ids=lambda page: page.relative_to(CHECKOUT).as_posix())
def test_a_page_runs_from_top_to_bottom(page):
    answer = subprocess.run(
        [sys.executable, "docs/blocks.py", str(page), "--json"],
        cwd=CHECKOUT, capture_output=True, text=True, timeout=900,
        env={key: value for key, value in os.environ.items() if not key.startswith(("COV_", "COVERAGE_"))},
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    report = json.loads(answer.stdout)
    expected = [b.place for b in BLOCKS[page] if b.language in RUN and not b.not_run]
    assert [block["place"] for block in report["ran"]] == expected
    for block in report["ran"]:
        # Numbers differ from machine to machine; what a line says does not. Half of the lines, because some
        # of them name what the machine has.
        assert block["alike"] is None or block["alike"] >= 0.5, (
            f"{block['place']} printed other lines than those pasted below it:\n{block['printed']}"
        )
    unpacking = UNPACKING if any("gemma-3-270m" in b.code for b in BLOCKS[page]) else 0
    assert report["cpu_seconds"] < CPU_SECONDS + unpacking


def test_the_list_of_blocks_that_do_not_run_does_not_grow(record_property):
    blocks = [block for page in PAGES for block in BLOCKS[page] if block.language in RUN]
    left_out = {block.place: block.not_run for block in blocks if block.not_run}
    said = f"{len(blocks) - len(left_out)} blocks run, {len(left_out)} do not"
    record_property("blocks", said)
    print("\n".join([said, *(f"{place}: {reason}" for place, reason in left_out.items())]))
    assert len(left_out) <= NOT_RUN, left_out
    assert len(blocks) - len(left_out) >= 10


def test_every_command_line_of_a_ready_rooms_page_is_among_the_blocks_that_run():
    from firsthand.catalogue.rooms import all_rooms

    for room in all_rooms():
        if room.ready and room.origin == "firsthand":
            page = CHECKOUT / "docs" / "systems" / f"{room.slug}.md"
            assert page in RUNNING
            assert any(
                f"firsthand {room.slug} " in b.code or f"firsthand -q {room.slug} " in b.code
                for b in BLOCKS[page]
            )


def _page(tmp_path: Path, text: str) -> Path:
    page = tmp_path / "page.md"
    page.write_text(text, encoding="utf-8")
    return page


def test_python_blocks_share_a_namespace_and_toml_is_written(tmp_path, monkeypatch):
    text = (
        "```python\nx = 2\n```\n\nwrite `a/b.toml`:\n\n```toml\ny = 3\n```\n\n"
        "```sh\ncat a/b.toml\n```\n\n```text\ny = 4\n```\n\n"
        "```python\nprint(x, open('a/b.toml').read())\n```\n"
    )
    monkeypatch.chdir(tmp_path)
    ran = run_blocks(blocks_of(_page(tmp_path, text)))
    assert [one.printed for one in ran] == ["", "y = 3\n", "2 y = 3\n\n"]
    assert [one.alike for one in ran] == [None, 1.0, None]  # numbers may differ


def test_a_failing_block_is_named_and_a_marked_one_is_left_out(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    failing = "```sh\ntrue\nfalse | true\necho no\n```\n"
    with pytest.raises(RuntimeError, match=r"page\.md:1: exit status 1"):
        run_blocks(blocks_of(_page(tmp_path, failing)))
    marked = blocks_of(
        _page(tmp_path, "<!-- not run: needs a cluster -->\n" + failing + "```text\nno\n```\n")
    )
    assert marked[0].not_run == "needs a cluster"
    assert run_blocks(marked) == []
    with pytest.raises(ZeroDivisionError):
        run_blocks([Block("page.md", 1, "python", "1 / 0\n")])


def test_a_server_runs_until_the_page_ends(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = "trap 'echo > gone; exit' TERM\necho ready at 1\nwhile true; do sleep .05; done\n"
    serving = f"<!-- serves: ready at -->\n```sh\n{command}```\n"
    asking = "```text\nready at 2\n```\n\n```sh\ntest ! -e gone && echo asked\n```\n"
    ran = run_blocks(blocks_of(_page(tmp_path, serving + asking)))
    assert [(one.printed, one.alike) for one in ran] == [("ready at 1\n", 1.0), ("asked\n", None)]
    assert (tmp_path / "gone").exists()


@pytest.mark.parametrize(
    ("page", "message"),
    [
        ("<!-- serves: ready -->\n```sh\necho no >&2; exit 3\n```\n", r"(?s)page\.md:2: it ended with 3.*no"),
        (
            "<!-- serves: ready -->\n```sh\necho ready\n```\n\n```sh\nsleep 1\n```\n",
            "page.md:2: it ended with 0 before",
        ),
        ("<!-- serves: ready -->\n```python\nprint('ready')\n```\n", "page.md:2: only an sh block serves"),
    ],
)
def test_a_server_that_does_not_serve(tmp_path, monkeypatch, page, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((RuntimeError, ValueError), match=message):
        run_blocks(blocks_of(_page(tmp_path, page)))


def test_a_mark_without_a_reason_is_no_mark(tmp_path):
    assert not blocks_of(_page(tmp_path, "<!-- not run: -->\n```sh\nfalse\n```\n"))[0].not_run
    # nor is one that something else follows
    assert not blocks_of(_page(tmp_path, "<!-- not run: why -->\nwords\n```sh\nfalse\n```\n"))[0].not_run


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("```ruby\nputs 1\n```\n", "page.md:1: a block of language 'ruby'"),
        ("words\n```\nnothing\n```\n", "page.md:2: a block of language ''"),
        ("```python\nx = 1\n", "page.md:1: the block is not closed"),
        ("words\n```toml\nx = 1\n```\n", "page.md:2: the line before a toml block names its file"),
    ],
)
def test_pages_that_cannot_be_read(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        blocks_of(_page(tmp_path, text))


def test_pasted_output_is_compared_by_its_words(tmp_path):
    assert likeness("kept  40 of 225 documents\n", "kept    11 of 9 documents\n") == 1
    assert (
        likeness("kept  40 of 225 documents\nscorer hashed\n", "kept 1 of 2 documents\nscorer fasttext\n")
        == 0.5
    )
    with pytest.raises(ValueError, match="output, and no block before it"):
        run_blocks(blocks_of(_page(tmp_path, "```text\nx\n```\n")))
