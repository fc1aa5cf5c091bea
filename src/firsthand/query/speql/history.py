"""What is likely to be typed next, from queries that ran before.

Knows masked tokens of the last queries over a schema, and for each place in them which tables its query reads and in
which clause it is; knows no constant and no row. A guess is used for its names only: which columns will be wanted.
"""

from __future__ import annotations

import json
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rapidfuzz import fuzz, process

from firsthand.corpora.places import atomic_file
from firsthand.errors import InputError, NotFoundError
from firsthand.query.speql.outline import outline
from firsthand.query.speql.parts import Node
from firsthand.query.speql.schema import Schema, Table
from firsthand.query.speql.text import Token, code, places, statement_at, tokenize

__all__ = ["HistoryCompleter", "masked"]

MASK = "?"
_Key = tuple[frozenset[str], tuple[str, ...], str]  # tables, clause path, last token


def masked(sql: str, dialect: str = "duckdb") -> str:
    """A query with `?` for every number and string, and without comments: no value of a table is left in it."""
    parts: list[str] = []
    at = 0
    for token in tokenize(sql, dialect):
        if token.kind in ("number", "string", "comment") or not token.finished:
            parts += [sql[at : token.start], MASK if token.kind in ("number", "string") else " "]
            at = token.end
    return "".join(parts) + sql[at:]


@dataclass(frozen=True)
class _Past:
    """A query that ran.

    Attributes:
        sql: as it was accepted.
        masked_sql: the same with its literals masked.
        masked: its tokens, names folded, literals masked.
        aliases: base tables by folded alias, over all its FROM clauses.
    """

    sql: str
    masked_sql: str
    masked: tuple[str, ...]
    aliases: dict[str, set[str]]


class HistoryCompleter:
    """Completes a text with the remainder of the past query that agrees longest with what is before the cursor.

    Args:
        limit: how many queries to keep for a schema; the oldest is forgotten first.
    """

    def __init__(self, limit: int = 1000) -> None:
        if limit < 1:
            raise InputError(f"limit must be at least 1, not {limit}")
        self._limit = limit
        self._shelves: dict[Schema, _Shelf] = {}

    def __call__(self, prefix: str, suffix: str, schema: Schema, history: Sequence[str] = ()) -> str:
        """As `complete`; `history` is what this object keeps itself."""
        return self.complete(prefix, suffix, schema)

    def add(self, sql: str, schema: Schema) -> None:
        """Keep a query that ran. One that differs from an older in literals alone takes its place."""
        self._shelf(schema).add(sql)

    def queries(self, schema: Schema) -> list[str]:
        """The queries kept for a schema, the oldest first."""
        return [past.sql for past in self._shelf(schema).pasts.values()]

    def complete(self, prefix: str, suffix: str, schema: Schema) -> str:
        """What came behind the cursor in the best past query, literals as `?`; "" if there is none.

        Among past queries that read the same tables and had the cursor in the same clause, the best is the one whose
        masked tokens agree longest with those before the cursor, counted backwards; of several the last one. A word
        that the cursor touches is still being typed: the completion begins with it, whole.

        Args:
            prefix: the text before the cursor.
            suffix: the text behind it; it only decides where the statement begins.
            schema: what tables there are.
        """
        found = self._shelf(schema).best(prefix, suffix)
        return "" if found is None else " ".join(found[0].masked[found[1] :])

    def columns(self, prefix: str, suffix: str, schema: Schema) -> dict[str, frozenset[str]]:
        """The columns that are likely to be wanted, for each table of the FROM clause around the cursor.

        Args:
            prefix, suffix, schema: see `complete`.

        Returns:
            By alias, or by the table's name where it has none, as it is typed: columns in the catalog's words. A
            column counts where the completion has its very name: unqualified for every table that has it, qualified
            for the table that the qualifier stood for in the past query. Empty sets where there is no completion.
        """
        shelf = self._shelf(schema)
        sources = _sources_at(prefix, suffix, schema)
        found = shelf.best(prefix, suffix)
        if found is None:
            return {alias: frozenset() for alias in sources}
        past, at = found
        plain, qualified = _names(past, at)
        wanted: dict[str, frozenset[str]] = {}
        folded = {alias.lower() for alias in sources}
        for alias, table in sources.items():
            names = set(plain)
            for qualifier, name in qualified:
                bases = past.aliases.get(qualifier, set())
                same = qualifier == alias.lower() or qualifier not in folded
                if table.name.lower() in bases and same:
                    names.add(name)
            wanted[alias] = frozenset(c.name for key, c in table.by_name.items() if key in names)
        return wanted

    def nearest(self, sql: str, schema: Schema) -> str | None:
        """The past query most like a text, literals as `?`; None: there is none."""
        shelf = self._shelf(schema)
        known = [past.masked_sql for past in shelf.pasts.values()]
        hit = process.extractOne(masked(sql, schema.dialect), known, scorer=fuzz.token_set_ratio)
        return None if hit is None else str(hit[0])

    def save(self, path: str | Path, schema: Schema, *, literals: bool = False) -> None:
        """Write the queries of a schema as JSONL, the oldest first.

        Args:
            path: a .jsonl file.
            literals: write numbers and strings, too. By default they are masked: they come from the data.
        """
        pasts = self._shelf(schema).pasts.values()
        lines = [
            json.dumps({"sql": past.sql if literals else past.masked_sql}, ensure_ascii=False) + "\n"
            for past in pasts
        ]
        with atomic_file(Path(path)) as whole:
            whole.write_text("".join(lines), encoding="utf-8")

    def load(self, path: str | Path, schema: Schema) -> int:
        """Add the queries of a JSONL file; how many there were.

        Raises:
            NotFoundError: there is no such file.
            InputError: a line is no object with a text under "sql".
        """
        path = Path(path)
        if not path.is_file():
            raise NotFoundError(f"there is no history file {path}")
        count = 0
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if not line.strip():
                continue
            try:
                sql = json.loads(line)["sql"]
            except (ValueError, TypeError, LookupError):
                sql = None
            if not isinstance(sql, str):
                raise InputError(f'{path}, line {number}: no object with a text under "sql"')
            self.add(sql, schema)
            count += 1
        return count

    def _shelf(self, schema: Schema) -> _Shelf:
        if schema not in self._shelves:
            self._shelves[schema] = _Shelf(schema, self._limit)
        return self._shelves[schema]


