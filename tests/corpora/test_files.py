"""Documents in files: read, refused with file and line, written back as they were."""

from __future__ import annotations

import errno
import gzip
import json
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from upath import UPath

from firsthand.corpora import files, writing
from firsthand.corpora.documents import Corpus, Document, Taken, read_corpus, write_corpus
from firsthand.corpora.files import (
    SUFFIXES,
    InputFile,
    Layout,
    find_inputs,
    read_batches,
    read_documents,
)
from firsthand.corpora.ids import UniqueIds, identity, seeded_order
from firsthand.corpora.writing import open_writer
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
    with open_writer(target, file.suffix) as writer:
        for batch in read_batches(file, whole=True):
            writer.write(batch, keep, {"preselect_score": values})
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
        with open_writer(tmp_path / "out" / name, file.suffix) as writer:
            for batch in read_batches(file, whole=True):
                writer.write(batch, [True], {"preselect_score": [np.float32(0.5)]})
    assert json.loads((tmp_path / "out" / "a.jsonl").read_text()) == {"preselect_score": 0.5, "text": "x"}
    assert pq.read_table(tmp_path / "out" / "a.parquet").to_pylist() == [
        {"preselect_score": 0.5, "text": "x"}
    ]


def test_lone_surrogates_survive(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "x\\ud800"}\n')
    (file,) = find_inputs([tmp_path])
    with open_writer(tmp_path / "out.jsonl", ".jsonl") as writer:
        for batch in read_batches(file, whole=True):
            writer.write(batch, [True], {"s": [np.float32(1)]})
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


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst"])
def test_archives_of_several_pieces(tmp_path, name):
    """What appending, or a parallel compressor, makes."""
    (tmp_path / name).write_bytes(b"".join(packed(b'{"text": "%d"}\n' % i, name) for i in range(3)))
    assert [d.text for d in read(tmp_path)] == ["0", "1", "2"]


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
    write(tmp_path / ".d.jsonl")
    (tmp_path / "notes.csv").write_text("x")
    (tmp_path / "d.jsonl").mkdir()  # a folder, whatever its name says
    write(tmp_path / "A" / "z.jsonl")
    assert [f.name for f in find_inputs([tmp_path])] == ["A/z.jsonl", "b.jsonl"]
    assert [f.name for f in find_inputs([tmp_path / ".cache"])] == ["c.jsonl"]  # named on purpose


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
        pytest.param("a.jsonl", b'{"text": ' + b"[" * 200_000, "not JSON", id="a tower"),
        ("a.jsonl.gz", b"not gzip", "cannot be read"),
        pytest.param("a.jsonl.gz", gzip.compress(b'{"text": "x"}\n' * 999)[:-9], "cannot be read", id="cut"),
        pytest.param("a.jsonl.gz", gzip.compress(b"{}" * 999)[:10] + b"\xff" * 30, "damaged", id="flipped"),
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
    twice = pa.table([pa.array(["x"]), pa.array(["y"])], names=["text", "text"])
    pq.write_table(twice, tmp_path / "c.parquet")
    with pytest.raises(InputError, match=r"c\.parquet: there are 2 columns 'text'"):
        read(tmp_path / "c.parquet")


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
    with pytest.raises(InputError, match="would both be called"):
        find_inputs([one, str(one)])
    (vanished,) = find_inputs([one])
    one.unlink()
    with pytest.raises(InputError, match=r"a\.jsonl: cannot be read to its end: .*No such file"):
        list(read_batches(vanished))
    with pytest.raises(InputError, match="cannot pass over -1"):
        list(read_batches(vanished, skip=-1))
    one.write_bytes(b"")
    with pytest.raises(InputError, match=r"a\.jsonl: the file is empty"):
        find_inputs([one.parent])
    with pytest.raises(InputError, match="empty"):
        list(read_batches(InputFile(one, "a.jsonl")))


def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    (file,) = find_inputs([write(tmp_path / "a.jsonl")])

    def full(record):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(writing, "_json_line", full)
    target = tmp_path / "out" / "a.jsonl"
    (batch,) = read_batches(file, whole=True)
    with (
        pytest.raises(OutputError, match=r"cannot write .*a\.jsonl: No space left on device"),
        open_writer(target, ".jsonl") as writer,
    ):
        writer.write(batch, [True] * 5, {"s": [np.float32(1)] * 5})
    assert list(target.parent.iterdir()) == []


