"""What a text is before it is SQL: tokens, statements, and the place of a cursor among clauses.

Knows how a dialect writes strings, quoted names and comments, and nothing of grammar beyond words that open a
clause and parentheses. Reads any text, finished or not, in one pass, and never raises for what is in it. All
offsets are Unicode code points, [start, end).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from sqlglot.dialects.dialect import Dialect

from firsthand.errors import InputError

__all__ = [
    "QUERY_STARTS",
    "Kind",
    "Place",
    "Span",
    "Token",
    "check_cursor",
    "clause_at",
    "code",
    "depth_at",
    "first_word",
    "names_in",
    "places",
    "statement_at",
    "statements",
    "tokenize",
]

Kind = Literal["word", "quoted", "number", "string", "comment", "operator", "punctuation"]


QUERY_STARTS = frozenset({"SELECT", "WITH", "FROM", "VALUES", "("})
"""First tokens of what is read as a query."""


class Span(NamedTuple):
    """A piece of a text, [start, end) in code points."""

    start: int
    end: int


class Token(NamedTuple):
    """One token as it is written.

    Attributes:
        kind: "word" (keyword or unquoted name), "quoted" (a quoted name), "number", "string", "comment",
            "operator" or "punctuation", which is one of `( ) [ ] { } , ; .`
        start, end: its place, [start, end) in code points.
        text: as it is written, quotes included.
        upper: a word in capitals; of other tokens the text.
        finished: False for a string, quoted name or block comment that nothing closes: it reaches to the text's end.
    """

    kind: Kind
    start: int
    end: int
    text: str
    upper: str
    finished: bool = True

    @property
    def name(self) -> str:
        """What a name names: without quotes, doubled quotes undone."""
        if self.kind != "quoted" or len(self.text) < 2:
            return self.text
        close = self.text[-1]
        return self.text[1:-1].replace(close * 2, close)

    @property
    def is_name(self) -> bool:
        """Whether it may be a table's, a column's or an alias's name."""
        return self.kind in ("word", "quoted")


class Place(NamedTuple):
    """Where a cursor stands.

    Attributes:
        path: the clause of every query around it, the outermost first: `("FROM", "WHERE")` is the WHERE of a
            subquery in a FROM. A query whose first word is not there yet adds nothing.
        depth: how many parentheses are open.
        start: where the innermost query begins.
    """

    path: tuple[str, ...]
    depth: int
    start: int


_LETTER = r"(?:[^\W\d]|[^\x00-\x7f\s\w])"
_WORD = rf"{_LETTER}(?:[\w$]|[^\x00-\x7f\s\w])*"
_NUMBER = r"0[xX][\da-fA-F]+|(?:\d[\d_]*(?:\.[\d_]*)?|\.\d[\d_]*)(?:[eE][+-]?\d+)?"
_OPERATOR = (
    r"<=>|->>|!~~\*|~~\*|!~~|!~\*|::|<>|<=|>=|!=|==|\|\||->|=>|:=|\*\*|//|<<|>>|~~|~\*|!~|@>|<@|&&|\^@|\S"
)


@dataclass(frozen=True)
class _Lexicon:
    """How one dialect's tokens look."""

    pattern: re.Pattern[str]
    nested_comments: bool
    dollar: bool


@lru_cache(maxsize=32)
def _lexicon(dialect: str) -> _Lexicon:
    try:
        tokenizer: Any = Dialect.get_or_raise(dialect).tokenizer_class
    except ValueError as error:
        raise InputError(f"there is no SQL dialect {dialect!r}: {error}") from error
    escapes = {quote: set(tokenizer.STRING_ESCAPES) for quote in tokenizer._QUOTES}
    strings = []
    prefixes: dict[str, set[str]] = {}
    for opening in tokenizer._FORMAT_STRINGS:
        quote = opening.lstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ&0123456789")
        if quote and quote in escapes and len(opening) > len(quote):
            prefixes.setdefault(quote, set()).add(opening[: -len(quote)])
    for quote in sorted(escapes, key=len, reverse=True):
        backslash = "\\" in escapes[quote]
        plain = sorted(prefixes.get(quote, set()) - {"e", "E"}, key=len, reverse=True)
        with_escape = "e" in prefixes.get(quote, set()) and not backslash
        for letters, escaped in (("|".join(map(re.escape, plain)), backslash), ("[eE]", True)):
            if letters == "[eE]" and not with_escape:
                continue
            before = f"(?:{letters})" + ("" if letters == "[eE]" else "?") if letters else ""
            strings.append(before + _delimited(quote, quote, escaped))
    names = [_delimited(opening, close, False) for opening, close in tokenizer._IDENTIFIERS.items()]
    lines = [mark for mark, close in tokenizer._COMMENTS.items() if close is None]
    line_comment = "|".join(re.escape(mark) + r"[^\r\n]*" for mark in lines) or r"(?!)"
    dollar = any(opening.startswith("$") for opening in tokenizer._FORMAT_STRINGS)
    groups = [
        ("comment", line_comment),
        ("block", r"/\*"),
        ("string", "|".join(strings) or r"(?!)"),
        ("quoted", "|".join(names) or r"(?!)"),
        ("dollar", rf"\$(?:{_LETTER}\w*)?\$" if dollar else r"(?!)"),
        ("word", _WORD),
        ("number", _NUMBER),
        ("punctuation", r"[()\[\]{},;.]"),
        ("operator", _OPERATOR),
    ]
    pattern = re.compile("|".join(f"(?P<{name}>{body})" for name, body in groups), re.DOTALL)
    return _Lexicon(pattern, bool(getattr(tokenizer, "NESTED_COMMENTS", True)), dollar)