class _Shelf:
    """The past queries of one schema and where their tokens are."""

    def __init__(self, schema: Schema, limit: int) -> None:
        self.schema = schema
        self.limit = limit
        self.pasts: OrderedDict[int, _Past] = OrderedDict()
        self._numbers: dict[tuple[str, ...], int] = {}
        self._next = 0
        self._index: dict[_Key, dict[str, dict[tuple[int, int], None]]] = {}

    def add(self, sql: str) -> None:
        tokens = code(tokenize(sql, self.schema.dialect))
        while tokens and tokens[-1].text == ";":
            tokens.pop()
        if not tokens:
            return
        words = _masked(tokens)
        old = self._numbers.pop(words, None)
        if old is not None:
            self._forget(old)
        while len(self.pasts) >= self.limit:
            self._forget(next(iter(self.pasts)))
        number = self._next
        self._next += 1
        self._numbers[words] = number
        aliases: dict[str, set[str]] = defaultdict(set)
        for node in outline(tokens).walk():
            if node.kind == "source":
                source = _source(node, tokens, self.schema)
                if source is not None:
                    aliases[source[0].lower()].add(source[1].name.lower())
        self.pasts[number] = _Past(sql, masked(sql, self.schema.dialect), words, dict(aliases))
        for at, (tables, path) in enumerate(_contexts(tokens, self.schema), start=1):
            key = (tables, path, words[at - 1])
            before = words[at - 2] if at > 1 else ""
            self._index.setdefault(key, {}).setdefault(before, {})[number, at] = None

    def _forget(self, number: int) -> None:
        past = self.pasts.pop(number)
        self._numbers.pop(past.masked, None)
        tokens = code(tokenize(past.sql, self.schema.dialect))[: len(past.masked)]
        for at, (tables, path) in enumerate(_contexts(tokens, self.schema), start=1):
            key = (tables, path, past.masked[at - 1])
            before = past.masked[at - 2] if at > 1 else ""
            self._index[key][before].pop((number, at))
            if not self._index[key][before]:
                del self._index[key][before]
            if not self._index[key]:
                del self._index[key]

    def best(self, prefix: str, suffix: str) -> tuple[_Past, int] | None:
        """The past query and the place in it that agree longest with a text; None: no token agrees."""
        start = statement_at(prefix + suffix, len(prefix), self.schema.dialect).start
        tokens = code(tokenize(prefix[start:], self.schema.dialect))
        begun = ""
        if tokens and tokens[-1].kind == "word" and tokens[-1].end == len(prefix) - start:
            begun = tokens.pop().text.lower()
        if tokens and not tokens[-1].finished:
            tokens.pop()
        if not tokens:
            return None
        words = _masked(tokens)
        tables, path = list(_contexts(tokens, self.schema))[-1]
        groups = self._index.get((tables, path, words[-1]), {})
        before = words[-2] if len(words) > 1 else ""
        sure = groups.get(before)
        hits: Iterable[tuple[int, int]] = (
            sure if sure else (hit for group in groups.values() for hit in group)
        )
        best: tuple[int, int, int] | None = None
        reverse = words[::-1]
        for number, at in hits:
            past = self.pasts[number].masked
            if begun and not (at < len(past) and past[at].startswith(begun)):
                continue
            length = 0
            for word in reverse:
                if length >= at or past[at - 1 - length] != word:
                    break
                length += 1
            if best is None or (length, number, at) > best:
                best = (length, number, at)
        return None if best is None else (self.pasts[best[1]], best[2])


