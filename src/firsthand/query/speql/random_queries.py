"""Random tables and random queries over them, written line by line as a person types them.

Small values, many NULLs and many equal rows, so that joins meet, groups have several rows and a wrong rewriting shows.
Everything is drawn from one seed. Queries are valid for DuckDB and have one answer (as a bag) each.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from firsthand.query.speql.schema import Schema

__all__ = ["World", "draw_query", "draw_world", "edited"]

_TYPES = {"i": "INTEGER", "d": "DECIMAL(7,2)", "f": "DOUBLE", "s": "VARCHAR", "t": "DATE"}
_WORDS = ("ab", "b", "Ab", "", "c'd")
_DAYS = tuple(f"2000-01-{day:02}" for day in (1, 2, 3, 15))


@dataclass(frozen=True)
class World:
    """Tables and the statements that make them."""

    schema: Schema
    statements: tuple[str, ...]


def draw_world(seed: int, most_rows: int = 60) -> World:
    """Two to four tables of two to six columns and up to `most_rows` rows."""
    rng = random.Random(f"world {seed}")
    tables: dict[str, dict[str, str]] = {}
    statements = []
    for number in range(rng.randint(2, 4)):
        name = f"t{number}"
        columns = {f"k{number if rng.random() < 0.5 else ''}": "INTEGER"}
        for place in range(rng.randint(1, 5)):
            letter = rng.choice("iidfsstt")
            columns[f"{letter}{place}{number if rng.random() < 0.6 else ''}"] = _TYPES[letter]
        tables[name] = columns
        described = ", ".join(f"{column} {kind}" for column, kind in columns.items())
        statements.append(f"CREATE TABLE {name} ({described})")
        rows = [
            "("
            + ", ".join("NULL" if rng.random() < 0.15 else _value(rng, column[0]) for column in columns)
            + ")"
            for _ in range(rng.choice((0, 1, rng.randint(2, most_rows), rng.randint(2, most_rows))))
        ]
        if rows:
            statements.append(f"INSERT INTO {name} VALUES {', '.join(rows)}")
    return World(Schema.of(tables), tuple(statements))


def _value(rng: random.Random, letter: str) -> str:
    if letter in "ki":
        return str(rng.randint(-1, 6))
    if letter == "d":
        return f"{rng.randint(-200, 600) / 100:.2f}"
    if letter == "f":
        return rng.choice(("0.5", "1e0", "-2.25", "3", "1e300", "0.1"))
    if letter == "t":
        return f"DATE '{rng.choice(_DAYS)}'"
    return "'" + rng.choice(_WORDS).replace("'", "''") + "'"


def draw_query(world: World, seed: int) -> list[str]:
    """A query as lines: each prefix of them is what an editor holds at some moment."""
    drawing = _Drawing(world, random.Random(f"query {seed}"))
    return drawing.statement()


def edited(lines: list[str], seed: int) -> list[str]:
    """The query as its author might change it next: another constant, a condition less, coarser groups, no limit."""
    rng = random.Random(f"edit {seed}")
    ways = [
        _other_constant,
        _other_constant,
        _one_less("  AND "),
        _one_less("HAVING"),
        _coarser,
        _coarser,
        _one_less("LIMIT"),
    ]
    for way in rng.sample(ways, len(ways)):
        found = way(list(lines), rng)
        if found != lines:
            return found
    return lines


def _one_less(start: str) -> Callable[[list[str], random.Random], list[str]]:
    def edit(lines: list[str], rng: random.Random) -> list[str]:
        places = [place for place, line in enumerate(lines) if line.lstrip().startswith(start.strip() + " ")]
        if places:
            lines.pop(rng.choice(places))
        return lines

    return edit


def _coarser(lines: list[str], rng: random.Random) -> list[str]:
    """One or all of a GROUP BY's columns fewer, in the SELECT list too; ORDER BY goes, which may name them."""
    places = [n for n, line in enumerate(lines) if line.lstrip().startswith("GROUP BY ") and "(" not in line]
    if not places:
        return lines
    place = rng.choice(places)
    indent, _, listed = lines[place].partition("GROUP BY ")
    keys = listed.split(", ")
    kept = [] if rng.random() < 0.3 else [key for n, key in enumerate(keys) if n != rng.randrange(len(keys))]
    head = max(
        n for n in range(place) if lines[n].lstrip().startswith(("SELECT ", "WITH ")) and "SELECT" in lines[n]
    )
    before, _, outputs = lines[head].partition("SELECT ")
    names = [
        one
        for one in outputs.split(", ")
        if not any(one.startswith(f"{key} AS ") for key in set(keys) - set(kept))
    ]
    lines[head] = f"{before}SELECT {', '.join(names)}"
    lines[place : place + 1] = [f"{indent}GROUP BY {', '.join(kept)}"] if kept else []
    return [line for line in lines if not line.startswith(("ORDER BY", "LIMIT"))]


