"""Writing back: whole files or none, the same bytes again, shards of a size."""

from __future__ import annotations

import errno
import gzip
import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from upath import UPath

from firsthand.corpora import files, writing
from firsthand.corpora.files import Layout, find_inputs, read_batches, read_documents
from firsthand.corpora.writing import DocumentWriter, ShardWriter, open_writer
from firsthand.errors import InputError, MissingDependencyError, OutputError

SUFFIXES = [".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet"]


def source(folder, suffix, n=10, first=0, **more):
    """A file of `n` documents numbered from `first`."""
    folder.mkdir(parents=True, exist_ok=True)
    records = [{"id": f"d{i}", "text": f"text {i}", "n": i, **more} for i in range(first, first + n)]
    path = folder / f"in-{first}{suffix if suffix == '.parquet' else '.jsonl'}"
    if suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(records), path)
    else:
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def batches(path, layout=None):
    return [batch for file in find_inputs([path]) for batch in read_batches(file, layout, whole=True)]


def rows(path):
    """The records of a written file."""
    data = path.read_bytes()
    if path.name.endswith(".parquet"):
        return pq.read_table(pa.BufferReader(data)).to_pylist()
    if path.name.endswith(".gz"):
        data = gzip.decompress(data)
    elif path.name.endswith(".zst"):
        data = zstandard.ZstdDecompressor().decompressobj().decompress(data)
    return [json.loads(line) for line in data.decode().splitlines()]


