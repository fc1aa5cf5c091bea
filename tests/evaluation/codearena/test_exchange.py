"""Everything out and in again, on either database, with equal boards; and files that are not whole or not ours."""

from __future__ import annotations

import json
import shutil
import zipfile
from datetime import UTC, datetime

import pytest
from sqlalchemy import func, select

from firsthand.errors import InputError, NotFoundError, OutputError
from firsthand.evaluation.codearena.arena import Arena
from firsthand.evaluation.codearena.service.exchange import export_arena, import_arena
from firsthand.evaluation.codearena.service.exported import EXPORTED
from firsthand.evaluation.codearena.store.cases import NewCase, Program
from firsthand.evaluation.codearena.store.tables import metadata

from .conftest import add_problem, judge_all, sqlite_copy
from .scripted import ScriptedGrader

SECRETS = ("token", "webhook", "delivery", "job", "judge")


def fill(arena, clock):
    """Something of everything: versions, editions, rejected and retired cases, generators, rejudged and aborted."""
    for name, kind in (("m", "llm"), ("n", "llm"), ("h", "human"), ("curie", "curator")):
        arena.accounts.create(
            name, kind, first_seen=datetime(2024, 1, 2, tzinfo=UTC) if kind == "llm" else None
        )
    curie = arena.accounts.find("curie")
    arena.accounts.issue("m")
    arena.webhooks.add(arena.accounts.find("m"), "https://example.com/hook")
    for pid, bps in (("sum", 5.0), ("ürsprung".replace("ü", "u"), 0.1), ("later", 3.0)):
        add_problem(arena, pid, bps=bps, licence="MIT")
    arena.problems.update("later", {"visible_from": datetime(2030, 1, 1, tzinfo=UTC)})
    arena.cases.add("sum", [NewCase("c", "wrong"), NewCase("é\r\n✓", "É\r\n✓")], by=curie.id)
    arena.cases.add_generator("sum", Program("python", "SEEDED g"), by=curie.id)
    arena.cases.generate("sum", 1, [3, 4])
    judge_all(arena)
    clock.move(seconds=0.125)
    first = arena.submit("m", "sum", "python", "AC 58.000001", idempotency_key="k")
    arena.submit("n", "sum", "c", "AC 42")
    arena.submit("n", "ursprung", "c", "CE")
    arena.submit("h", "sum", "python", "WA 1 ✓")
    aborted = arena.submit("m", "ursprung", "python", "AC 1")
    arena.submit("m", "sum", "python", "AC 1", extra=True)
    judge_all(arena)
    arena.checkpoint()
    clock.move(days=1)
    arena.rejudge(first)
    judge_all(arena)
    arena.submissions.abort(aborted)
    arena.problems.update("sum", {"time_ms": 900, "title": "Summe"})
    arena.cases.retire("sum", 2)
    judge_all(arena)
    arena.checkpoint(challenge="share")
    arena.submit("h", "ursprung", "python", "AC 7")  # still waits
    arena.cases.add("sum", [NewCase("z", "Z")])  # so does this


def content(arena):
    """Every row as an export has it, and how many rows each table has."""
    from firsthand.evaluation.codearena.service.exported import read_rows

    with arena.database.read() as connection:
        rows = {name: list(read_rows(connection, table)) for name, table in EXPORTED.items()}
        counts = {
            table.name: connection.execute(select(func.count()).select_from(table)).scalar()
            for table in metadata.sorted_tables
        }
    return rows, counts


@pytest.fixture
def full(arena, clock):
    fill(arena, clock)
    return arena


@pytest.fixture
def small_full(small, clock):
    fill(small, clock)
    return small


@pytest.fixture
def empty(arena_url, tmp_path_factory, request):
    """A second arena on the same kind of database, with nothing in it."""
    if arena_url.startswith("sqlite"):
        url = sqlite_copy(request.getfixturevalue("sqlite_template"), tmp_path_factory.mktemp("empty"))
    else:
        url = request.getfixturevalue("postgres_urls")()
    with Arena.open(url, grader=ScriptedGrader(), clock=request.getfixturevalue("clock")) as arena:
        yield arena