def _masked(tokens: Iterable[Token]) -> tuple[str, ...]:
    return tuple(
        MASK if token.kind in ("number", "string") else token.name.lower() if token.is_name else token.text
        for token in tokens
    )


def _contexts(tokens: Sequence[Token], schema: Schema) -> Iterator[tuple[frozenset[str], tuple[str, ...]]]:
    """Behind each token: the tables that its query reads so far, and the path of clauses."""
    seen: dict[int, frozenset[str]] = {}
    none: frozenset[str] = frozenset()
    previous = ""
    for number, (token, place) in enumerate(zip(tokens, places(tokens), strict=True)):
        if token.is_name and previous in ("FROM", ",", "JOIN") and place.path and place.path[-1] == "FROM":
            last = number
            while last + 2 < len(tokens) and tokens[last + 1].text == "." and tokens[last + 2].is_name:
                last += 2
            name = ".".join(t.name for t in tokens[number : last + 1 : 2])
            table = schema.table(name) or schema.table(tokens[last].name)
            folded = (table.name if table is not None else name).lower()
            seen[place.start] = seen.get(place.start, none) | {folded}
        yield seen.get(place.start, none), place.path
        previous = token.upper


def _source(node: Node, tokens: Sequence[Token], schema: Schema) -> tuple[str, Table] | None:
    """Alias and table of a FROM member that names one of the schema's tables."""
    at = node.start
    parts: list[str] = []
    while at < node.end and tokens[at].is_name:
        parts.append(tokens[at].name)
        at += 1
        if at < node.end and tokens[at].text == ".":
            at += 1
        else:
            break
    if not parts:
        return None
    table = schema.table(".".join(parts)) or schema.table(parts[-1])
    if table is None:
        return None
    if at < node.end and tokens[at].upper == "AS":
        at += 1
    alias = tokens[at].name if at < node.end and tokens[at].is_name else parts[-1]
    return alias, table


def _sources_at(prefix: str, suffix: str, schema: Schema) -> dict[str, Table]:
    """Tables by alias of the innermost query around the cursor."""
    text = prefix + suffix
    span = statement_at(text, len(prefix), schema.dialect)
    tokens = code(tokenize(text[span.start : span.end], schema.dialect))
    here = len(prefix) - span.start
    select: Node | None = None
    for node in outline(tokens).walk():
        if node.kind != "select" or node.name == "(" or node.start >= node.end:
            continue
        paren = node.up("paren")
        ends_open = paren is None or not paren.closed
        reach = tokens[node.end - 1].end
        if node.end < len(tokens):
            reach = max(reach, tokens[node.end].start)
        if tokens[node.start].start <= here and (here <= reach or (ends_open and node.end == len(tokens))):
            select = node
    clause = select.child("clause", "FROM") if select is not None else None
    found: dict[str, Table] = {}
    for node in clause.walk() if clause is not None else ():
        if node.kind == "source" and node.up("select") is select:
            source = _source(node, tokens, schema)
            if source is not None:
                found[source[0]] = source[1]
    return found


def _names(past: _Past, at: int) -> tuple[set[str], set[tuple[str, str]]]:
    """Names in what follows a place of a past query: plain ones, and (qualifier, name)."""
    words = past.masked
    plain: set[str] = set()
    qualified: set[tuple[str, str]] = set()
    for place in range(at, len(words)):
        if place + 1 < len(words) and words[place + 1] in (".", "("):
            continue
        if place >= 2 and words[place - 1] == ".":
            qualified.add((words[place - 2], words[place]))
        else:
            plain.add(words[place])
    return plain, qualified
