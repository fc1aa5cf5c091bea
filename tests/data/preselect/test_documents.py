"""Documents in files: read, refused with file and line, written back as they were."""

from __future__ import annotations

import errno
import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from firsthand.data import documents as module
from firsthand.data.document_ids import UniqueIds, identity
from firsthand.data.documents import (
    InputFile,
    Layout,
    atomic_file,
    find_inputs,
    open_writer,
    read_batches,
    read_documents,
)
from firsthand.errors import InputError, MissingDependencyError, NotFoundError, OutputError

RECORDS = [{"id": f"d{i}", "text": f"text number {i}", "n": i, "nested": {"é": [1, None]}} for i in range(5)]


def write(path: Path, records=RECORDS) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records).encode()
    if path.name.endswith(".gz"):
        data = gzip.compress(data)
    elif path.name.endswith(".zst"):
        data = zstandard.ZstdCompressor().compress(data)
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(records), path)
    else:
        path.write_bytes(data)
    return path


def read(path, **layout):
    return list(read_documents(find_inputs([path]), Layout(**layout)))


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst", "a.parquet"])
def test_round_trip_keeps_schema_and_order(tmp_path, name):
    write(tmp_path / name)
    (file,) = find_inputs([tmp_path])
    assert [d.id for d in read_documents([file])] == ["d0", "d1", "d2", "d3", "d4"]
    target = tmp_path / "out" / name
    keep, values = [True, False, True, True, False], list(np.array([0.1, 0.2, 0.3, np.nan, 0.5], np.float32))
    with open_writer(target, file.suffix, "preselect_score") as writer:
        for batch in read_batches(file, whole=True):
            writer.write(batch, keep, values)
    if name == "a.parquet":
        table = pq.read_table(target)
        assert table.schema.field("preselect_score").type == pa.float32()
        assert table.schema.names == [*RECORDS[0], "preselect_score"]
        back = table.to_pylist()
    else:
        back = [json.loads(line) for line in _bytes(target).decode().splitlines()]
        assert list(back[0]) == [*RECORDS[0], "preselect_score"]
    scores = [r.pop("preselect_score") for r in back]
    assert back == [RECORDS[0], RECORDS[2], RECORDS[3]]
    np.testing.assert_array_equal(np.array(scores, np.float32), np.array([0.1, 0.3, np.nan], np.float32))
    assert [p.name for p in target.parent.iterdir()] == [name]


def _bytes(path):
    data = path.read_bytes()
    if path.name.endswith(".gz"):
        return gzip.decompress(data)
    return (
        zstandard.ZstdDecompressor().decompressobj().decompress(data) if path.name.endswith(".zst") else data
    )


def test_a_score_that_is_there_is_replaced(tmp_path):
    for name in ("a.jsonl", "a.parquet"):
        write(tmp_path / name, [{"preselect_score": 9.0, "text": "x"}])
        (file,) = find_inputs([tmp_path / name])
        with open_writer(tmp_path / "out" / name, file.suffix, "preselect_score") as writer:
            for batch in read_batches(file, whole=True):
                writer.write(batch, [True], [np.float32(0.5)])
    assert json.loads((tmp_path / "out" / "a.jsonl").read_text()) == {"preselect_score": 0.5, "text": "x"}
    assert pq.read_table(tmp_path / "out" / "a.parquet").to_pylist() == [
        {"preselect_score": 0.5, "text": "x"}
    ]


def test_lone_surrogates_survive(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "x\\ud800"}\n')
    (file,) = find_inputs([tmp_path])
    with open_writer(tmp_path / "out.jsonl", ".jsonl", "s") as writer:
        for batch in read_batches(file, whole=True):
            writer.write(batch, [True], [np.float32(1)])
    assert json.loads((tmp_path / "out.jsonl").read_text())["text"] == "x\ud800"