@pytest.fixture
def small_empty(sqlite_template, tmp_path_factory, clock):
    url = sqlite_copy(sqlite_template, tmp_path_factory.mktemp("empty"))
    with Arena.open(url, grader=ScriptedGrader(), clock=clock) as arena:
        yield arena


@pytest.mark.parametrize("name", ["arena.jsonl", "arena.zip", "folder"])
def test_a_round_trip_into_an_empty_arena(full, empty, tmp_path, clock, name):
    if name != "arena.jsonl":
        pytest.importorskip("pyarrow")
    path = tmp_path / name
    counts = export_arena(full.database, path)
    assert counts["judgement"] > counts["submission"] > 5
    assert import_arena(empty.database, path) == counts
    (rows, numbers), (rows_again, numbers_again) = content(full), content(empty)
    for table in rows:
        assert rows_again[table] == rows[table], table
        assert rows[table], f"the test has no row of {table}"
    for table in numbers:
        if table not in SECRETS:
            assert numbers_again[table] == numbers[table], table
    assert [numbers_again[table] for table in ("token", "webhook", "delivery", "judge")] == [0, 0, 0, 0]
    for rules in ({}, {"challenge": "share"}, {"population": "all"}, {"ac_unit": "submission"}):
        assert empty.ranking(**rules).as_dict() == full.ranking(**rules).as_dict()
        at = datetime(2024, 7, 30, 18, tzinfo=UTC)
        assert empty.ranking(at, **rules).as_dict() == full.ranking(at, **rules).as_dict()
    assert empty.rating("pass@k", k=1).as_dict() == full.rating("pass@k", k=1).as_dict()
    assert empty.history() == full.history()
    assert empty.audit().clean
    # What waited waits again, and both go on alike.
    assert judge_all(empty) == judge_all(full) != []
    assert empty.ranking(population="all").as_dict() == full.ranking(population="all").as_dict()
    assert [case.state for case in empty.cases.all("sum")] == [case.state for case in full.cases.all("sum")]


def test_from_one_database_to_the_other(full, small_empty, tmp_path):
    """And the files of both have the same rows."""
    export_arena(full.database, tmp_path / "a.jsonl")
    import_arena(small_empty.database, tmp_path / "a.jsonl")
    export_arena(small_empty.database, tmp_path / "b.jsonl")
    first, second = ((tmp_path / name).read_text().splitlines() for name in ("a.jsonl", "b.jsonl"))
    assert first[1:] == second[1:]


def test_an_import_twice_adds_nothing(small_full, small_empty, tmp_path):
    export_arena(small_full.database, tmp_path / "a.jsonl")
    import_arena(small_empty.database, tmp_path / "a.jsonl")
    before = content(small_empty)
    assert set(import_arena(small_empty.database, tmp_path / "a.jsonl").values()) == {0}
    assert content(small_empty) == before
    assert import_arena(small_full.database, tmp_path / "a.jsonl")["event"] == 0


def test_new_rows_are_added_to_what_is_there(small_full, small_empty, tmp_path, clock):
    export_arena(small_full.database, tmp_path / "a.jsonl")
    import_arena(small_empty.database, tmp_path / "a.jsonl")
    sid = small_full.submit("h", "sum", "python", "AC 3")
    judge_all(small_full)
    export_arena(small_full.database, tmp_path / "b.jsonl")
    changed = import_arena_error(
        small_empty, tmp_path / "b.jsonl"
    )  # a case that was pending is active by now
    assert "problem sum is there already, with other content" in changed
    judge_all(small_empty)
    assert sid not in {row["sid"] for row in content(small_empty)[0]["submission"]}


def import_arena_error(arena, path):
    before = content(arena)
    with pytest.raises(InputError) as caught:
        import_arena(arena.database, path)
    assert content(arena) == before  # wholly or not at all
    return str(caught.value)


# --- files that are not whole, or not ours -------------------------------------------------------------------


