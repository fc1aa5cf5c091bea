"""Reads a day's digest of papers into entries, and finds the room of each.

Knows the two ways in which digests of this family are written: a heading with a linked title, then `Vote:`
and `Authors:` lines, then three labelled bullets whose text follows on the same line or as a nested list.
Knows nothing of what the texts say, and leaves their inline Markdown alone. A line that cannot be read is
never dropped in silence: it becomes a `Problem`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from firsthand.catalogue.rooms import Room, all_rooms
from firsthand.errors import InputError, NotFoundError

__all__ = ["Digest", "Entry", "Problem", "match_rooms", "parse_digest", "read_digest"]


@dataclass(frozen=True)
class Entry:
    """One paper of a digest. The three texts have one line per sentence group or nested bullet."""

    title: str
    link: str
    arxiv: str | None  # without a version suffix; None if the link names none
    votes: int | None
    authors: tuple[str, ...]
    whats_new: str
    technical_details: str
    performance_highlights: str
    line: int  # of the heading, from 1


@dataclass(frozen=True)
class Problem:
    """Something in a digest that could not be read."""

    path: Path
    line: int
    cause: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.cause}"


@dataclass(frozen=True)
class Digest:
    """What a digest holds, in its order, and what of it could not be read."""

    entries: tuple[Entry, ...]
    problems: tuple[Problem, ...]


# The fields an entry can have, and how their labels are spelled once emphasis and colons are off. Characters
# outside ASCII are escapes: curly apostrophe, acute, fullwidth colon and comma, ideographic comma, bullet.
_LABELS = {
    "votes": r"(?:up)?votes?",
    "authors": r"authors?",
    "whats_new": r"what(?:['\u2019`\u00b4]?s|\s+is)\s+new",
    "technical_details": r"technical\s+details?",
    "performance_highlights": r"performance\s+highlights?",
}
_TEXTS = {
    "whats_new": "What's New",
    "technical_details": "Technical Details",
    "performance_highlights": "Performance Highlights",
}
_COLON = r"[:\uff1a]"
_BULLET = re.compile(r"^(?P<indent>\s*)(?P<bullet>[-*+\u2022]\s+)?(?P<rest>.*)$")
# A label ends in a colon, in closing emphasis (`**Label**`), or with the line; prose that merely begins with
# the same words does not.
_FIELD = {
    name: re.compile(
        rf"^(?:\#+\s+)?(?P<mark>\*{{1,3}}|_{{1,3}}|){label}"
        rf"(?:\s*{_COLON}\s*(?P=mark)|(?P=mark)(?:\s*{_COLON}|(?<=[*_])(?=\s)|$))\s*(?P<text>.*)$",
        re.IGNORECASE,
    )
    for name, label in _LABELS.items()
}
_OTHER_LABEL = re.compile(
    rf"^(?P<mark>\*{{1,3}}|_{{1,3}})(?P<label>[^*_]{{1,60}}?)\s*(?:{_COLON}\s*(?P=mark)|(?P=mark)\s*{_COLON})"
)
_HEADING = re.compile(r"^(?P<marks>#{1,6})\s+(?P<text>.+?)\s*#*$")
_LINKED = re.compile(r"^(?:\d+[.)]\s*)?\[(?P<title>.+)\]\(\s*<?(?P<link>[^\s<>]+?)>?\s*\)$")
_ARXIV = re.compile(r"(?<![\d.])(\d{4}\.\d{4,5})(?:v\d+)?(?![\d])")
_VOTES = re.compile(r"^(\d[\d,]*)(?!\S*\d)")
_PICTURE_OR_COMMENT = re.compile(r"^(?:!\[[^\]]*\]\([^)]*\)|<!--.*-->|<img\b[^>]*>)$")
_RULE = re.compile(r"^(?:-{3,}|\*{3,}|_{3,})$")


@dataclass
class _Draft:
    """An entry while its lines are being read: per field, the pieces of text that belong to it."""

    title: str
    link: str
    line: int
    pieces: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Open:
    """The field being read, and how its label stood: what may follow depends on it."""

    name: str
    depth: int  # columns before the label's bullet; -1 if it has none
    heading: bool


def read_digest(path: str | Path) -> Digest:
    """Read a digest file.

    Raises `NotFoundError` if there is no such file and `InputError` if it is not text or holds no entry;
    everything smaller is in the result's `problems`.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise NotFoundError(f"{path}: no such file; give a digest in Markdown") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    if b"\0" in data:
        raise InputError(f"{path}: is a binary file (byte {data.index(0)} is zero), not a digest in Markdown")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not UTF-8 text (byte {error.start}); save it as UTF-8") from error
    return parse_digest(text, path)


def parse_digest(text: str, path: str | Path = "<digest>") -> Digest:
    """Read the text of a digest; `path` is for messages only. Raises `InputError` if it holds no entry."""
    reader = _Reader(Path(path))
    for number, line in enumerate(re.split(r"\r\n|\r|\n", text), start=1):
        reader.read(number, line)
    reader.close()
    if not reader.entries:
        raise InputError(
            f"{path}: holds no entry; an entry begins with a heading such as "
            "'### [Title](https://arxiv.org/abs/2503.00808)'"
        )
    # A stable sort: what is noticed at the end of an entry goes to the entry's own line.
    return Digest(tuple(reader.entries), tuple(sorted(reader.problems, key=lambda problem: problem.line)))


def match_rooms(digest: Digest, rooms: Sequence[Room] | None = None) -> list[tuple[Entry, Room | None]]:
    """Each entry with the room of the same arXiv id, whatever its version, or with None."""
    by_id = {room.card.arxiv: room for room in (all_rooms() if rooms is None else rooms)}
    return [(entry, by_id.get(entry.arxiv) if entry.arxiv else None) for entry in digest.entries]