def _delimited(opening: str, close: str, backslash: bool) -> str:
    """A pattern for what stands between two marks, to the text's end where the second is missing."""
    end = re.escape(close)
    inner = rf"(?:\\.|{end}{end}|(?!{end})[^\\])" if backslash else rf"(?:{end}{end}|(?!{end}).)"
    if len(close) == 1 and not backslash:
        inner = rf"(?:[^{end}]|{end}{end})"
    elif len(close) == 1:
        inner = rf"(?:[^{end}\\]|\\.|{end}{end})"
    return rf"{re.escape(opening)}{inner}*+(?:{end}|\\?\Z)"


def tokenize(text: str, dialect: str = "duckdb") -> list[Token]:
    """All tokens of a text, comments among them.

    What no closing mark ends is a token that is not `finished` and reaches to the end of the text.

    Raises:
        InputError: sqlglot has no such dialect.
    """
    lexicon = _lexicon(dialect)
    match = lexicon.pattern.search
    found: list[Token] = []
    add = found.append
    at = 0
    while (hit := match(text, at)) is not None:
        group = hit.lastgroup
        start, at = hit.span()
        if group == "word":
            piece = hit.group()
            add(Token("word", start, at, piece, piece.upper()))
        elif group == "block":
            at, finished = _comment_end(text, at, lexicon.nested_comments)
            piece = text[start:at]
            add(Token("comment", start, at, piece, piece, finished))
        elif group == "dollar":
            close = text.find(hit.group(), at)
            at = len(text) if close < 0 else close + len(hit.group())
            piece = text[start:at]
            add(Token("string", start, at, piece, piece, close >= 0))
        elif group in ("string", "quoted"):
            piece = hit.group()
            add(Token(group, start, at, piece, piece, at < len(text) or _closed(hit, lexicon)))  # type: ignore[arg-type]
        else:
            piece = hit.group()
            add(Token(group, start, at, piece, piece))  # type: ignore[arg-type]
    return found


def _closed(hit: re.Match[str], lexicon: _Lexicon) -> bool:
    """Whether the last token of a text, a string or a quoted name, has its closing mark.

    The pattern takes the text's end for a closing mark; with one more character behind it, it would not end there.
    """
    piece = hit.group()
    longer = lexicon.pattern.match(piece + " ")
    return longer is not None and longer.end() == len(piece)


def _comment_end(text: str, at: int, nested: bool) -> tuple[int, bool]:
    depth = 1
    for mark in re.compile(r"/\*|\*/").finditer(text, at):
        if mark.group() == "*/":
            depth -= 1
        elif nested:
            depth += 1
        if depth == 0:
            return mark.end(), True
    return len(text), False


def code(tokens: Iterable[Token]) -> list[Token]:
    """The tokens without comments."""
    return [token for token in tokens if token.kind != "comment"]


def first_word(text: str, dialect: str = "duckdb") -> str:
    """The first token that is neither a comment nor a `;`, a word in capitals; "" where there is none."""
    return next((token.upper for token in code(tokenize(text, dialect)) if token.text != ";"), "")


def names_in(text: str, dialect: str = "duckdb") -> frozenset[str]:
    """Every word and quoted name of a text, folded to small letters."""
    return frozenset(token.name.lower() for token in code(tokenize(text, dialect)) if token.is_name)


def check_cursor(text: str, cursor: int | None) -> int:
    """The cursor, the text's end for None.

    Raises:
        InputError: it is not within the text.
    """
    if cursor is None:
        return len(text)
    if not 0 <= cursor <= len(text):
        raise InputError(f"the cursor is at {cursor}, outside a text of {len(text)} characters")
    return cursor


