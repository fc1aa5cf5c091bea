"""Tokens, statements and the cursor's clause, of any text."""

from __future__ import annotations

from itertools import pairwise

import pytest
import sqlglot
from hypothesis import given
from hypothesis import strategies as st

from firsthand.errors import InputError
from firsthand.query.speql.text import (
    Span,
    clause_at,
    code,
    depth_at,
    places,
    statement_at,
    statements,
    tokenize,
)

SQL = """-- héllo
WITH a AS (SELECT 'é😀;' AS x, "q""uote" FROM t /* c /* nested */ ; */ WHERE y <> 1.5e3 AND z ->> 'k' = $$a;b$$)
SELECT x::int, E'a\\'b', 0.5, a.* FROM a WHERE x > 2 OR NOT x IN (1, 2) -- end"""


def test_offsets_are_code_points_and_agree_with_sqlglot():
    ours = code(tokenize(SQL))
    assert all(SQL[t.start : t.end] == t.text for t in ours)
    theirs = sqlglot.tokenize(SQL, read="duckdb")
    assert [(t.start, t.end) for t in ours] == [(t.start, t.end + 1) for t in theirs]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("SELECT 'ab", "string"),
        ("SELECT 'a''", "string"),
        ("SELECT '", "string"),
        ("SELECT E'a\\'", "string"),
        ("SELECT $x$ a $", "string"),
        ('SELECT "a', "quoted"),
        ("SELECT /* a /* b */", "comment"),
    ],
)
def test_unfinished(text, kind):
    last = tokenize(text)[-1]
    assert (last.kind, last.finished, last.end) == (kind, False, len(text))


@pytest.mark.parametrize("text", ["'ab'", "'a'''", "E'a\\''", "$$ $ $$", '"a"""', "/* a */", "-- a", "''"])
def test_finished(text):
    (only,) = tokenize(text)
    assert only.finished
    assert only.text == text


def test_dialects():
    assert [t.kind for t in tokenize("`a` \"b\" 'c\\'d' # x", "mysql")] == [
        "quoted",
        "string",
        "string",
        "comment",
    ]
    assert [t.kind for t in tokenize("'a\\' b", "trino")] == ["string", "word"]
    assert tokenize("'a\\'", "spark")[0].finished is False
    with pytest.raises(InputError, match="klingon"):
        tokenize("SELECT", "klingon")


def test_statements():
    text = "SELECT ';' ; /* ; */ ;\n SELECT \"é;\" -- ;\n ; "
    assert [text[s.start : s.end] for s in statements(text)] == ["SELECT ';'", 'SELECT "é;"']
    assert statements(" ; -- x\n;") == []


def test_statement_at():
    text = "SELECT 1; SELECT 😀2 ;  "
    one, two = Span(0, 8), Span(10, 19)
    assert [statement_at(text, i) for i in (0, 8, 9)] == [one] * 3
    assert [statement_at(text, i) for i in (10, 15, 20, len(text))] == [two] * 4
    assert statement_at("  SELECT 1", 0) == Span(2, 10)
    assert statement_at("SELECT 1;SELECT 2", 9) == Span(9, 17)
    assert statement_at("SELECT 1; ;", 11) == one
    assert statement_at("  ", 1) == Span(1, 1)
    with pytest.raises(InputError, match="outside"):
        statement_at("SELECT", 7)


@pytest.mark.parametrize(
    ("text", "path", "depth"),
    [
        ("", (), 0),
        ("SELECT a, ", ("SELECT",), 0),
        ("SELECT a FROM", ("SELECT",), 0),  # the cursor still touches the word
        ("SELECT a FROM ", ("FROM",), 0),
        ("SELECT a FROM t JOIN u ON x = ", ("ON",), 0),
        ("SELECT a FROM t JOIN u ON x = y JOIN ", ("FROM",), 0),
        ("SELECT a FROM t WHERE EXTRACT(year FROM ", ("WHERE",), 1),
        ("SELECT a FROM t WHERE x IS DISTINCT FROM ", ("WHERE",), 0),
        ("WITH a AS (SELECT x FROM (SELECT y FROM t WHERE u IN (1,2) AND ", ("WITH", "FROM", "WHERE"), 2),
        ("SELECT a FROM t GROUP BY a ORDER BY ", ("ORDER BY",), 0),
        ("SELECT a FROM t UNION ", ("SET",), 0),
        ("SELECT a FROM t; SELECT ", ("SELECT",), 0),
    ],
)
def test_clause_at(text, path, depth):
    tokens = tokenize(text)
    assert clause_at(tokens, len(text)).path == path
    assert depth_at(tokens, len(text)) == depth


@given(st.text(alphabet="SELECT fromé😀'\"`$/*-\n;(),.0123456789\\"))
def test_any_text(text):
    tokens = tokenize(text)
    assert all(text[t.start : t.end] == t.text != "" for t in tokens)
    assert all(a.end <= b.start and a.finished for a, b in pairwise(tokens))
    between = "".join(
        text[a:b]
        for a, b in zip([0, *[t.end for t in tokens]], [*[t.start for t in tokens], len(text)], strict=True)
    )
    assert between.strip() == ""
    assert len(list(places(tokens))) == len(tokens)
    for cursor in (0, len(text) // 2, len(text)):
        span = statement_at(text, cursor)
        assert 0 <= span.start <= span.end <= len(text)