class _Reader:
    """Takes a digest line by line; which entry and field a line belongs to is known from the lines above."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: list[Entry] = []
        self.problems: list[Problem] = []
        self._draft: _Draft | None = None
        self._open: _Open | None = None  # the field that unlabelled lines belong to
        self._after_blank = False

    def read(self, number: int, line: str) -> None:
        """Take the next line; a preface before the first entry is nobody's business."""
        line = line.rstrip()
        stripped = line.lstrip()
        if not stripped:
            self._after_blank = True
            return
        heading = _HEADING.match(line)
        if heading is not None and self._heading(number, heading):
            pass
        elif self._draft is not None and _RULE.match(stripped):
            self._open = None
        elif self._draft is not None and not _PICTURE_OR_COMMENT.match(stripped):
            self._body(number, line)
        self._after_blank = False

    def close(self) -> None:
        """End the open entry."""
        if self._draft is None:
            return
        draft, self._draft, self._open = self._draft, None, None
        if not draft.link and not draft.pieces:
            self._problem(draft.line, f"no entry: the heading {_short(draft.title)} has no link, no fields")
            return
        self.entries.append(self._entry(draft))

    def _heading(self, number: int, heading: re.Match[str]) -> bool:
        """Open or close an entry; False if the heading is a field's label inside an entry."""
        text = heading["text"]
        if self._draft is not None and any(pattern.match(text) for pattern in _FIELD.values()):
            return False
        linked = _LINKED.match(text)
        self.close()
        if linked is not None:
            self._draft = _Draft(_plain(linked["title"]), linked["link"], number)
        elif len(heading["marks"]) >= 3:  # above that, a heading without a link names the day or a section
            self._draft = _Draft(_plain(text), "", number)
        return True

    def _body(self, number: int, line: str) -> None:
        assert self._draft is not None
        parts = _BULLET.match(line)
        assert parts is not None
        rest = parts["rest"].strip()
        bullet, indent = parts["bullet"] is not None, len(parts["indent"].expandtabs())
        for name, pattern in _FIELD.items():
            match = pattern.match(rest)
            if match is not None:
                self._open = _Open(name, indent if bullet else -1, heading=line.startswith("#"))
                self._start(number, name, match["text"].strip())
                return
        if self._open is None or not self._continues(self._open, bullet, indent):
            self._open = None
            other = _OTHER_LABEL.match(rest)
            what = f"unknown field {_short(other['label'])}" if other else f"line of no field: {_short(rest)}"
            self._problem(number, what)
            return
        pieces = self._draft.pieces[self._open.name]
        if bullet or self._after_blank or not pieces:
            pieces.append(rest)
        else:  # a wrapped line
            pieces[-1] += " " + rest

    def _continues(self, opened: _Open, bullet: bool, indent: int) -> bool:
        """Whether a line without a label still belongs to the open field."""
        assert self._draft is not None
        if bullet and indent <= opened.depth:
            return False  # a sibling of the field's own bullet
        if not self._after_blank or not self._draft.pieces[opened.name]:
            return True
        if opened.name not in _TEXTS:
            return False  # votes and authors are one paragraph
        return bullet or opened.heading or indent > max(opened.depth, 0)

    def _start(self, number: int, name: str, text: str) -> None:
        assert self._draft is not None
        if name in self._draft.pieces:
            self._problem(number, f"the field {_TEXTS.get(name, name)!r} is there twice; both are kept")
        pieces = self._draft.pieces.setdefault(name, [])
        if text:
            pieces.append(text)

    def _entry(self, draft: _Draft) -> Entry:
        arxiv = _arxiv(draft.link)
        if not draft.link:
            self._problem(draft.line, f"the heading {_short(draft.title)} has no link")
        elif arxiv is None:
            self._problem(draft.line, f"the link {_short(draft.link)} names no arXiv id: no room matches")
        earlier = [entry.line for entry in self.entries if arxiv is not None and entry.arxiv == arxiv]
        if earlier:
            self._problem(draft.line, f"arXiv {arxiv} is in line {earlier[0]} too")
        texts = {name: "\n".join(draft.pieces.get(name, ())) for name in _TEXTS}
        for name, label in _TEXTS.items():
            if not texts[name]:
                self._problem(draft.line, f"the entry {_short(draft.title)} has no {label!r}")
        return Entry(
            title=draft.title,
            link=draft.link,
            arxiv=arxiv,
            votes=self._votes(draft),
            authors=_authors(" ".join(draft.pieces.get("authors", ()))),
            line=draft.line,
            **texts,
        )

    def _votes(self, draft: _Draft) -> int | None:
        text = _plain(" ".join(draft.pieces.get("votes", ())))
        match = _VOTES.match(text)
        if match is not None:
            return int(match[1].replace(",", ""))
        if "votes" in draft.pieces:
            self._problem(draft.line, f"the votes of {_short(draft.title)} are no number: {_short(text)}")
        return None

    def _problem(self, line: int, cause: str) -> None:
        self.problems.append(Problem(self.path, line, cause))


def _arxiv(link: str) -> str | None:
    match = _ARXIV.search(link)
    return match[1] if match else None


def _authors(text: str) -> tuple[str, ...]:
    names = re.split(r"\s*[,;\u3001\uff0c]\s*(?:and\s+)?|\s+and\s+", _plain(text))
    return tuple(name for name in (_plain(name) for name in names) if name)


def _plain(text: str) -> str:
    """Without the emphasis that encloses all of it."""
    return re.sub(r"^([*_]{1,3})(.+)\1$", r"\2", text.strip()).strip()


def _short(text: str, limit: int = 60) -> str:
    return repr(text if len(text) <= limit else text[: limit - 3] + "...")
