"""PostgreSQL's own words: its catalog, its plans, the moment that its data is of, its values as Arrow columns.

Pure but for the queries that it names: `sqlalchemy_engine` runs them. The one thing here that an answer's truth rests
on is `Moment`; see there.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from firsthand.query.speql.engine import Plan, refuse_all_but_one_query
from firsthand.query.speql.errors import QueryFailed, UnsafeStatement
from firsthand.query.speql.reasoning import VOLATILE
from firsthand.query.speql.text import Token, code, first_word, names_in, tokenize

__all__ = [
    "FUNCTIONS",
    "RELATIONS",
    "Moment",
    "arrow_column",
    "plan_of",
    "refuse_unsafe",
    "unsettled",
    "volatile_names",
]

RELATIONS = """
SELECT c.relname, c.relkind::text, c.reltuples, pg_get_viewdef(c.oid),
       EXISTS (SELECT FROM pg_partition_tree(c.oid) p JOIN pg_class l ON l.oid = p.relid WHERE l.relkind = 'f')
           OR EXISTS (SELECT FROM pg_inherits i JOIN pg_class l ON l.oid = i.inhrelid
                      WHERE i.inhparent = c.oid AND l.relkind = 'f')
FROM pg_class c
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relnamespace = current_schema()::regnamespace
  AND pg_table_is_visible(c.oid) AND has_table_privilege(c.oid, 'SELECT')
"""
"""Relations that an unqualified name of the default schema means: name, kind, estimated rows, what a view says, and
whether rows of a foreign table are among its own."""

FUNCTIONS = """
SELECT DISTINCT p.proname, p.provolatile::text, n.nspname = 'pg_catalog'
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE p.provolatile <> 'i'
"""
"""Functions that are not immutable: name, "v" or "s", and whether they are PostgreSQL's own."""

# Stable functions of PostgreSQL's own whose values rest on the data and on settings alone, and settings stay as they
# are while a session lasts. Of the other stable ones some tell the time, and some what the server does.
_STEADY = frozenset(
    {
        "date_trunc", "date_part", "extract", "timezone", "to_char", "to_date", "to_timestamp", "to_number",
        "timestamptz", "timestamp", "date", "time", "timetz", "text", "concat", "concat_ws", "format",
        "array_to_string", "string_to_array", "to_json", "to_jsonb", "row_to_json", "json_build_object",
        "json_build_array",
        "jsonb_build_object", "jsonb_build_array", "array_to_json", "json_agg", "jsonb_agg", "json_object_agg",
        "jsonb_object_agg", "generate_series", "to_tsvector", "to_tsquery", "plainto_tsquery", "length", "convert",
        "quote_literal", "quote_nullable", "timestamptz_cmp_date", "overlaps", "interval_pl_timestamptz",
    }
)  # fmt: skip


def volatile_names(functions: Sequence[tuple[str, str, bool]]) -> frozenset[str]:
    """Names of functions whose values are not those of the data alone, from the rows of `FUNCTIONS`.

    All volatile ones; of the stable ones those that a user wrote, for they may ask for the time, and PostgreSQL's own
    but for `date_trunc` and its like. `age(x)` counts from today.
    """
    return VOLATILE | {name for name, kind, own in functions if kind == "v" or not own or name not in _STEADY}


def unsettled(
    views: Mapping[str, str], foreign: Collection[str], volatile: Collection[str]
) -> frozenset[str]:
    """Folded names of tables whose rows may differ though no transaction changed anything here.

    Foreign tables change elsewhere. A view may call a function that differs from call to call, or read one of these.

    Args:
        views: definitions by folded name.
        foreign: folded names of foreign tables, and of tables with foreign parts.
    """
    words = {name: names_in(sql, "postgres") for name, sql in views.items()}
    bad = set(foreign) | {name for name, used in words.items() if used & set(volatile)}
    while more := {name for name, used in words.items() if name not in bad and used & bad}:
        bad |= more
    return frozenset(bad)


# --- the moment that data is of ----------------------------------------------------------------------


