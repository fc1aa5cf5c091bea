"""SpeQL: an SQL editor that answers before you finish typing (arXiv 2503.00714).

`open(path)` gives a `Session`: `edit` it as text is typed, and `submit`. The speculator may be arbitrarily wrong, the
matcher is sound: a wrong guess costs time, never a wrong answer. `repair`, `plan_views` and `match` are pure functions.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from firsthand.query.speql.config import Config
    from firsthand.query.speql.duckdb_engine import DuckDBEngine
    from firsthand.query.speql.errors import (
        BudgetExceeded,
        EngineUnsupported,
        QueryFailed,
        QueryInterrupted,
        RepairFailed,
        StaleView,
        UnsafeStatement,
    )
    from firsthand.query.speql.happenings import Dag, Event, Node, Result, Snapshot
    from firsthand.query.speql.history import HistoryCompleter
    from firsthand.query.speql.matching import Rewrite, match, rewrite
    from firsthand.query.speql.model_repair import ModelRepairer
    from firsthand.query.speql.opening import open
    from firsthand.query.speql.plan import Vertex, plan_views
    from firsthand.query.speql.previews import Preview
    from firsthand.query.speql.proving import Proof, prove_workload, prove_worlds
    from firsthand.query.speql.repair import Edit, Repair, Repairer, RuleRepairer, repair
    from firsthand.query.speql.schema import Column, Schema, Table
    from firsthand.query.speql.serving import ServeSettings, serve_page
    from firsthand.query.speql.session import Session
    from firsthand.query.speql.spark_engine import SparkEngine
    from firsthand.query.speql.sqlalchemy_engine import SQLAlchemyEngine
    from firsthand.query.speql.traces import (
        ReplayReport,
        TraceEvent,
        TraceRecorder,
        example_traces,
        read_trace,
        replay,
        replay_on,
        write_trace,
    )
    from firsthand.query.speql.views import View

# Where each public name is: sqlglot and DuckDB are loaded when one of them is first asked for.
_PLACES = {
    "config": ("Config",),
    "duckdb_engine": ("DuckDBEngine",),
    "errors": (
        "BudgetExceeded", "EngineUnsupported", "QueryFailed", "QueryInterrupted", "RepairFailed", "StaleView",
        "UnsafeStatement",
    ),
    "happenings": ("Dag", "Event", "Node", "Result", "Snapshot"),
    "history": ("HistoryCompleter",),
    "matching": ("Rewrite", "match", "rewrite"),
    "model_repair": ("ModelRepairer",),
    "opening": ("open",),
    "plan": ("Vertex", "plan_views"),
    "previews": ("Preview",),
    "proving": ("Proof", "prove_workload", "prove_worlds"),
    "repair": ("Edit", "Repair", "Repairer", "RuleRepairer", "repair"),
    "schema": ("Column", "Schema", "Table"),
    "serving": ("ServeSettings", "serve_page"),
    "session": ("Session",),
    "spark_engine": ("SparkEngine",),
    "sqlalchemy_engine": ("SQLAlchemyEngine",),
    "traces": (
        "ReplayReport", "TraceEvent", "TraceRecorder", "example_traces", "read_trace", "replay", "replay_on",
        "write_trace",
    ),
    "views": ("View",),
}  # fmt: skip
_MODULES = {name: module for module, names in _PLACES.items() for name in names}

__all__ = [
    "BudgetExceeded",
    "Column",
    "Config",
    "Dag",
    "DuckDBEngine",
    "Edit",
    "EngineUnsupported",
    "Event",
    "HistoryCompleter",
    "ModelRepairer",
    "Node",
    "Preview",
    "Proof",
    "QueryFailed",
    "QueryInterrupted",
    "Repair",
    "RepairFailed",
    "Repairer",
    "ReplayReport",
    "Result",
    "Rewrite",
    "RuleRepairer",
    "SQLAlchemyEngine",
    "Schema",
    "ServeSettings",
    "Session",
    "Snapshot",
    "SparkEngine",
    "StaleView",
    "Table",
    "TraceEvent",
    "TraceRecorder",
    "UnsafeStatement",
    "Vertex",
    "View",
    "example_traces",
    "match",
    "open",
    "plan_views",
    "prove_workload",
    "prove_worlds",
    "read_trace",
    "repair",
    "replay",
    "replay_on",
    "rewrite",
    "serve_page",
    "write_trace",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