@pytest.fixture
def lines(small_full, tmp_path):
    export_arena(small_full.database, tmp_path / "a.jsonl")
    return (tmp_path / "a.jsonl").read_text().splitlines(keepends=True)


def refused(arena, tmp_path, text, *words):
    (tmp_path / "x.jsonl").write_bytes(text if isinstance(text, bytes) else "".join(text).encode())
    said = import_arena_error(arena, tmp_path / "x.jsonl")
    assert str(tmp_path / "x.jsonl") in said
    for word in words:
        assert word in said, said
    return said


def test_half_a_file(small_empty, tmp_path, lines):
    refused(small_empty, tmp_path, "".join(lines)[:-30], f"line {len(lines)}", "not JSON")
    refused(small_empty, tmp_path, lines[:-1], "not whole", "rows of event", "export again")
    refused(small_empty, tmp_path, lines[: len(lines) // 2], "not whole")
    refused(small_empty, tmp_path, lines[:1], "not whole", "rows of account and has 0")


def test_a_file_that_was_written_over(small_empty, tmp_path, lines):
    number = next(number for number, line in enumerate(lines) if '"table": "submission"' in line)
    row = json.loads(lines[number])

    def with_row(**change):
        changed = {**row, **change}
        return [
            *lines[:number],
            json.dumps({k: v for k, v in changed.items() if v != "GONE"}) + "\n",
            *lines[number + 1 :],
        ]

    where = f"line {number + 1}"
    for change, word in (
        ({"user": "nobody"}, "there is no account 'nobody'"), ({"pid": "nothing"}, "there is no problem 'nothing'"),
        ({"language": "GONE"}, "needs the field 'language'"), ({"colour": "red"}, "has no field 'colour'"),
        ({"table": "sub"}, "table must be one of account, problem"), ({"version": "1"}, "version must be int"),
        ({"version": 2**70}, "version must be int"), ({"cpu_ms": "fast"}, "cpu_ms must be float"),
        ({"cpu_ms": True}, "cpu_ms must be float"), ({"counted": 1}, "counted must be bool"),
        ({"created_at": "2024-01-01"}, "created_at must be time"), ({"created_at": "2024-01-01T00:00:00"}, "zone"),
        ({"source": "a\0b"}, "source must be text"), ({"source": "\ud800"}, "source must be text"),
        ({"source": " "}, "submission.source is empty"), ({"sid": "../../etc"}, "sid must match"),
        ({"state": "asleep"}, "the database refuses it"), ({"language": "x" * 33}, "language"),
    ):  # fmt: skip
        refused(small_empty, tmp_path, with_row(**change), where, word)
    again = [*lines[: number + 1], lines[number], *lines[number + 1 :]]
    refused(small_empty, tmp_path, again, f"line {number + 2}", "the database refuses it")
    refused(small_empty, tmp_path, [lines[0], *reversed(lines[1:])], "comes after one of")


def test_rows_that_would_break_what_reads_them(small_empty, tmp_path):
    """What the database would take, and every list of problems would then fail on."""
    at = "2024-01-01T00:00:00Z"
    account = {"table": "account", "name": "m", "kind": "llm", "created_at": at}
    problem = {
        "table": "problem", "pid": "p", "version": 1, "edition": 1, "visible_from": at, "created_at": at,
    }  # fmt: skip
    edition = {
        "table": "problem_edition", "pid": "p", "edition": 1, "version": 1, "title": "P", "statement": "", "bps": 5.0,
        "difficulty": "", "time_ms": 1000, "memory_kb": 65536, "checker": "standard", "checker_language": "python",
        "source": "", "licence": "MIT", "created_at": at,
    }  # fmt: skip

    def text(*rows):
        return [json.dumps(row) + "\n" for row in rows]

    for rows, word in (
        ([{**account, "name": "a b"}], "account.name must match"),
        ([{**account, "kind": "robot"}], "kind"),
        ([{**problem, "pid": "a/b"}], "problem.pid must match"),
        ([problem], "comes without its current edition"),
        ([problem, {**edition, "title": " "}], "title is empty"),
        ([problem, {**edition, "bps": -1.0}], "bps"),
        ([problem, {**edition, "memory_kb": 1}], "memory_kb"),
        ([problem, {**edition, "checker": "psychic"}], "psychic"),
        ([problem, {**edition, "edition": 2}], "comes without its current edition"),
        ([edition], "there is no problem 'p'"),
        ([problem, {**edition, "bps": float("nan")}], "bps must be float"),
    ):
        refused(small_empty, tmp_path, text(*rows), word)
    (tmp_path / "good.jsonl").write_text("\n".join(["", *text(account, problem, edition)]))
    added = import_arena(small_empty.database, tmp_path / "good.jsonl")  # some tables, no head, empty lines
    assert (added["account"], added["problem"], added["problem_edition"], added["submission"]) == (1, 1, 1, 0)
    assert small_empty.problems.find("p").problem.licence == "MIT"


def test_what_a_database_cannot_hold_is_said_alike(arena, tmp_path):
    at = "2024-01-01T00:00:00Z"
    row = {
        "table": "problem",
        "pid": "p",
        "version": 2**40,
        "edition": 1,
        "visible_from": at,
        "created_at": at,
    }
    refused(arena, tmp_path, [json.dumps(row) + "\n"], "line 1" if not arena.database.sqlite else "edition")


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"\xff\xfe", "not UTF-8"),
        (b"[1]\n", "must be a JSON object"),
        (b"[" * 100_000, "not JSON"),
        (b'{"table": ["account"]}\n', "table must be one of"),
        (b"{}\n", "got None"),
        (
            b'{"format": "firsthand-codearena", "version": 2}\n',
            "version 2; 'firsthand-codearena', version 1 can be read",
        ),
        (b'{"format": "polygon", "version": 1}\n', "this is 'polygon'"),
        (b'{"format": "firsthand-codearena", "version": 1, "rows": {"x": 1}}\n', "rows must say"),
        (
            b'{"format": "firsthand-codearena", "version": 1, "rows": {"account": 1}}\n',
            "should have 1 rows of account",
        ),
    ],
)
def test_files_of_something_else(small, tmp_path, content, word):
    refused(small, tmp_path, content, word)


