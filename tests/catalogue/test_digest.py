"""Digests: both ways of writing them, what cannot be read, and which rooms they name."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firsthand.catalogue.digest import Digest, match_rooms, parse_digest, read_digest
from firsthand.errors import InputError, NotFoundError

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures" / "digest"


def test_inline_style() -> None:
    digest = read_digest(FIXTURES / "inline.md")
    assert digest.problems == ()
    socks, data, notes = digest.entries
    assert socks.title == "Sorting Socks by Moonlight: A Study of Pairs"
    assert (socks.link, socks.arxiv) == ("https://arxiv.org/abs/3105.00001", "3105.00001")
    assert (socks.votes, socks.line) == (45, 3)
    assert socks.authors == ("Ada Example", "Bo Sample-Name", "Chi Placeholder")
    assert "(Sock Pairing)" in socks.whats_new
    assert not socks.whats_new.isascii()
    assert socks.technical_details.endswith("The loss is `1 - cos`: nothing else.")
    assert socks.performance_highlights == "92.5% of pairs were right, against 51% by hand."
    assert (data.votes, data.arxiv) == (1204, "2503.00808")
    assert data.whats_new == "A second look at predictive strength, with **bold** words inside."
    assert (notes.votes, notes.title) == (None, "Notes on [Bracketed] Titles (and Brackets)")
    assert notes.whats_new == "The colon may stand inside the emphasis."
    assert notes.technical_details == "One star is enough."
    assert notes.performance_highlights == "Underscores as well."


def test_nested_style() -> None:
    digest = read_digest(FIXTURES / "nested.md")
    socks, menu = digest.entries
    assert (socks.votes, socks.line) == (7, 5)
    assert socks.authors == ("Ada Example", "Bo Sample-Name", "Chi Placeholder")
    assert socks.whats_new == "Socks are matched at night.\nThe moon is enough light, even when it is new."
    assert socks.technical_details == "A vector for every sock\n**Greedy** pairs"
    assert socks.performance_highlights == "92.5% of pairs were right, against 51% by hand."
    assert (menu.title, menu.votes, menu.arxiv) == ("Reading a Menu Backwards", 3, "2502.18965")
    assert menu.whats_new == "The menu is read from the end.\nDesserts come first."
    assert menu.technical_details == "Reverse the list.\nRead it."
    assert menu.performance_highlights == "Nobody went hungry."
    assert [(problem.line, "no field" in problem.cause) for problem in digest.problems] == [(44, True)]


def test_what_cannot_be_read_becomes_a_problem() -> None:
    path = FIXTURES / "problems.md"
    digest = read_digest(path)
    assert [entry.title for entry in digest.entries] == [
        "A Paper Elsewhere",
        "Half an Entry",
        "A Paper Without a Link",
        "Half an Entry, Twice",
    ]
    assert [(problem.line, problem.cause.split(":")[0]) for problem in digest.problems] == [
        (3, "no entry"),
        (5, "the link 'https"),
        (5, "the votes of 'A Paper Elsewhere' are no number"),
        (10, "unknown field 'Limitations'"),
        (14, "line of no field"),
        (16, "the entry 'Half an Entry' has no 'Technical Details'"),
        (16, "the entry 'Half an Entry' has no 'Performance Highlights'"),
        (20, "the heading 'A Paper Without a Link' has no link"),
        (26, "arXiv 3105.00002 is in line 16 too"),
        (29, 'the field "What\'s New" is there twice; both are kept'),
    ]
    assert str(digest.problems[0]).startswith(f"{path}:3: ")
    assert digest.entries[3].whats_new == "The same number.\nAnd the same field."


def test_prose_that_begins_like_a_label_is_prose() -> None:
    text = (
        "### [T](https://arxiv.org/abs/3105.00003)\n"
        "* What's New:\n  What's new is that authors vote.\n  Votes are cast\n  Technical details follow.\n"
    )
    entry = parse_digest(text).entries[0]
    assert entry.whats_new == "What's new is that authors vote. Votes are cast Technical details follow."
    assert (entry.votes, entry.technical_details) == (None, "")


def test_authors_are_one_paragraph() -> None:
    text = "### [T](https://arxiv.org/abs/3105.00003)\nAuthors: A B,\nC D\n\n  An affiliation\n"
    digest = parse_digest(text)
    assert digest.entries[0].authors == ("A B", "C D")
    assert "line of no field: 'An affiliation'" in [problem.cause for problem in digest.problems]


@pytest.mark.parametrize(
    ("link", "arxiv"),
    [
        ("https://arxiv.org/abs/2503.00808", "2503.00808"),
        ("http://arxiv.org/pdf/2503.00808v12.pdf", "2503.00808"),
        ("https://huggingface.co/papers/2503.00808", "2503.00808"),
        ("https://arxiv.org/abs/1412.6980", "1412.6980"),
        ("https://example.org/12345.678901", None),
        ("https://example.org/10.2503.00808", None),
    ],
)
def test_arxiv_ids(link: str, arxiv: str | None) -> None:
    assert parse_digest(f"### [T]({link})\n").entries[0].arxiv == arxiv


@pytest.mark.parametrize(
    ("written", "votes"), [("45", 45), ("45 votes", 45), ("**45**", 45), ("0", 0), ("4.5", None), ("", None)]
)
def test_votes(written: str, votes: int | None) -> None:
    digest = parse_digest(f"### [T](https://arxiv.org/abs/3105.00003)\n\nVotes: {written}\n")
    assert digest.entries[0].votes == votes
    assert any("votes" in problem.cause for problem in digest.problems) == (votes is None)


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_line_ends_and_marks_do_not_matter(ending: str, tmp_path: Path) -> None:
    text = (FIXTURES / "nested.md").read_text(encoding="utf-8")
    path = tmp_path / "nested.md"
    path.write_bytes(text.replace("\n", ending).encode("utf-8-sig"))
    assert read_digest(path).entries == read_digest(FIXTURES / "nested.md").entries


def test_files_that_are_no_digest(tmp_path: Path) -> None:
    path = tmp_path / "digest.md"
    with pytest.raises(NotFoundError, match=r"digest\.md.*no such file"):
        read_digest(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_digest(tmp_path)
    for content, cause in [
        (b"", "no entry"),
        (b"# Shopping\n\n- socks\n", "no entry"),
        (b"### A heading alone\n", "no entry"),
        (b"\x89PNG\r\n\x00\x00", "binary"),
        ("### [\u00e9](https://arxiv.org/abs/3105.00003)".encode("latin-1"), "UTF-8"),
    ]:
        path.write_bytes(content)
        with pytest.raises(InputError, match=rf"digest\.md.*{cause}"):
            read_digest(path)


def test_matching_by_id_whatever_the_version() -> None:
    def slugs(digest: Digest) -> list[str | None]:
        return [room.slug if room else None for _, room in match_rooms(digest)]

    assert slugs(read_digest(FIXTURES / "inline.md")) == [None, "preselect", "tonal"]
    assert slugs(read_digest(FIXTURES / "nested.md")) == [None, "onerec"]
    assert slugs(read_digest(FIXTURES / "problems.md")) == [None] * 4


def test_matching_takes_given_rooms() -> None:
    digest = read_digest(FIXTURES / "inline.md")
    assert [room for _, room in match_rooms(digest, rooms=())] == [None] * 3


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet=st.sampled_from(list("#-*_ []():!\n\tabVoteWhat's NewAuthors0123.")), max_size=300))
def test_any_text_is_read_or_refused(text: str) -> None:
    heading = "### [T](https://arxiv.org/abs/3105.00003)\n"
    lines = (heading + text).count("\n") + 1
    digest = parse_digest(heading + text)
    assert digest.entries[0].title == "T"
    assert all(1 <= problem.line <= lines for problem in digest.problems)
    with contextlib.suppress(InputError):  # the text alone may well hold no entry
        parse_digest(text)


LABELS = ("What's New", "Technical Details", "Performance Highlights")

# Words that no part of the format claims.
WORDS = st.sampled_from(["sock", "moon", "\ub2ec\ube5b", "3.5%", "(a, b)", "x:y", "**z**"])
SENTENCE = st.lists(WORDS, min_size=1, max_size=6).map(lambda words: "Sentence " + " ".join(words) + ".")
TEXTS = st.tuples(SENTENCE, SENTENCE, SENTENCE)
PAPER = st.tuples(st.integers(0, 9999), TEXTS, st.booleans(), st.sampled_from(["", "*", "**", "***", "__"]))


@settings(max_examples=60, deadline=None)
@given(st.lists(PAPER, min_size=1, max_size=5))
def test_what_is_written_is_read_back(papers: list[tuple[int, tuple[str, str, str], bool, str]]) -> None:
    lines: list[str] = ["## Daily Papers (2031-05-06)", ""]
    for number, (votes, texts, nested, mark) in enumerate(papers):
        lines += [f"### [Paper {number}](https://arxiv.org/abs/3105.{number:05})", "", f"Vote: {votes}", ""]
        lines += ["Authors: A B, C D", ""]
        for label, text in zip(LABELS, texts, strict=True):
            head = f"- {mark}{label}{mark}:"
            lines += [head, f"  - {text}", f"  - {text}"] if nested else [f"{head} {text}"]
        lines.append("")
    digest = parse_digest("\n".join(lines))
    assert digest.problems == ()
    assert len(digest.entries) == len(papers)
    for number, entry in enumerate(digest.entries):
        votes, texts, nested, _ = papers[number]
        written = tuple(f"{text}\n{text}" if nested else text for text in texts)
        assert (entry.whats_new, entry.technical_details, entry.performance_highlights) == written
        assert (entry.votes, entry.arxiv, entry.authors) == (votes, f"3105.{number:05}", ("A B", "C D"))
        assert lines[entry.line - 1].startswith(f"### [Paper {number}]")
