"""Writes SpeQL's two example traces: exploring TPC-H, and fixing mistakes. Each is what a person types and submits."""

from pathlib import Path

from firsthand.query.speql.traces import TraceEvent, human_ms, write_trace

FOLDER = Path(__file__).parent.parent / "src" / "firsthand" / "query" / "speql" / "recorded"

# A text is typed from the one before it, word by word; None submits it, "cancel" cancels.
by_priority = (
    "SELECT o_orderpriority, count(*) AS orders\nFROM orders\nWHERE o_orderdate >= DATE '1995-01-01'\n"
    "GROUP BY o_orderpriority"
)
with_totals = by_priority.replace("count(*) AS orders", "count(*) AS orders, sum(o_totalprice) AS total")
narrower = with_totals.replace("'1995-01-01'", "'1995-01-01'\n  AND o_totalprice > 100000")
ordered = narrower + "\nORDER BY total DESC\nLIMIT 3"
segments = (
    "SELECT c_mktsegment, sum(l_extendedprice * (1 - l_discount)) AS revenue\nFROM customer\n"
    "JOIN orders ON c_custkey = o_custkey\nJOIN lineitem ON l_orderkey = o_orderkey\n"
    "WHERE o_orderdate < DATE '1996-01-01'\n  AND l_shipdate > DATE '1995-06-30'\nGROUP BY c_mktsegment"
)
one_segment = segments.replace("GROUP BY", "  AND c_mktsegment = 'BUILDING'\nGROUP BY")
EXPLORING = [
    by_priority, None, with_totals, None, narrower, None, ordered, None, segments, None, one_segment, None, segments,
    segments + "\nORDER BY revenue DESC", None,
]  # fmt: skip

wrong_column = "SELECT l_returnflag, sum(l_quantty) AS quantity\nFROM lineitem\nGROUP BY l_returnflag"
right_column = wrong_column.replace("l_quantty", "l_quantity")
wrong_group = right_column.replace("SELECT l_returnflag", "SELECT l_returnflag, l_linestatus")
right_group = wrong_group + ", l_linestatus"
unfinished = right_group.replace("FROM lineitem", "FROM lineitem\nWHERE l_shipdate < DATE '1997-01-01' AND")
finished = unfinished.replace(" AND\n", " AND l_discount > 0.05\n")
crossed = "SELECT count(*) AS pairs\nFROM supplier, nation\nWHERE s_nationkey = n_regionkey"
mended = crossed.replace("n_regionkey", "n_nationkey")
FIXING = [
    wrong_column, None, right_column, None, wrong_group, None, right_group, None, unfinished, "cancel", finished, None,
    "DELETE FROM lineitem", None, crossed, None, mended, None,
]  # fmt: skip


def snapshots(before: str, after: str) -> list[str]:
    """What the editor holds at the ends of words and lines while one text becomes the other."""
    start = next((n for n, pair in enumerate(zip(before, after, strict=False)) if pair[0] != pair[1]), None)
    start = min(len(before), len(after)) if start is None else start
    tail = 0
    while tail < min(len(before), len(after)) - start and before[-1 - tail] == after[-1 - tail]:
        tail += 1
    kept = after[len(after) - tail :]
    found = [before[:start] + kept] if len(before) - tail > start else []
    ends = [n for n in range(start + 1, len(after) - tail) if after[n] in " \n"] + [len(after) - tail]
    return found + [after[:end] + kept for end in ends if after[:end] + kept != before]


def events(script: list[str | None]) -> list[TraceEvent]:
    """A script as a trace, typed at a person's speed, with a short rest before each submission."""
    found, held, at = [], "", 0.0
    for step in script:
        if step is None or step == "cancel":
            at += 600
            submitted = "" if step else held
            found.append(TraceEvent(at, "cancel" if step else "submit", submitted, len(submitted)))
            continue
        for text in snapshots(held, step):
            at += human_ms(held, text)
            held = text
            found.append(TraceEvent(at, "edit", text, len(text)))
    return found


if __name__ == "__main__":
    for name, script in (("exploring-tpch", EXPLORING), ("fixing-mistakes", FIXING)):
        write_trace(FOLDER / f"{name}.jsonl", events(script))
        print(f"{name}: {len(events(script))} events, {events(script)[-1].at_ms / 1e3:.0f} s")