def test_an_empty_file_is_an_empty_import(small, tmp_path):
    (tmp_path / "none.jsonl").write_text("")
    assert set(import_arena(small.database, tmp_path / "none.jsonl").values()) == {0}


def test_paths_that_are_none(small, tmp_path):
    with pytest.raises(NotFoundError, match="no such file"):
        import_arena(small.database, tmp_path / "none.jsonl")
    (tmp_path / "arena.csv").write_text("a,b")
    with pytest.raises(InputError, match=r"\.jsonl file, a \.zip file, or a folder"):
        import_arena(small.database, tmp_path / "arena.csv")
    with pytest.raises(InputError, match="not an empty folder"):
        export_arena(small.database, tmp_path)
    with pytest.raises(InputError, match="not an empty folder"):
        export_arena(small.database, tmp_path / "arena.csv")
    with pytest.raises(OutputError, match="cannot write"):
        export_arena(small.database, tmp_path / "none" / "arena.jsonl")
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "arena.csv",
        "arena.db",
        "arena.db-shm",
        "arena.db-wal",
    ]


def test_parquet_that_is_not_whole_or_not_ours(small_full, small_empty, tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as parquet

    whole = tmp_path / "whole"
    export_arena(small_full.database, whole)
    export_arena(small_full.database, tmp_path / "whole.zip")

    def spoiled(change, *words):
        folder = tmp_path / "spoiled"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(whole, folder)
        change(folder)
        said = import_arena_error(small_empty, folder)
        for word in (str(folder), *words):
            assert word in said, said

    def rewrite(name, table, **options):
        def change(folder):
            parquet.write_table(table, folder / name, **options)

        return change

    spoiled(lambda folder: (folder / "event.parquet").unlink(), "not whole", "rows of event and has 0")
    spoiled(
        lambda folder: (folder / "account.parquet").write_bytes(b"PAR1"), "account.parquet", "cannot be read"
    )
    cut = (whole / "submission.parquet").read_bytes()[:-100]
    spoiled(
        lambda folder: (folder / "submission.parquet").write_bytes(cut),
        "submission.parquet",
        "cannot be read",
    )
    spoiled(lambda folder: (folder / "team.parquet").write_bytes(b""), "table must be one of", "'team'")
    accounts = parquet.read_table(whole / "account.parquet")
    spoiled(rewrite("event.parquet", parquet.read_table(whole / "event.parquet").slice(1)), "not whole")
    spoiled(rewrite("account.parquet", accounts.replace_schema_metadata(None)), "this is None")
    head = {**accounts.schema.metadata, b"version": b"9"}
    spoiled(rewrite("account.parquet", accounts.replace_schema_metadata(head)), "version '9'")
    head = {**accounts.schema.metadata, b"rows": b"many"}
    spoiled(rewrite("account.parquet", accounts.replace_schema_metadata(head)), "rows are not JSON")
    spoiled(rewrite("account.parquet", accounts.drop_columns(["kind"])), "row 0", "needs the field 'kind'")
    ints = accounts.set_column(0, "name", pa.array(range(len(accounts))))
    spoiled(rewrite("account.parquet", ints), "name must be text")
    boards = parquet.read_table(whole / "checkpoint.parquet")
    words = boards.set_column(3, "board", pa.array(["{"] * len(boards)))
    spoiled(rewrite("checkpoint.parquet", words), "board is not JSON")

    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(InputError, match=r"no \.parquet file"):
        import_arena(small_empty.database, empty)
    for name, content in (
        ("cut.zip", (tmp_path / "whole.zip").read_bytes()[:-200]), ("none.zip", b"PK"),
        ("text.zip", b"no zip at all"),
    ):  # fmt: skip
        (tmp_path / name).write_bytes(content)
        assert name in import_arena_error(small_empty, tmp_path / name)
    with zipfile.ZipFile(tmp_path / "up.zip", "w") as archive:
        archive.writestr("../account.parquet", b"x")
    assert "none of an arena's files" in import_arena_error(small_empty, tmp_path / "up.zip")
    assert not (tmp_path.parent / "account.parquet").exists()
    changed = bytearray((tmp_path / "whole.zip").read_bytes())
    changed[len(changed) // 2] ^= 0xFF
    (tmp_path / "changed.zip").write_bytes(changed)
    assert "changed.zip" in import_arena_error(small_empty, tmp_path / "changed.zip")
    assert import_arena(small_empty.database, tmp_path / "whole.zip")["account"] == 4


def test_an_export_that_fails_leaves_the_old_one(small_full, tmp_path, monkeypatch):
    from firsthand.evaluation.codearena.service import exchange

    (tmp_path / "a.jsonl").write_text("old")

    def broken(connection, table):
        raise OSError(28, "No space left on device")
        yield

    monkeypatch.setattr(exchange, "read_rows", broken)
    for name in ("a.jsonl", "a.zip", "folder"):
        with pytest.raises(OutputError, match="No space left"):
            export_arena(small_full.database, tmp_path / name)
    left = {file.name for file in tmp_path.iterdir() if not file.name.startswith("arena.db")}
    assert left == {"a.jsonl"}
    assert (tmp_path / "a.jsonl").read_text() == "old"


def test_it_is_of_one_moment(full, tmp_path, monkeypatch):
    """A submission that comes while it is written is not half in it."""
    from firsthand.evaluation.codearena.service import exchange

    reading = exchange.read_rows

    def meanwhile(connection, table):
        if table.name == "judgement":
            full.submit("h", "sum", "python", "AC 9")
            judge_all(full)
        return reading(connection, table)

    monkeypatch.setattr(exchange, "read_rows", meanwhile)
    counts = export_arena(full.database, tmp_path / "a.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()][1:]
    sids = {row["sid"] for row in rows if row["table"] == "submission"}
    assert {row["sid"] for row in rows if row["table"] == "judgement"} <= sids
    assert counts["submission"] == len(sids)