@dataclass(frozen=True)
class Moment:
    """Which transactions of others a query sees: equal moments are equal data.

    PostgreSQL says `pg_current_snapshot()` as `xmin:xmax:in progress`: every transaction that wrote anything and is
    numbered below xmax is seen, but for those in progress. Whoever writes, reads of a table change only with that set.
    What we write ourselves lies in a schema of our own, so our own transactions are taken out of it: xmax goes back to
    behind the last transaction of somebody else, and ours are not among those in progress. Taking out what is
    certainly ours can never make two moments equal between which somebody else wrote.

    What this does not see: foreign tables and functions that reach outside, which are never worked ahead on.
    """

    last: int
    running: frozenset[int]

    @classmethod
    def read(cls, snapshot: str, own: set[int]) -> Moment:
        """From PostgreSQL's text of a snapshot; `own` holds numbers of our transactions, settled ones are dropped."""
        _, end, listed = snapshot.split(":")
        running = {int(number) for number in listed.split(",") if number}
        last = int(end)
        while last - 1 in own or last - 1 in running:
            last -= 1
        found = cls(last, frozenset(number for number in running - own if number < last))
        own.difference_update({number for number in own if number < last and number not in running})
        return found


# --- plans ----------------------------------------------------------------------


def plan_of(explained: Sequence[Mapping[str, Any]]) -> Plan:
    """The estimate of rows, and how many pairs nested loops look at without a common value to find them by.

    Args:
        explained: what `EXPLAIN (FORMAT JSON)` gives.
    """
    top = explained[0]["Plan"]
    pairs = [_pairs(node) for node in _nodes(top) if node["Node Type"] == "Nested Loop"]
    return Plan(float(top["Plan Rows"]), max(pairs, default=0.0))