def statements(text: str, dialect: str = "duckdb") -> list[Span]:
    """Where the statements of a text are, split at each `;` that is no part of a string, name or comment.

    A statement reaches from its first token to the end of its last, comments around it and the `;` left out; blank
    ones are no statements.
    """
    return _split(tokenize(text, dialect))


def _split(tokens: Sequence[Token]) -> list[Span]:
    found: list[Span] = []
    start: int | None = None
    end = 0
    for token in tokens:
        if token.kind == "comment":
            continue
        if token.text == ";":
            if start is not None:
                found.append(Span(start, end))
            start = None
            continue
        if start is None:
            start = token.start
        end = token.end
    if start is not None:
        found.append(Span(start, end))
    return found


def statement_at(text: str, cursor: int | None = None, dialect: str = "duckdb") -> Span:
    """The statement that holds the cursor; between two statements the one before, or the first if none is before.

    A cursor that touches two (`SELECT 1;|SELECT 2`) is in the later. An empty span at the cursor for a text with
    no statement.

    Args:
        cursor: in code points; None: the end of the text.
    """
    cursor = check_cursor(text, cursor)
    before: Span | None = None
    first: Span | None = None
    for span in _split(tokenize(text, dialect)):
        first = first or span
        if span.start <= cursor:
            before = span
    return before or first or Span(cursor, cursor)


def depth_at(tokens: Iterable[Token], cursor: int) -> int:
    """How many round parentheses are open before the cursor."""
    depth = 0
    for token in tokens:
        if token.start >= cursor:
            break
        if token.text == "(":
            depth += 1
        elif token.text == ")":
            depth = max(0, depth - 1)
        elif token.text == ";":
            depth = 0
    return depth


_SETS = frozenset({"UNION", "INTERSECT", "EXCEPT", "MINUS"})
_OPENING = _SETS | {
    "SELECT", "FROM", "WHERE", "HAVING", "LIMIT", "OFFSET", "QUALIFY", "WINDOW", "WITH", "VALUES", "BY", "ON", "JOIN"
}  # fmt: skip


def places(tokens: Sequence[Token]) -> Iterator[Place]:
    """Where a cursor stands behind each of the tokens, judged by what is before it.

    Args:
        tokens: of one statement or of a text with several; comments may be among them.
    """
    frames = [_Frame(0, query=True)]
    previous = ""
    fresh = True  # whether the next token begins a statement
    path: tuple[str, ...] = ()
    for token in tokens:
        if fresh and token.kind != "comment":
            frames[-1].start = token.start
            fresh = False
        if token.kind == "comment":
            pass
        elif token.text == "(":
            frames.append(_Frame(token.end))
        elif token.text == ")":
            if len(frames) > 1:
                frames.pop()
                path = _path(frames)
        elif token.text == ";":
            frames, fresh, path = [_Frame(token.end, query=True)], True, ()
        elif token.kind == "word" and token.upper in _OPENING:
            frames[-1].read(token, previous)
            path = _path(frames)
        if token.kind != "comment":
            previous = token.upper
        start = next(frame.start for frame in reversed(frames) if frame.query)
        yield Place(path, len(frames) - 1, start)


@dataclass
class _Frame:
    """An open parenthesis, or the statement."""

    start: int
    clause: str = ""
    query: bool = False

    def read(self, token: Token, previous: str) -> None:
        word = token.upper
        if word in ("SELECT", "WITH", "VALUES") or (word == "FROM" and previous in ("(", "")):
            if not self.query or self.clause in ("", "SET"):
                self.start = token.start
            self.clause, self.query = word, True
        elif not self.query:
            return
        elif word == "BY":
            if previous in ("GROUP", "ORDER"):
                self.clause = f"{previous} BY"
        elif word in ("ON", "JOIN"):
            if self.clause in ("FROM", "ON"):
                self.clause = "ON" if word == "ON" else "FROM"
        elif word in _SETS:
            self.clause = "SET"
        elif not (word == "FROM" and previous == "DISTINCT" and self.clause != "SELECT"):
            self.clause = word


def _path(frames: Sequence[_Frame]) -> tuple[str, ...]:
    return tuple(frame.clause for frame in frames if frame.query and frame.clause)


def clause_at(tokens: Sequence[Token], cursor: int) -> Place:
    """In which clause of which query the cursor stands, judged by what is before it.

    A word that the cursor touches is still being typed and does not count.

    Args:
        tokens: of one statement or of a text with several; comments may be among them.
        cursor: in code points.
    """
    place = Place((), 0, tokens[0].start if tokens else 0)
    for token, here in zip(tokens, places(tokens), strict=True):
        if token.end > cursor or (token.end == cursor and token.kind == "word"):
            break
        place = here
    return place
