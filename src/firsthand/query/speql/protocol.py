"""What the page and the server tell each other: JSON texts, and binary messages where there are rows.

Up, each with a `kind`:

    edit    id, text, cursor        what the editor holds; the cursor in code points
    submit  id, text, cursor, here  run the statement at the cursor; `here`: only the SELECT that holds the cursor
    cancel                          interrupt whatever runs
    rows    result, start, count    a further window of that result

Down, `id` being that of the edit or submission that it belongs to (0: of none):

    hello, schema, repaired, repair_failed, planned, preview, preview_failed, view_created, view_refused, view_dropped,
    stale, progress, result, rows, error

A message with rows is binary: the length of its JSON header as four bytes, little end first; the header; the rows as an
Arrow IPC stream. Ids grow; whoever gets a message older than the newest that it sent leaves it aside.
"""

from __future__ import annotations

import json
import struct
from dataclasses import asdict, dataclass
from typing import Any

from firsthand.errors import InputError
from firsthand.query.speql.happenings import Dag, Event, Result
from firsthand.query.speql.previews import Preview
from firsthand.query.speql.repair import Repair
from firsthand.query.speql.rows import columns_of, ipc_bytes, window
from firsthand.query.speql.schema import Schema
from firsthand.query.speql.views import View

__all__ = [
    "Message",
    "dag_body",
    "event_message",
    "pack",
    "read_message",
    "result_message",
    "rows_message",
    "schema_body",
    "unpack",
]

_UP: dict[str, dict[str, type]] = {
    "edit": {"id": int, "text": str, "cursor": int},
    "submit": {"id": int, "text": str, "cursor": int, "here": bool},
    "cancel": {},
    "rows": {"result": int, "start": int, "count": int},
}


@dataclass(frozen=True)
class Message:
    """Something to send.

    Attributes:
        kind: what it is.
        id: of the edit or submission that it belongs to.
        content: as a websocket sends it, a text or bytes.
    """

    kind: str
    id: int
    content: str | bytes


def read_message(text: str) -> dict[str, Any]:
    """A message from the page, its fields checked; raises `InputError`."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"a message is not JSON: {error}") from error
    kind = found.get("kind") if isinstance(found, dict) else None
    if not isinstance(kind, str) or kind not in _UP:
        raise InputError(f"a message of kind {kind!r} is not known; there are {', '.join(_UP)}")
    for name, type_ in _UP[kind].items():
        value: Any = found.setdefault(name, False if type_ is bool else None)
        if type(value) is not type_ or (isinstance(value, int) and value < 0):
            raise InputError(
                f"{kind}: {name} is {value!r}, not {'a count' if type_ is int else type_.__name__}"
            )
    return dict(found)


def pack(kind: str, number: int = 0, table: Any = None, **body: Any) -> Message:
    """A message of a kind, with rows where there is a table (shown as `rows.window` gives it)."""
    text = json.dumps({"kind": kind, "id": number, **body}, ensure_ascii=False, default=str)
    if table is None:
        return Message(kind, number, text)
    head = text.encode()
    return Message(kind, number, struct.pack("<I", len(head)) + head + ipc_bytes(table))


def unpack(content: str | bytes) -> tuple[dict[str, Any], Any]:
    """What `pack` made, for clients in Python: the body, and the rows as a table or None."""
    if isinstance(content, str):
        return json.loads(content), None
    import pyarrow as pa

    (length,) = struct.unpack_from("<I", content)
    return json.loads(content[4 : 4 + length]), pa.ipc.open_stream(content[4 + length :]).read_all()


def schema_body(schema: Schema) -> dict[str, Any]:
    """Tables, columns and types."""
    return {
        "dialect": schema.dialect,
        "tables": [
            {
                "name": table.name,
                "rows": table.rows,
                "columns": [{"name": column.name, "type": column.type} for column in table.columns],
            }
            for table in schema.tables
        ],
    }


def event_message(event: Event, number: int) -> Message | None:
    """An event of a session as a message with the id that the page gave; None for what the page is not told."""
    data = event.data
    if event.kind == "repaired":
        repair: Repair = data["repair"]
        return pack(
            "repaired", number, sql=repair.sql, edits=[asdict(edit) for edit in repair.edits], exact=repair.exact,
            dropped=repair.dropped, span=list(repair.span), milliseconds=data["milliseconds"],
        )  # fmt: skip
    if event.kind == "preview":
        preview: Preview = data["preview"]
        body = {
            name: getattr(preview, name)
            for name in ("more", "dropped", "sql", "used", "milliseconds", "intervals", "unscaled")
        }
        rows = window(preview.rows, 0, preview.rows.num_rows)
        return pack("preview", number, rows, trust=preview.kind, columns=columns_of(preview.rows), **body)
    if event.kind in (
        "repair_failed",
        "preview_failed",
        "view_created",
        "view_refused",
        "view_dropped",
        "stale",
    ):
        return pack(
            event.kind, number, **{"view" if name == "id" else name: value for name, value in data.items()}
        )
    return None


def dag_body(dag: Dag, views: list[View]) -> dict[str, Any]:
    """What is made ahead: vertices with their states, and the tables there are."""
    return {
        "nodes": [
            {
                "key": node.vertex.key,
                "of": node.vertex.kind,
                "parents": node.vertex.parents,
                "query": node.vertex.query,
                "state": node.state,
                "reason": node.reason,
                "view": node.view,
                "milliseconds": node.milliseconds,
            }
            for node in dag.nodes
        ],
        "views": [
            {
                "view": view.id,
                "key": view.key,
                "of": type(view.definition).__name__.lower(),
                "rows": view.rows,
                "bytes": view.bytes,
                "milliseconds": view.made_ms,
            }
            for view in reversed(views)
        ],
    }


def result_message(result: Result, number: int, text: str, count: int) -> Message:
    """An answer with its first rows."""
    body = {
        name: getattr(result, name)
        for name in (
            "level", "used", "sql", "plan_ms", "exec_ms", "total_ms", "made_ms", "gap_ms", "direct_ms_estimate",
            "saved_ms_estimate", "note",
        )
    }  # fmt: skip
    rows = window(result.table, 0, count)
    return pack(
        "result",
        number,
        rows,
        total=result.table.num_rows,
        columns=columns_of(result.table),
        text=text,
        **body,
    )


def rows_message(table: Any, result: int, start: int, count: int) -> Message:
    """A further window of an answer."""
    return pack("rows", result, window(table, start, count), start=start)