@pytest.mark.parametrize("slice_size", [4, 1 << 22])
def test_repeated_ids_are_found_and_named(tmp_path, slice_size):
    write(tmp_path / "a.jsonl", [{"id": str(i), "text": "x"} for i in range(30)])
    write(tmp_path / "b.jsonl", [{"id": str(i), "text": "x"} for i in range(29, 40)])
    found = find_inputs([tmp_path])
    with UniqueIds(slice_size) as ids:
        ids.add(str(i) for i in range(1000, 1040))
        assert ids.repeated() is None
        for document in read_documents(found):
            ids.add([document.id])
        assert ids.repeated() == identity("29")
        with pytest.raises(InputError, match=r"'29' occurs twice: .*a\.jsonl:30 and .*b\.jsonl:1"):
            ids.require(found)
        with pytest.raises(InputError, match="changed"):
            ids.require(found[:1])
    with UniqueIds() as ids:
        assert ids.repeated() is None
    for last in ("0", "7", "19"):
        with UniqueIds(slice_size) as ids:
            ids.add(str(i) for i in range(20))
            ids.add([last])
            assert ids.repeated() == identity(last)


def test_half_an_identity_in_common_is_not_the_same(monkeypatch):
    halves = {"a": b"1" * 8 + b"2" * 8, "b": b"1" * 8 + b"3" * 8, "c": b"4" * 8 + b"3" * 8}
    monkeypatch.setattr("firsthand.corpora.ids.identity", halves.__getitem__)
    with UniqueIds() as ids:
        ids.add("abc")
        assert ids.repeated() is None
        ids.add("b")
        assert ids.repeated() == halves["b"]


def test_unique_ids_on_a_full_disk(monkeypatch):
    with UniqueIds() as ids:
        monkeypatch.setattr(ids, "_file", _Full())
        with pytest.raises(OutputError, match="No space"):
            ids.add(["a"])

        with pytest.raises(OutputError, match="No space"):
            ids.repeated()


