"""Programs that different users handed in for one problem and that are nearly the same.

Two models that answer with the same unusual program probably remember the same text. Comments, spaces and the names
that a programmer chooses are put aside; what is left is compared with `firsthand.corpora.near_duplicates`. Published
solutions can be put among the programs under a user of their own.

Knows tokens as one regular expression sees them, and no grammar: enough to tell a copy, not to prove one. Short
programs resemble each other by necessity and are not compared.
"""

from __future__ import annotations

import builtins
import keyword
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from firsthand.corpora.near_duplicates import find_near_duplicates
from firsthand.errors import InputError

__all__ = ["DuplicateSources", "Source", "duplicate_sources", "normalised_tokens"]

_HASH = r"#[^\n]*"
_SLASHES = r"//[^\n]*|/\*.*?(?:\*/|\Z)"
_DASHES = r"--[^\n]*|\{-.*?(?:-\}|\Z)"
_REST = (
    r'(?P<text>"""(?:\\.|[^\\])*?"""'
    r"|'''(?:\\.|[^\\])*?'''"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'(?:\\.|[^'\\\n])*'"
    r"|`[^`]*`)"
    r"|(?P<name>[^\W\d]\w*)|(?P<number>\d[\w.]*)|(?P<sign>[^\w\s])"
)
_PYTHON_NAMES = frozenset(
    [*keyword.kwlist, *keyword.softkwlist, *(name for name in dir(builtins) if not name.startswith("_"))]
)
_WORDS = """
abstract as async await auto bool boolean break byte case catch chan char class const constexpr continue crate data
default defer delete deriving do double else enum explicit export extends extern fallthrough false final finally fn
float for foreach friend func function go goto if impl implements import in include infix inline instance
instanceof int interface let loop long long main map match mod module move mut mutable namespace native new newtype
nil null nullptr of operator package private protected pub public range ref register return select self short
signed sizeof static struct super switch template then this throw throws trait transient true try type typedef
typename typeof undefined union unsafe unsigned use using var vector virtual void volatile where while yield
string str usize isize i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 int32 int64 uint32 uint64 float32 float64
"""
_OTHER_NAMES = frozenset(_WORDS.split())


@dataclass(frozen=True)
class Source:
    """One program; `id` tells the user's programs apart, such as the submission's id."""

    user: str
    problem: str
    language: str
    text: str
    id: str = ""
    submitted_at: datetime | None = None


@dataclass(frozen=True)
class DuplicateSources:
    """Programs of at least two users for one problem in one language that a chain of near-duplicates connects."""

    problem: str
    language: str
    members: tuple[Source, ...]  # earliest first, those without a time last
    exact: bool  # all the same once normalised

    @property
    def users(self) -> tuple[str, ...]:
        """Whose they are, each once, in the order of the members."""
        return tuple(dict.fromkeys(member.user for member in self.members))


def normalised_tokens(text: str, language: str) -> list[str]:
    """The program's tokens without comments, a chosen name as `x`, keywords, members after a dot and literals kept.

    Python's and Haskell's ways to comment are known; every other language is read as C is.
    """
    spoken = language.casefold()
    python = spoken.startswith("py")
    comment = _HASH if python else _DASHES if spoken.startswith("haskell") else _SLASHES
    known = _PYTHON_NAMES if python else _OTHER_NAMES
    found: list[str] = []
    for token in re.finditer(f"(?P<comment>{comment})|{_REST}", text, re.DOTALL):
        kind, word = token.lastgroup, token.group()
        if kind == "comment":
            continue
        if kind == "name" and word not in known and not (found and found[-1] == "."):
            word = "x"
        found.append(word)
    return found


def duplicate_sources(
    sources: Iterable[Source], *, similarity: float = 0.8, min_tokens: int = 40
) -> tuple[DuplicateSources, ...]:
    """Groups of nearly the same programs of different users, the largest first.

    Args:
        sources: programs; those of one user for one problem may be many.
        similarity: Jaccard similarity of the sets of five tokens in a row from which two programs are alike, above 0
            and at most 1.
        min_tokens: programs with fewer tokens are not compared.

    Raises:
        InputError: a similarity or a number of tokens that cannot be, something that is no `Source`.
        MissingDependencyError: datasketch is not installed.
    """
    if isinstance(min_tokens, bool) or not isinstance(min_tokens, int) or min_tokens < 1:
        raise InputError(f"min_tokens must be at least 1, got {min_tokens!r}")
    together: dict[tuple[str, str], list[tuple[Source, str]]] = {}
    for number, source in enumerate(sources):
        if not isinstance(source, Source):
            raise InputError(f"source {number}: expected a Source, got {type(source).__name__}")
        tokens = normalised_tokens(source.text, source.language)
        if len(tokens) >= min_tokens:
            line = " ".join(re.sub(r"\s", "_", token) for token in tokens)
            together.setdefault((source.problem, source.language), []).append((source, line))
    found = []
    for (problem, language), programs in sorted(together.items()):
        lines = [line for _, line in programs]
        for cluster in find_near_duplicates(lines, similarity=similarity).clusters:
            members = sorted((programs[place][0] for place in cluster), key=_when)
            if len({member.user for member in members}) > 1:
                exact = len({lines[place] for place in cluster}) == 1
                found.append(DuplicateSources(problem, language, tuple(members), exact))
    return tuple(sorted(found, key=lambda group: (-len(group.users), -len(group.members), group.problem)))


def _when(source: Source) -> tuple[bool, float, str, str]:
    time = source.submitted_at
    return time is None, time.timestamp() if time else 0.0, source.user, source.id
