"""Tables with a key: written whole, known again, and nothing taken for whole that is not."""

from __future__ import annotations

import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from firsthand.corpora.tables import arrow, stored_key, stored_rows, write_table
from firsthand.errors import MissingDependencyError

TABLE = pa.table({"id": ["a", "b"], "n": [1, 2]})


def test_a_table_comes_back_with_its_key(tmp_path):
    path = tmp_path / "run:1" / "0.parquet"  # with a colon, which pyarrow alone would read as a URL
    assert stored_key(path) is None
    write_table(TABLE, path, "key:0")
    assert stored_key(path) == "key:0"
    assert stored_rows(path) == 2
    with path.open("rb") as stream:
        assert pq.read_table(stream).to_pylist() == TABLE.to_pylist()
    assert [found.name for found in path.parent.iterdir()] == ["0.parquet"]


def test_no_key_and_damage_match_nothing(tmp_path):
    write_table(TABLE, tmp_path / "plain.parquet")
    assert stored_key(tmp_path / "plain.parquet") == ""
    write_table(TABLE, tmp_path / "cut.parquet", "key")
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "cut.parquet").read_bytes()[:100])
    assert stored_key(tmp_path / "cut.parquet") is None


def test_missing_pyarrow_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(MissingDependencyError, match=r"pyarrow: pip install 'firsthand\[data\]'"):
        arrow()