def names(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("keep", [None, [False] * 10, np.arange(10) % 3 == 1, [1, 0] * 5])
def test_chosen_documents_and_two_columns(tmp_path, suffix, keep):
    (batch,) = batches(source(tmp_path, suffix))
    target = tmp_path / "out" / f"a{suffix}"
    columns = {"s": np.arange(10, dtype=np.float32) / 10, "t": [float(i) for i in range(10)]}
    with open_writer(target, suffix) as writer:
        counts = [writer.write(batch, keep, columns), writer.write(batch, keep, columns)]
    chosen = [i for i in range(10) if keep is None or keep[i]]
    assert counts == [len(chosen)] * 2
    assert json.dumps(counts)  # plain numbers, for manifests
    found = rows(target)
    assert [row["n"] for row in found] == chosen * 2
    assert [row["t"] for row in found] == chosen * 2
    np.testing.assert_array_equal(
        np.float32([row["s"] for row in found]), np.float32(chosen * 2) / np.float32(10)
    )
    assert names(target.parent) == [target.name]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_url_gets_what_a_disk_gets(tmp_path, memory, suffix):
    (batch,) = batches(source(tmp_path / "in", suffix))
    for target in (tmp_path / "out" / f"a{suffix}", f"{memory}/out/a{suffix}"):
        with open_writer(target, suffix) as writer:
            writer.write(batch, None, {"s": [0.5] * 10})
    here, there = tmp_path / "out" / f"a{suffix}", UPath(f"{memory}/out/a{suffix}")
    assert there.read_bytes() == here.read_bytes()
    assert rows(here) == rows(there)
    with pytest.raises(KeyboardInterrupt), open_writer(str(there), suffix) as writer:  # noqa: PT012
        writer.write(batch)
        raise KeyboardInterrupt
    assert there.read_bytes() == here.read_bytes()
    assert names(there.parent) == [there.name]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_output_repeats_bit_for_bit(tmp_path, monkeypatch, suffix):
    """Also under another name, at another time."""
    (batch,) = batches(source(tmp_path / "in", suffix))
    for name, now in (("one", 1e9), ("two", 2e9)):
        monkeypatch.setattr("time.time", lambda now=now: now)
        with open_writer(tmp_path / name, suffix) as writer:
            writer.write(batch, [True] * 5 + [False] * 5, {"s": [0.25] * 10})
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_text_becomes_jsonl(tmp_path):
    (tmp_path / "a.md").write_text("one\n\ntwo\n")
    (batch,) = batches(tmp_path / "a.md", Layout(text_unit="paragraph"))
    with open_writer(tmp_path / "out.jsonl", ".jsonl") as writer:
        writer.write(batch)
    assert rows(tmp_path / "out.jsonl") == [{"id": "a.md:1", "text": "one"}, {"id": "a.md:3", "text": "two"}]


@pytest.mark.parametrize("suffix", [".txt", ".md.gz", ".csv", "", "jsonl"])
def test_kinds_that_are_not_written(tmp_path, suffix):
    with pytest.raises(InputError, match="cannot write"), open_writer(tmp_path / "out" / "a", suffix):
        pass
    with (
        pytest.raises(InputError, match="cannot write"),
        ShardWriter(tmp_path / "out", suffix=suffix) as shards,
    ):
        shards.write(batches(source(tmp_path / "in", ".jsonl"))[0])
    assert names(tmp_path / "out") == []


@pytest.mark.parametrize("make", [lambda path, suffix: open_writer(path / f"a{suffix}", suffix),
                                  lambda path, suffix: ShardWriter(path, suffix=suffix)])  # fmt: skip
def test_batches_that_do_not_fit(tmp_path, make):
    (records,) = batches(source(tmp_path / "in", ".jsonl"))
    (table,) = batches(source(tmp_path / "in", ".parquet"))
    (other,) = batches(source(tmp_path / "in", ".parquet", first=20, weight=0.5))
    out = tmp_path / "out"
    for batch, suffix, keep, columns, message in [
        (records, ".parquet", None, None, "Parquet is written from Parquet"),
        (table, ".jsonl", None, None, "JSONL is written from JSONL or text"),
        (records, ".jsonl", [True] * 9, None, "'keep' has 9 values for a batch of 10"),
        (records, ".jsonl", [True] * 11, None, "'keep' has 11 values for a batch of 10"),
        (table, ".parquet", None, {"s": [0.5] * 9}, "'s' has 9 values for a batch of 10"),
        (records, ".jsonl", None, {"s": [0.5] * 11}, "'s' has 11 values for a batch of 10"),
    ]:
        with pytest.raises(InputError, match=message), make(out, suffix) as writer:
            writer.write(batch, keep, columns)
    with (  # noqa: PT012
        pytest.raises(InputError, match=r"one schema.*: .*n int64, weight double after .*n int64$"),
        make(out, ".parquet") as writer,
    ):
        writer.write(table)
        writer.write(other)
    assert names(out) == []


def test_parquet_without_a_batch(tmp_path):
    with (
        pytest.raises(InputError, match="no batch was written"),
        open_writer(tmp_path / "a.parquet", ".parquet"),
    ):
        pass
    assert names(tmp_path) == []
    (batch,) = batches(source(tmp_path / "in", ".parquet"))
    with open_writer(tmp_path / "a.parquet", ".parquet") as writer:
        writer.write(batch, [False] * 10, {"s": [0.5] * 10})
    assert pq.read_table(tmp_path / "a.parquet").schema.names == ["id", "text", "n", "s"]
    assert pq.ParquetFile(tmp_path / "a.parquet").num_row_groups == 0


def test_few_kept_documents_share_a_row_group(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "BATCH", 10)
    path = source(tmp_path / "in", ".parquet", n=400)
    keep = [True] + [False] * 9
    for limit, value, groups in (("_GROUP_ROWS", 1000, 1), ("_GROUP_ROWS", 15, 3), ("_GROUP_BYTES", 1, 40)):
        with monkeypatch.context() as patched:
            patched.setattr(writing, limit, value)
            with open_writer(tmp_path / "a.parquet", ".parquet") as writer:
                for batch in batches(path):
                    writer.write(batch, keep)
        assert pq.ParquetFile(tmp_path / "a.parquet").num_row_groups == groups
        assert [row["n"] for row in rows(tmp_path / "a.parquet")] == list(range(0, 400, 10))


@pytest.mark.parametrize("suffix", [".jsonl.gz", ".jsonl.zst", ".parquet"])
def test_a_disk_that_fills_up_at_the_end(tmp_path, monkeypatch, suffix):
    """Closing writes too: its failure is an error, and does not hide one that came before it."""
    (batch,) = batches(source(tmp_path / "in", suffix))
    real = DocumentWriter.close

    def full(self):
        real(self)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(DocumentWriter, "close", full)
    with pytest.raises(OutputError, match="No space"), open_writer(tmp_path / "out" / "a", suffix) as writer:
        writer.write(batch)
    with pytest.raises(ZeroDivisionError), open_writer(tmp_path / "out" / "a", suffix) as writer:
        writer.write(batch, [1 / 0] * 10)
    assert names(tmp_path / "out") == []


def test_zstandard_is_named_where_it_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(MissingDependencyError, match="zstandard"), open_writer(tmp_path / "a", ".jsonl.zst"):
        pass
    assert names(tmp_path) == []


class TestShards:
    @pytest.mark.parametrize("suffix", SUFFIXES)
    @pytest.mark.parametrize(("size", "expected"), [(1, [1] * 25), (10, [10, 10, 5]), (25, [25]), (26, [25])])
    def test_sizes(self, tmp_path, monkeypatch, suffix, size, expected):
        monkeypatch.setattr(files, "BATCH", 7)
        path = source(tmp_path / "in", suffix, n=25)
        with ShardWriter(tmp_path / "out", documents=size, suffix=suffix, name="part") as shards:
            for batch in batches(path):
                shards.write(batch)
        assert shards.shards == [
            (tmp_path / "out" / f"part-{i:05d}{suffix}", count) for i, count in enumerate(expected)
        ]
        assert names(tmp_path / "out") == [path.name for path, _ in shards.shards]
        back = find_inputs([tmp_path / "out"])
        assert [d.id for d in read_documents(back)] == [f"d{i}" for i in range(25)]
        assert [len(rows(file.path)) for file in back] == expected

    @given(
        batch_sizes=st.lists(st.integers(1, 9), min_size=1, max_size=5),
        size=st.integers(1, 12),
        data=st.data(),
        suffix=st.sampled_from([".jsonl", ".parquet"]),
    )
    @settings(max_examples=60, deadline=None)
    def test_shards_one_after_the_other_are_one_file(self, tmp_path_factory, batch_sizes, size, data, suffix):
        folder = tmp_path_factory.mktemp("shards")
        n = sum(batch_sizes)
        keep = data.draw(st.lists(st.booleans(), min_size=n, max_size=n))
        scores = np.arange(n, dtype=np.float32) / 7
        (whole,) = batches(source(folder / "in", suffix, n=n))
        with (
            ShardWriter(folder / "out", documents=size, suffix=suffix) as shards,
            open_writer(folder / f"one{suffix}", suffix) as one,
        ):
            at = 0
            for length in batch_sizes:
                part = slice(at, at + length)
                batch = files.Batch(
                    whole.documents[part],
                    None if whole.records is None else whole.records[part],
                    None if whole.table is None else whole.table.slice(at, length),
                )
                at += length
                for writer in (shards, one):
                    writer.write(batch, keep[part], {"s": scores[part]})
        expected = rows(folder / f"one{suffix}")
        assert [row["n"] for row in expected] == [i for i in range(n) if keep[i]]
        assert [row for path, _ in shards.shards for row in rows(path)] == expected
        counts = [count for _, count in shards.shards]
        assert counts == [len(rows(path)) for path, _ in shards.shards]
        assert all(count == size for count in counts[:-1])
        assert sum(counts) == sum(keep)
        assert not counts or 1 <= counts[-1] <= size

    def test_a_shard_appears_when_it_is_full(self, tmp_path):
        (batch,) = batches(source(tmp_path / "in", ".jsonl"))
        shards = ShardWriter(tmp_path / "out", documents=4)
        shards.write(batch)
        shown = [name for name in names(tmp_path / "out") if not name.startswith(".")]
        assert shown == ["shard-00000.jsonl.zst", "shard-00001.jsonl.zst"]
        shards.close()
        assert [count for _, count in shards.shards] == [4, 4, 2]
        shards.close()
        assert len(shards.shards) == len(names(tmp_path / "out")) == 3

    @pytest.mark.parametrize("where", ["local", "memory"])
    @pytest.mark.parametrize("error", [KeyboardInterrupt, OSError, InputError])
    def test_an_error_drops_the_unfinished_one(self, tmp_path, memory, where, error):
        (batch,) = batches(source(tmp_path / "in", ".jsonl"))
        out = tmp_path / "out" if where == "local" else UPath(f"{memory}/out")
        expected = OutputError if error is OSError else error
        with pytest.raises(expected), ShardWriter(out, documents=4) as shards:  # noqa: PT012
            shards.write(batch)
            raise error("stop")
        assert names(out) == ["shard-00000.jsonl.zst", "shard-00001.jsonl.zst"]
        assert [count for _, count in shards.shards] == [4, 4]

    def test_a_shard_that_cannot_be_finished_is_not_listed(self, tmp_path, memory, monkeypatch):
        (batch,) = batches(source(tmp_path / "in", ".jsonl"))
        shards = ShardWriter(f"{memory}/out", documents=8)
        shards.write(batch)

        def full(self, *rest, **more):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(type(UPath(memory).fs), "put_file", full)
        with pytest.raises(OutputError, match=r"shard-00001.*No space"):
            shards.close()
        shards.close()
        assert [count for _, count in shards.shards] == [8]
        assert names(UPath(f"{memory}/out")) == ["shard-00000.jsonl.zst"]

    def test_to_a_url_and_back(self, tmp_path, memory):
        (batch,) = batches(source(tmp_path / "in", ".parquet"))
        with ShardWriter(f"{memory}/out", documents=3, suffix=".parquet") as shards:
            shards.write(batch, [True] * 9 + [False])
        assert [(path.name, count) for path, count in shards.shards] == [
            (f"shard-0000{i}.parquet", 3) for i in range(3)
        ]
        assert [d.id for d in read_documents(find_inputs([f"{memory}/out"]))] == [f"d{i}" for i in range(9)]

    def test_nothing_kept_nothing_written(self, tmp_path):
        (batch,) = batches(source(tmp_path / "in", ".jsonl"))
        with ShardWriter(tmp_path / "out") as shards:
            shards.write(batch, [False] * 10)
        assert (shards.shards, names(tmp_path / "out")) == ([], [])
        with pytest.raises(InputError, match="at least 1 document, not 0"):
            ShardWriter(Path("out"), documents=0)
