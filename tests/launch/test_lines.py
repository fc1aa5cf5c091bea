"""JSON lines: what is read, and what is wrong with which line."""

from __future__ import annotations

import pytest

from firsthand.errors import InputError, NotFoundError
from firsthand.launch.lines import read_json_lines


def test_values_with_their_numbers(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text('{"a": 1}\n\n  \r\n[2]\n"one\u2028text"\r\n', encoding="utf-8", newline="")
    assert list(read_json_lines(path)) == [(1, {"a": 1}), (4, [2]), (5, "one\u2028text")]


def test_what_is_wrong_is_named(tmp_path):
    path = tmp_path / "x.jsonl"
    with pytest.raises(NotFoundError, match=r"x\.jsonl; `make` writes it"):
        list(read_json_lines(path, hint="`make` writes it"))
    path.write_text('{"a": 1}\n{\n')
    lines = read_json_lines(path)
    assert next(lines) == (1, {"a": 1})
    with pytest.raises(InputError, match="line 2 is no JSON"):
        next(lines)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="cannot be read as text"):
        list(read_json_lines(path))
    with pytest.raises(InputError, match="cannot be read as text"):
        list(read_json_lines(tmp_path))