def test_many_batches_keep_their_places(tmp_path):
    records = [{"text": str(i)} for i in range(2500)]
    for name in ("a.jsonl", "b.parquet"):
        (file,) = find_inputs([write(tmp_path / name, records)])
        batches = list(read_batches(file))
        assert [len(b.documents) for b in batches] == [1024, 1024, 452]
        assert batches[2].documents[-1].text == "2499"
        assert batches[2].places[-1].endswith(":2500" if name == "a.jsonl" else "row 2500")
        assert batches[0].documents[1].id == f"{name}:2"


def test_text_files(tmp_path):
    path = tmp_path / "deep" / "a.txt"
    path.parent.mkdir()
    path.write_bytes(b"\xef\xbb\xbfone\nstill one\n\n\ntwo\n  \nthree")
    (whole,) = read(tmp_path)
    assert (whole.id, whole.text) == ("deep/a.txt", "one\nstill one\n\n\ntwo\n  \nthree")
    paragraphs = read(tmp_path, text_unit="paragraph")
    assert [(d.id, d.text) for d in paragraphs] == [
        ("deep/a.txt:1", "one\nstill one"),
        ("deep/a.txt:5", "two"),
        ("deep/a.txt:7", "three"),
    ]
    assert [d.text for d in read(tmp_path, text_unit="line")] == ["one", "still one", "two", "three"]


def test_sources_and_null_texts(tmp_path):
    records = [{"text": None, "domain": "x.org"}, {"text": "b", "domain": None}]
    for name in ("a.jsonl", "a.parquet"):
        found = read(write(tmp_path / name, records), source_field="domain")
        assert [(d.text, d.source) for d in found] == [("", "x.org"), ("b", "")]
        assert read(tmp_path / name)[0].source == name
        assert [d.source for d in read(tmp_path / name, source_field="nowhere")] == ["", ""]


def test_hidden_and_unknown_files_are_passed_over_in_folders(tmp_path):
    write(tmp_path / "b.jsonl")
    write(tmp_path / ".cache" / "c.jsonl")
    (tmp_path / "notes.md").write_text("x")
    write(tmp_path / "A" / "z.jsonl")
    assert [f.name for f in find_inputs([tmp_path])] == ["A/z.jsonl", "b.jsonl"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"text": "x"}\n{"text": \n', r"a\.jsonl:2: not JSON"),
        ("a.jsonl", b'{"body": "x", "n": 1}\n', r"a\.jsonl:1: no field 'text'; the fields are: 'body', 'n'"),
        ("a.jsonl", b"{}\n", "the fields are: none"),
        ("a.jsonl", b"[1]\n", r"a\.jsonl:1: .*a list"),
        ("a.jsonl", b'{"text": 5}\n', "must be a string, this one is a int"),
        ("a.jsonl", b"\x89PNG\r\n\x1a\n\x00", "not UTF-8 text"),
        ("a.txt", b"\xff\xfe\x00", "not UTF-8 text"),
        ("a.txt", b"ab\x00cd", "NUL"),
        ("a.jsonl", b"\n\n", "no document"),
        ("a.jsonl", b"", "is empty"),
        ("a.txt", b"", "is empty"),
        ("a.jsonl.gz", b"not gzip", "cannot be read"),
        ("a.jsonl.gz", gzip.compress(b'{"text": "x"}\n' * 999)[:-9], "cannot be read"),
        ("a.jsonl.zst", b"not zstd", "damaged"),
        ("a.parquet", b"PAR1 not", "damaged|cannot be read"),
    ],
)
def test_files_that_are_refused(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read(tmp_path / name)
    assert name in str(caught.value)


def test_parquet_that_is_refused(tmp_path):
    write(tmp_path / "a.parquet", [{"body": "x"}])
    with pytest.raises(InputError, match=r"no field 'text'; the fields are: 'body'"):
        read(tmp_path / "a.parquet")
    write(tmp_path / "b.parquet", [{"text": 3}])
    with pytest.raises(InputError, match="row 1: the text must be a string"):
        read(tmp_path / "b.parquet")


def test_inputs_that_are_refused(tmp_path):
    with pytest.raises(NotFoundError, match="nowhere"):
        find_inputs([tmp_path / "nowhere"])
    with pytest.raises(InputError, match="no document files"):
        find_inputs([tmp_path])
    with pytest.raises(InputError, match="no input"):
        find_inputs([])
    (tmp_path / "a.csv").write_text("x")
    with pytest.raises(InputError, match="unknown kind"):
        find_inputs([tmp_path / "a.csv"])
    one, two = write(tmp_path / "x" / "a.jsonl"), write(tmp_path / "y" / "a.jsonl")
    with pytest.raises(InputError, match="would both be called"):
        find_inputs([one, two])
    one.write_bytes(b"")
    with pytest.raises(InputError, match="empty"):
        list(read_batches(InputFile(one, "a.jsonl")))


def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    (file,) = find_inputs([write(tmp_path / "a.jsonl")])

    def full(record):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "_json_line", full)
    target = tmp_path / "out" / "a.jsonl"
    (batch,) = read_batches(file, whole=True)
    with (
        pytest.raises(OutputError, match=r"cannot write .*a\.jsonl: No space left on device"),
        open_writer(target, ".jsonl", "s") as writer,
    ):
        writer.write(batch, [True] * 5, [np.float32(1)] * 5)
    assert list(target.parent.iterdir()) == []