class _Full:
    def write(self, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    seek = write

    def close(self):
        pass


def test_identity_separates_its_parts():
    assert identity("ab", "c") != identity("a", "bc")
    assert identity("a") == identity(b"a")
    assert len(identity()) == 16
    assert len({identity("a\ud800"), identity("a\ud801"), identity("a?"), identity("a")}) == 4


def test_the_seeded_order_depends_on_id_and_seed_only():
    ids = [f"d{i}" for i in range(200)]
    keys = seeded_order(ids, 7)
    assert keys.dtype == np.uint64
    assert seeded_order(ids[::-1], 7)[::-1].tolist() == keys.tolist()
    assert seeded_order(ids[50:], 7).tolist() == keys[50:].tolist()
    assert seeded_order(ids, 8).tolist() != keys.tolist()
    assert len(set(keys.tolist())) == 200
    assert abs(np.argsort(keys)[:100].mean() - 99.5) < 25  # a permutation that mixes
    assert seeded_order([], 7).tolist() == []


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


KINDS = [kind + packed for kind in (".jsonl", ".txt", ".md") for packed in ("", ".gz", ".zst")] + [".parquet"]
COUNT = 23


def write_kind(folder, suffix):
    """A file with COUNT documents (by lines, paragraphs for `.md`); blank lines and small row groups between."""
    path = folder / f"a{suffix}"
    if suffix == ".parquet":
        with pq.ParquetWriter(path, pa.schema([("text", pa.string()), ("n", pa.int64())])) as writer:
            for start, stop in ((0, 3), (3, 3), (3, 4), (4, 13), (13, 21), (21, COUNT)):
                rows = [{"text": f"text {i}", "n": i} for i in range(start, stop)]
                writer.write_table(pa.Table.from_pylist(rows, schema=writer.schema))
        return path
    lines = []
    for i in range(COUNT):
        blank = "\n" * (i % 3 + suffix.startswith(".md"))
        record = {"text": f"text {i}", "n": i} | ({"id": f"own {i}"} if i % 2 else {})
        lines.append((json.dumps(record) if suffix.startswith(".jsonl") else f"text {i}") + "\n" + blank)
    data = "".join(lines).encode()
    path.write_bytes(packed(data, suffix))
    return path


def packed(data, suffix):
    if suffix.endswith(".gz"):
        return gzip.compress(data)
    return zstandard.ZstdCompressor().compress(data) if suffix.endswith(".zst") else data


def flat(batches):
    """(document, its place, its whole record) one after the other."""
    found = []
    for batch in batches:
        records = batch.records if batch.table is None else batch.table.to_pylist()
        assert len(batch.documents) == len(batch.places) == len(records) <= files.BATCH
        found += list(zip(batch.documents, batch.places, records, strict=True))
    return found


def test_every_kind_is_tried():
    assert sorted(KINDS) == sorted(SUFFIXES)


@pytest.mark.parametrize("suffix", KINDS)
def test_a_start_further_on_gives_the_tail(tmp_path, monkeypatch, suffix):
    monkeypatch.setattr(files, "BATCH", 4)
    (file,) = find_inputs([write_kind(tmp_path, suffix)])
    layout = Layout(text_unit="paragraph" if suffix.startswith(".md") else "line")
    everything = flat(read_batches(file, layout, whole=True))
    assert [document.text for document, _, _ in everything] == [f"text {i}" for i in range(COUNT)]
    assert len({document.id for document, _, _ in everything}) == COUNT
    for skip in range(COUNT + 3):
        assert flat(read_batches(file, layout, whole=True, skip=skip)) == everything[skip:]
        few = [d for batch in read_batches(file, layout, skip=skip) for d in batch.documents]
        assert few == [document for document, _, _ in everything[skip:]]


def test_a_text_as_a_whole_can_be_passed_over(tmp_path):
    (file,) = find_inputs([write_kind(tmp_path, ".txt")])
    assert len(flat(read_batches(file, whole=True))) == 1
    assert list(read_batches(file, skip=1)) == []


def test_what_is_passed_over_is_not_parsed(tmp_path):
    """The documents before the start are broken, each in its way: nobody looks at them."""
    (tmp_path / "a.jsonl").write_text('{"text": \n[1]\n{"text": 5}\n{"text": "good"}\n')
    (tmp_path / "b.txt").write_text("ab\x00cd\ngood\n")
    path = write_kind(tmp_path, ".parquet")
    data = bytearray(path.read_bytes())
    data[4:40] = b"\xff" * 36  # the pages of the first row group
    path.write_bytes(bytes(data))
    for file, skip, count in zip(find_inputs([tmp_path]), (3, 3, 1), (1, COUNT - 3, 1), strict=True):
        assert (
            len([d for b in read_batches(file, Layout(text_unit="line"), skip=skip) for d in b.documents])
            == count
        )
        with pytest.raises(InputError):
            list(read_batches(file, Layout(text_unit="line"), skip=skip - 1))


def url_folder(url):
    """One file of each kind below a URL, some of them deep, and what is to be passed over."""
    root = UPath(url)
    for number, suffix in enumerate(KINDS):
        with TemporaryDirectory() as local:
            data = write_kind(Path(local), suffix).read_bytes()
        target = root / ("deep" if number % 2 else "") / f"{number}{suffix}"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    for name in (".hidden.jsonl", ".git/a.jsonl", "notes.csv", "deep/.x/y.jsonl"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text('{"text": "x"}')
    return root


@pytest.mark.parametrize("kind", ["memory", "memory with a pattern's name", "file", "local UPath", "UPath"])
def test_a_url_reads_like_a_folder(tmp_path, memory, kind):
    local = Path(str(url_folder(str(tmp_path / "corpus"))))
    expected = find_inputs([local])
    assert len(expected) == len(KINDS)
    given = {
        "memory": f"{memory}/corpus",
        "memory with a pattern's name": f"{memory}/corp[us]*",
        "file": f"file://{local}",
        "local UPath": UPath(local),
        "UPath": UPath(f"{memory}/corpus/"),
    }[kind]
    if kind not in ("file", "local UPath"):
        url_folder(given)
    found = find_inputs([given])
    assert [file.name for file in found] == [file.name for file in expected]
    layout = Layout(text_unit="line")
    for here, there in zip(expected, found, strict=True):
        assert (there.suffix, there.size) == (here.suffix, here.size)
        one, other = (
            flat(read_batches(here, layout, whole=True)),
            flat(read_batches(there, layout, whole=True)),
        )
        assert [(d, r) for d, _, r in other] == [(d, r) for d, _, r in one]
        assert other[5][1] == one[5][1].replace(str(here.path), str(there.path))
        assert flat(read_batches(there, layout, whole=True, skip=9)) == other[9:]
    (alone,) = find_inputs([f"{given}/0.jsonl" if isinstance(given, str) else given / "0.jsonl"])
    assert alone.name == "0.jsonl"
    assert len(list(read_documents([alone]))) == COUNT


class VendorError(Exception):
    """Not an OSError: what some drivers raise."""


def test_urls_that_are_refused(memory, monkeypatch):
    with pytest.raises(NotFoundError, match="memory://bucket/nowhere: no such file or folder"):
        find_inputs([f"{memory}/nowhere"])
    (UPath(memory) / "empty").mkdir(parents=True)
    with pytest.raises(InputError, match="no document files"):
        find_inputs([f"{memory}/empty"])
    (UPath(memory) / "a.csv").write_text("x")
    with pytest.raises(InputError, match="unknown kind"):
        find_inputs([f"{memory}/a.csv"])
    (UPath(memory) / "a.jsonl").write_bytes(b"")
    with pytest.raises(InputError, match=r"memory://bucket/a\.jsonl: the file is empty"):
        find_inputs([f"{memory}/a.jsonl"])
    (UPath(memory) / "a.jsonl").write_text('{"text": "x"}\n{"text": 5}\n')
    with pytest.raises(InputError, match=r"memory://bucket/a\.jsonl:2: the text must be a string"):
        list(read_documents(find_inputs([f"{memory}/a.jsonl"])))
    (UPath(memory) / "a.parquet").write_text("PAR1 not")
    with pytest.raises(InputError, match=r"memory://bucket/a\.parquet: damaged"):
        list(read_documents(find_inputs([f"{memory}/a.parquet"])))
    with pytest.raises(InputError, match="nope://x: "):
        find_inputs(["nope://x"])
    with pytest.raises(MissingDependencyError, match="s3fs"):
        find_inputs(["s3://bucket/x"])

    def denied(self, path, **more):
        raise VendorError("no route")

    monkeypatch.setattr(type(UPath(memory).fs), "info", denied)
    with pytest.raises(InputError, match=r"memory://bucket/a\.jsonl: cannot be read: VendorError: no route"):
        find_inputs([f"{memory}/a.jsonl"])


def test_a_local_folder_that_cannot_be_read(tmp_path, monkeypatch):
    def denied(self):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "is_dir", denied)
    for given in (tmp_path, str(tmp_path)):
        with pytest.raises(InputError, match="cannot be read: PermissionError"):
            find_inputs([given])


def test_a_url_s_stamp_changes_with_the_content(memory):
    """Also in the middle, where the digest of the ends does not see it, and a store has no modification time."""
    path = UPath(memory) / "a.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b'{"text": "%s"}\n' % (b"x" * 300_000))
    (file,) = find_inputs([memory])
    before = file.stamp()
    assert file.stamp() == before == json.loads(json.dumps(before))
    path.write_bytes(path.read_bytes()[:150_000] + b"y" + path.read_bytes()[150_001:])
    assert file.stamp() != before
    assert file.stamp()["bytes"] == before["bytes"]


def test_a_stamp_reads_both_ends(tmp_path):
    """With the time of change put back."""
    path = tmp_path / "a.txt"
    data = bytearray(b"x" * 200_000)
    for at in (0, 65_535, 200_000 - 65_536, 199_999):
        path.write_bytes(data)
        os.utime(path, ns=(5, 5))
        before = InputFile(path, "a.txt").stamp()
        data[at] ^= 1
        path.write_bytes(data)
        os.utime(path, ns=(5, 5))
        after = InputFile(path, "a.txt").stamp()
        assert after["modified_ns"] == before["modified_ns"] == 5
        assert after["ends"] != before["ends"]
        os.utime(path, ns=(5, 6))
        assert InputFile(path, "a.txt").stamp() == {**after, "modified_ns": 6}


def test_damaged_corpora_are_made_again(tmp_path):
    corpus = Corpus(
        (Document("a", "x\ud800", "s", "k"), Document("b", "y" * 500)), (Taken("p", "1", 1, 2, 3),)
    )
    path = tmp_path / "c.gz"
    write_corpus(corpus, path)
    assert read_corpus(path) == corpus
    whole = path.read_bytes()
    for at in range(0, len(whole), 7):
        for broken in (whole[:at], whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :]):
            path.write_bytes(broken)
            assert read_corpus(path) in (None, corpus)
    path.write_bytes(gzip.compress(gzip.decompress(whole).replace(b"yyy", b"yyz", 1)))
    assert read_corpus(path) is None
    path.write_bytes(gzip.compress(b"[]\n"))
    assert read_corpus(path) is None


def test_folders_behind_links_are_read_once(tmp_path):
    write(tmp_path / "corpus" / "a.jsonl")
    write(tmp_path / "elsewhere" / "b.jsonl")
    (tmp_path / "corpus" / "more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "corpus")
    (tmp_path / "corpus" / "gone.jsonl").symlink_to(tmp_path / "nowhere")
    assert [file.name for file in find_inputs([tmp_path / "corpus"])] == ["a.jsonl", "more/b.jsonl"]


def test_a_folder_that_cannot_be_read_is_no_gap(tmp_path, monkeypatch):
    write(tmp_path / "a.jsonl")

    def walk(top, onerror, followlinks):
        onerror(PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "closed")))
        yield str(top), [], ["a.jsonl"]

    monkeypatch.setattr("os.walk", walk)
    with pytest.raises(InputError, match=r"cannot be read.*closed"):
        find_inputs([tmp_path])