def _other_constant(lines: list[str], rng: random.Random) -> list[str]:
    """One of its numbers, texts or days changed; itself where it has none."""
    text = "\n".join(lines)
    places = [
        (start, start + len(token), other)
        for token, others in (
            *((f" {n}", [f" {m}" for m in range(7) if m != n]) for n in range(7)),
            *(
                (f"'{word}'", [f"'{one}'" for one in ("ab", "b", "Ab") if one != word])
                for word in ("ab", "b", "Ab")
            ),
            *((day, [one for one in _DAYS if one != day]) for day in _DAYS),
        )
        for start in _occurrences(text, token)
        for other in others
    ]
    if not places:
        return lines
    start, end, other = rng.choice(places)
    return (text[:start] + other + text[end:]).split("\n")


def _occurrences(text: str, token: str) -> list[int]:
    found = []
    place = text.find(token)
    while place >= 0:
        after = text[place + len(token) : place + len(token) + 1]
        line = text[text.rfind("\n", 0, place) + 1 : place]
        if not (after.isalnum() or after in ("_", ".")) and not line.lstrip().startswith(
            ("ORDER", "LIMIT", "GROUP")
        ):
            found.append(place)
        place = text.find(token, place + 1)
    return found


@dataclass
class _Source:
    """A table, CTE or derived table in a FROM clause: its alias and columns (name, letter of its type)."""

    alias: str
    columns: list[tuple[str, str]]