def test_an_interrupted_write_leaves_the_old_file(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic_file(target) as beside:  # noqa: PT012
        beside.write_text("half of the n")
        raise KeyboardInterrupt
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_compressed_output_repeats_bit_for_bit(tmp_path):
    (file,) = find_inputs([write(tmp_path / "a.jsonl.gz")])
    for name in ("one.jsonl.gz", "two.jsonl.gz"):
        with open_writer(tmp_path / name, ".jsonl.gz", "s") as writer:
            for batch in read_batches(file, whole=True):
                writer.write(batch, [True] * 5, [np.float32(1)] * 5)
    assert (tmp_path / "one.jsonl.gz").read_bytes() == (tmp_path / "two.jsonl.gz").read_bytes()


@pytest.mark.parametrize("slice_size", [4, 1 << 22])
def test_repeated_ids_are_found_and_named(tmp_path, slice_size):
    write(tmp_path / "a.jsonl", [{"id": str(i), "text": "x"} for i in range(30)])
    write(tmp_path / "b.jsonl", [{"id": str(i), "text": "x"} for i in range(29, 40)])
    files = find_inputs([tmp_path])
    with UniqueIds(slice_size) as ids:
        ids.add(str(i) for i in range(1000, 1040))
        assert ids.repeated() is None
        for document in read_documents(files):
            ids.add([document.id])
        assert ids.repeated() == identity("29")
        with pytest.raises(InputError, match=r"'29' occurs twice: .*a\.jsonl:30 and .*b\.jsonl:1"):
            ids.require(files)
        with pytest.raises(InputError, match="changed"):
            ids.require(files[:1])
    with UniqueIds() as ids:
        assert ids.repeated() is None


def test_unique_ids_on_a_full_disk(monkeypatch):
    with UniqueIds() as ids:
        monkeypatch.setattr(ids, "_file", _Full())
        with pytest.raises(OutputError, match="No space"):
            ids.add(["a"])


class _Full:
    def write(self, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    def close(self):
        pass


def test_identity_separates_its_parts():
    assert identity("ab", "c") != identity("a", "bc")
    assert identity("a") == identity(b"a")
    assert len(identity()) == 16


def test_a_stamp_changes_with_the_content(tmp_path):
    path = write(tmp_path / "a.jsonl")
    (file,) = find_inputs([path])
    before = file.stamp()
    assert file.stamp() == before
    path.write_bytes(path.read_bytes().replace(b"number 3", b"number 7"))
    assert file.stamp() != before
    path.write_bytes(b"x" * 200_000)
    assert file.stamp()["bytes"] == 200_000


def test_missing_packages_are_named(tmp_path, monkeypatch):
    import sys

    path = write(tmp_path / "a.jsonl.zst")
    table = write(tmp_path / "a.parquet")
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(MissingDependencyError, match=r"zstandard: pip install 'firsthand\[data\]'"):
        read(path)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(MissingDependencyError, match="pyarrow"):
        read(table)