def _nodes(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from _nodes(child)


def _pairs(loop: Mapping[str, Any]) -> float:
    """Rows outside times rows inside; 0 where the inside is looked up by values of the outside."""
    outer, inner = loop["Plans"][:2]
    if loop.get("Join Type") in ("Semi", "Anti"):
        return 0.0
    aliases = {node["Alias"] for node in _nodes(outer) if "Alias" in node}
    conditions = [
        str(value)
        for node in _nodes(inner)
        for name, value in node.items()
        if name.endswith(("Cond", "Key", "Filter"))
    ]
    looked_up = any(f"{alias}." in text or f'"{alias}".' in text for alias in aliases for text in conditions)
    return 0.0 if looked_up else float(outer["Plan Rows"]) * float(inner["Plan Rows"])


# --- values ----------------------------------------------------------------------

_BOOL, _BYTEA, _NUMERIC, _DATE, _TIMESTAMP, _TIMESTAMPTZ = 16, 17, 1700, 1082, 1114, 1184
_WHOLE = {20: "int64", 21: "int16", 23: "int32", 26: "uint32", 700: "float32", 701: "float64"}
_TYPMOD_SHIFT = 4  # a NUMERIC's modifier is ((precision << 16) | scale) + 4


def arrow_column(values: Sequence[bytes | None], oid: int, modifier: int) -> Any:
    """A column of PostgreSQL's texts as a `pyarrow.Array` of the type that the column has.

    NUMERIC(p, s) is decimal128(p, s), decimal256 beyond 38 digits. A NUMERIC without a scale (every SUM and AVG) has
    as many digits behind the point as its longest value. What Arrow's type has no value for (NaN in a NUMERIC,
    infinity in a DATE) makes the column one of texts, as types without a counterpart are: intervals, JSON, arrays.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    raw = pa.array(values, type=pa.binary())
    if oid == _BYTEA:
        return pa.array(
            [None if value is None else bytes.fromhex(value[2:].decode()) for value in values], pa.binary()
        )
    texts = raw.cast(pa.string())
    if oid == _BOOL:
        return pc.equal(texts, "t")
    if oid in _WHOLE:
        return texts.cast(getattr(pa, _WHOLE[oid])())
    try:
        if oid == _NUMERIC:
            return texts.cast(_decimal(values, modifier))
        if oid == _DATE:
            return texts.cast(pa.date32())
        if oid in (_TIMESTAMP, _TIMESTAMPTZ):
            return texts.cast(pa.timestamp("us", tz="UTC" if oid == _TIMESTAMPTZ else None))
    except pa.ArrowInvalid:
        return texts
    return texts


def _decimal(values: Sequence[bytes | None], modifier: int) -> Any:
    import pyarrow as pa

    if modifier >= _TYPMOD_SHIFT:
        packed = modifier - _TYPMOD_SHIFT
        precision, scale = (
            packed >> 16,
            (packed & 0x7FF ^ 0x400) - 0x400,
        )  # the scale has eleven bits and a sign
        return _decimal_type(precision, scale)
    scale = max((len(value.partition(b".")[2]) for value in values if value is not None), default=0)
    whole = max(
        (len(value.partition(b".")[0].lstrip(b"-")) for value in values if value is not None), default=1
    )
    return _decimal_type(38 if whole + scale <= 38 else 76, scale) if values else pa.decimal128(38, 0)


def _decimal_type(precision: int, scale: int) -> Any:
    """Raises `ArrowInvalid` where no decimal of Arrow has so many digits."""
    import pyarrow as pa

    if precision > 76 or scale > precision:
        raise pa.ArrowInvalid(f"NUMERIC({precision}, {scale}) has more digits than Arrow's decimals")
    return pa.decimal128(precision, scale) if precision <= 38 else pa.decimal256(precision, scale)


# --- what is not run ----------------------------------------------------------------------

_WRITES = frozenset({"INSERT", "UPDATE", "DELETE", "MERGE"})
_LOCKS = frozenset({"UPDATE", "SHARE", "NO", "KEY"})
# A read-only transaction keeps tables as they are; these reach outside it: files, other servers, other sessions,
# settings, sequences, locks that stay, or nothing but time.
_OUTSIDE = re.compile(
    r"pg_sleep\w*|lo_\w+|loread|lowrite|pg_read_\w+|pg_ls_\w+|pg_stat_file|pg_file_\w+|pg_logfile_\w+|dblink\w*|set_config"
    r"|nextval|setval|setseed|pg_(terminate|cancel)_backend|pg_(try_)?advisory_\w+|pg_reload_conf|pg_rotate_\w+"
    r"|pg_switch_\w+|pg_notify|pg_logical_\w+|pg_create_\w+|pg_drop_\w+|pg_export_snapshot|pg_replication_\w+"
    r"|pg_wal_re\w+|pg_promote|pg_current_xact_id|txid_current|pg_backup_\w+|pg_start_backup|pg_stop_backup"
    r"|query_to_xml\w*|cursor_to_xml\w*|table_to_xml\w*|schema_to_xml\w*|database_to_xml\w*|pg_stat_reset\w*"
    r"|pg_import_\w+|postgres_fdw_\w+|pg_log_\w+|currval|lastval"
)


def refuse_unsafe(sql: str) -> None:
    """Raise `UnsafeStatement` unless a text is one query that writes nothing, locks nothing and stays in the database.

    Told by tokens, for a text that no parser of ours understands is PostgreSQL's to judge; it runs in a read-only
    transaction whatever is found here. Raises `QueryFailed` where a string or name has no end.
    """
    tokens = code(tokenize(sql, "postgres"))
    if tokens and not tokens[-1].finished:
        raise QueryFailed("a string or a quoted name has no end", tokens[-1].start)
    refuse_all_but_one_query(sql, [first_word(sql[token.start :]) for token in _firsts(tokens)])
    for before, token, after, second in zip(
        [None, *tokens], tokens, [*tokens[1:], None], [*tokens[2:], None, None], strict=False
    ):
        if token.kind == "word" and token.upper in _WRITES and (before is None or before.text == "("):
            raise UnsafeStatement(f"{token.upper} is not run here, not in a CTE either: only queries are")
        if token.kind == "word" and token.upper == "INTO":
            raise UnsafeStatement("SELECT ... INTO makes a table and is not run here")
        if token.upper == "FOR" and after is not None and after.upper in _LOCKS and _locks(after, second):
            raise UnsafeStatement(f"FOR {after.upper} locks rows and is not run here")
        if token.upper == "U" and after is not None and after.text == "&" and token.end == after.start:
            raise UnsafeStatement('names written as U&"..." are not read here; write them plainly')
        if (
            token.is_name
            and after is not None
            and after.text == "("
            and _OUTSIDE.fullmatch(token.name.lower())
        ):
            raise UnsafeStatement(f"{token.name}() reaches beyond the tables and is not run here")


def _firsts(tokens: Sequence[Token]) -> list[Token]:
    """The first token of every statement."""
    return [
        token
        for place, token in enumerate(tokens)
        if token.text != ";" and (place == 0 or tokens[place - 1].text == ";")
    ]


def _locks(after: Token, second: Token | None) -> bool:
    return after.upper in ("UPDATE", "SHARE") or (second is not None and second.upper in ("KEY", "SHARE"))