class _Drawing:
    """One query being drawn."""

    def __init__(self, world: World, rng: random.Random) -> None:
        self.rng = rng
        self.tables = {
            table.name: [(c.name, c.name[0]) for c in table.columns] for table in world.schema.tables
        }
        self.ctes: dict[str, list[tuple[str, str]]] = {}
        self.aliases = 0

    def chance(self, share: float) -> bool:
        return self.rng.random() < share

    def statement(self) -> list[str]:
        lines: list[str] = []
        for number in range(self.rng.choice((0, 0, 0, 1, 2))):
            body, columns = self.select(depth=1)
            name = f"c{number}"
            lines += [("WITH " if number == 0 else "") + f"{name} AS (", *("  " + line for line in body), ")"]
            self.ctes[name] = columns
        if self.ctes:
            lines = _with_commas(lines, len(self.ctes))
        if self.chance(0.12):
            left, columns = self.select(depth=1, plain=True)
            right, _ = self.select(depth=1, plain=True, like=columns)
            word = self.rng.choice(("UNION ALL", "UNION", "INTERSECT", "EXCEPT"))
            lines += [*left, word, *right]
        else:
            body, columns = self.select(depth=0)
            lines += body
        return lines + self.order(columns)

    def order(self, columns: list[tuple[str, str]]) -> list[str]:
        found = []
        if self.chance(0.5):
            count = self.rng.randint(1, len(columns))
            terms = [
                f"{self.rng.choice((name, str(place + 1)))}{self.rng.choice(('', ' DESC', ' NULLS FIRST'))}"
                for place, (name, _) in enumerate(columns)
            ][:count]
            found.append("ORDER BY " + ", ".join(terms))
            if self.chance(0.5):
                offset = f" OFFSET {self.rng.randint(0, 2)}" if self.chance(0.2) else ""
                found.append(f"LIMIT {self.rng.randint(1, 8)}{offset}")
        return found

    def select(
        self, depth: int, *, plain: bool = False, like: list[tuple[str, str]] | None = None
    ) -> tuple[list[str], list[tuple[str, str]]]:
        """Lines of one SELECT and its outputs."""
        sources, joins = self.sources(depth)
        every = [(source.alias, name, letter) for source in sources for name, letter in source.columns]
        where = self.conditions(every, depth)
        if like is not None or (plain and self.chance(0.7)) or self.chance(0.4):
            outputs = self.plain(every, like)
            distinct = "DISTINCT " if self.chance(0.12) else ""
            if not plain and like is None and not distinct and self.chance(0.12):
                outputs.append(self.window(every))
            head = f"SELECT {distinct}" + ", ".join(f"{text} AS {name}" for text, name, _ in outputs)
            return [head, *joins, *where], [(name, letter) for _, name, letter in outputs]
        return self.grouped(every, joins, where)

    def plain(
        self, every: list[tuple[str, str, str]], like: list[tuple[str, str]] | None
    ) -> list[tuple[str, str, str]]:
        found = []
        for place in range(len(like) if like is not None else self.rng.randint(1, 4)):
            wanted = like[place][1] if like is not None else ""
            same = (
                [one for one in every if one[2] in ("ki" if wanted in "ki" else wanted)] if wanted else every
            )
            if not same:
                found.append((f"CAST(NULL AS {_TYPES.get(wanted, 'INTEGER')})", f"o{place}", wanted))
                continue
            alias, name, letter = self.rng.choice(same)
            text = f"{alias}.{name}"
            if letter in "ki" and self.chance(0.15):
                text, letter = f"{text} + 1", "i"
            elif letter == "s" and self.chance(0.1):
                text = f"upper({text})"
            found.append((text, f"o{place}", letter))
        return found

    def window(self, every: list[tuple[str, str, str]]) -> tuple[str, str, str]:
        alias, name, _ = self.rng.choice(every)
        numbers = [f"{a}.{n}" for a, n, letter in every if letter in "kid"]
        part = f"PARTITION BY {alias}.{name}"
        if numbers and self.chance(0.6):
            return f"SUM({self.rng.choice(numbers)}) OVER ({part})", "w", "i"
        return f"COUNT(*) OVER ({part})", "w", "i"

    def grouped(
        self, every: list[tuple[str, str, str]], joins: list[str], where: list[str]
    ) -> tuple[list[str], list[tuple[str, str]]]:
        keys = self.rng.sample(every, min(len(every), self.rng.choice((0, 1, 1, 2, 2, 3))))
        outputs = [
            (f"{alias}.{name}", f"g{place}", letter) for place, (alias, name, letter) in enumerate(keys)
        ]
        if outputs and outputs[0][2] in "ki" and self.chance(0.15):
            outputs[0] = (f"{outputs[0][0]} % 2", "g0", "i")
        texts = [text for text, _, _ in outputs]
        if len(outputs) > 1 and self.chance(0.2):
            outputs.pop()
        aggregates = [self.aggregate(every) for _ in range(self.rng.randint(1, 3))]
        outputs += [(text, f"a{place}", letter) for place, (text, letter) in enumerate(aggregates)]
        lines = ["SELECT " + ", ".join(f"{text} AS {name}" for text, name, _ in outputs), *joins, *where]
        if texts:
            word = self.rng.choice(("", "", "", "", "ROLLUP", "CUBE")) if len(texts) < 3 else ""
            lines.append(f"GROUP BY {word}({', '.join(texts)})" if word else f"GROUP BY {', '.join(texts)}")
        if self.chance(0.2):
            lines.append(f"HAVING COUNT(*) > {self.rng.randint(0, 3)}")
        return lines, [(name, letter) for _, name, letter in outputs]

    def aggregate(self, every: list[tuple[str, str, str]]) -> tuple[str, str]:
        alias, name, letter = self.rng.choice(every)
        column = f"{alias}.{name}"
        options = [
            ("COUNT(*)", "i"),
            (f"COUNT({column})", "i"),
            (f"MIN({column})", letter),
            (f"MAX({column})", letter),
        ]
        options += [(f"COUNT(DISTINCT {column})", "i")]
        if letter in "kid":
            options += [
                (f"SUM({column})", "d"),
                (f"AVG({column})", "f"),
                (f"SUM({column}) + COUNT(*)", "d"),
            ] * 2
            options += [(f"SUM(CASE WHEN {column} > 2 THEN 1 ELSE 0 END)", "d")]
            options += [(f"COUNT(*) FILTER (WHERE {column} > 1)", "i")]
        return self.rng.choice(options)

    def sources(self, depth: int) -> tuple[list[_Source], list[str]]:
        count = self.rng.choice((1, 1, 2, 2, 3)) if depth < 2 else 1
        found = [self.source(depth) for _ in range(count)]
        sources = [source for source, _ in found]
        first = found[0][1]
        if count == 1:
            return sources, [f"FROM {first}"]
        commas = self.chance(0.5)
        lines = []
        if commas:
            lines.append("FROM " + ", ".join(text for _, text in found))
            return sources, lines
        lines.append(f"FROM {first}")
        for place, (source, text) in enumerate(found[1:], 1):
            kind = self.rng.choice(("JOIN", "JOIN", "LEFT JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"))
            earlier = [(one.alias, name, letter) for one in sources[:place] for name, letter in one.columns]
            mine = [(source.alias, name, letter) for name, letter in source.columns]
            on = self.equality(earlier, mine)
            if on is None:
                on, kind = "1 = 1", "JOIN"
            elif self.chance(0.2):
                on += " AND " + self.comparison(mine)
            lines.append(f"{kind} {text} ON {on}")
        return sources, lines

    def source(self, depth: int) -> tuple[_Source, str]:
        self.aliases += 1
        alias = f"r{self.aliases}"
        if self.ctes and self.chance(0.5):
            name = self.rng.choice(list(self.ctes))
            return _Source(alias, self.ctes[name]), f"{name} {alias}"
        if depth == 0 and self.chance(0.1):
            body, columns = self.select(depth=2)
            return _Source(alias, columns), f"({' '.join(body)}) {alias}"
        name = self.rng.choice(list(self.tables))
        return _Source(alias, self.tables[name]), f"{name} {alias}"

    def equality(self, left: list[tuple[str, str, str]], right: list[tuple[str, str, str]]) -> str | None:
        pairs = [(a, b) for a in left for b in right if a[2] == b[2] or {a[2], b[2]} <= {"k", "i"}]
        if not pairs:
            return None
        a, b = self.rng.choice(pairs)
        return f"{a[0]}.{a[1]} = {b[0]}.{b[1]}"

    def conditions(self, every: list[tuple[str, str, str]], depth: int) -> list[str]:
        lines = []
        aliases = sorted({alias for alias, _, _ in every})
        for place in range(1, len(aliases)):  # so that comma joins do not grow without bound
            left = [one for one in every if one[0] in aliases[:place]]
            right = [one for one in every if one[0] == aliases[place]]
            on = self.equality(left, right)
            if on is not None and self.chance(0.8):
                lines.append(on)
        for _ in range(self.rng.choice((0, 1, 1, 2, 2, 3))):
            lines.append(self.condition(every, depth))
        return [("WHERE " if place == 0 else "  AND ") + line for place, line in enumerate(lines)]

    def condition(self, every: list[tuple[str, str, str]], depth: int) -> str:
        roll = self.rng.random()
        if roll < 0.6:
            return self.comparison(every)
        if roll < 0.72:
            return f"({self.comparison(every)} OR {self.comparison(every)})"
        if roll < 0.78:
            return f"NOT ({self.comparison(every)})"
        if roll < 0.88 and depth < 2:
            return self.subquery(every)
        alias, name, letter = self.rng.choice(every)
        other = self.rng.choice([one for one in every if one[2] == letter])
        return f"{alias}.{name} {self.rng.choice(('<', '>=', '<>'))} {other[0]}.{other[1]}"

    def subquery(self, every: list[tuple[str, str, str]]) -> str:
        table = self.rng.choice(list(self.tables))
        self.aliases += 1
        inner = f"q{self.aliases}"
        columns = [(inner, name, letter) for name, letter in self.tables[table]]
        pairs = [(a, b) for a in every for b in columns if a[2] == b[2]]
        if not pairs:
            return self.comparison(every)
        a, b = self.rng.choice(pairs)
        negated = "NOT " if self.chance(0.3) else ""
        filter_ = f" WHERE {self.comparison(columns)}" if self.chance(0.7) else ""
        if self.chance(0.4):
            joined = f"{b[0]}.{b[1]} = {a[0]}.{a[1]}"
            also = f" AND {self.comparison(columns)}" if filter_ else ""
            return f"{negated}EXISTS (SELECT 1 FROM {table} {inner} WHERE {joined}{also})"
        if self.chance(0.4) and a[2] in "kid":
            return f"{a[0]}.{a[1]} > (SELECT AVG({b[0]}.{b[1]}) FROM {table} {inner}{filter_})"
        return f"{a[0]}.{a[1]} {negated}IN (SELECT {b[0]}.{b[1]} FROM {table} {inner}{filter_})"

    def comparison(self, every: list[tuple[str, str, str]]) -> str:
        alias, name, letter = self.rng.choice(every)
        column = f"{alias}.{name}"
        if self.chance(0.07):
            return f"{column} IS {self.rng.choice(('', 'NOT '))}NULL"
        if letter in "kidf":
            low, high = sorted((self.rng.randint(0, 6), self.rng.randint(0, 6)))
            return self.rng.choice(
                (
                    f"{column} {self.rng.choice(('>', '<', '>=', '<=', '=', '<>'))} {low}",
                    f"{column} {self.rng.choice(('>', '<', '>=', '<=', '=', '<>'))} {high}",
                    f"{column} BETWEEN {low} AND {high}",
                    f"{column} IN ({low}, {high})",
                    f" {low} < {column}",
                )
            )
        if letter == "t":
            day = self.rng.choice(_DAYS)
            sign = self.rng.choice((">", "<=", "=", "<"))
            return self.rng.choice((f"{column} {sign} '{day}'", f"{column} {sign} DATE '{day}'"))
        word = self.rng.choice(("ab", "b", "Ab"))
        return self.rng.choice(
            (
                f"{column} = '{word}'",
                f"{column} IN ('{word}', 'b')",
                f"{column} LIKE '%b'",
                f"{column} <> '{word}'",
            )
        )


def _with_commas(lines: list[str], count: int) -> list[str]:
    """Commas behind every CTE but the last, on its closing line."""
    closings = [place for place, line in enumerate(lines) if line == ")"]
    for place in closings[: count - 1]:
        lines[place] = "),"
    return lines
