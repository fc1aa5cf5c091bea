"""JSON, a value a line, as people bring it: whole files, and the line that is none."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from firsthand.errors import InputError, NotFoundError

__all__ = ["read_json_lines"]


def read_json_lines(
    path: Path, *, hint: str = "", fault: type[InputError] = InputError
) -> Iterator[tuple[int, Any]]:
    """(number from 1, value) of each line of a JSONL file that is not empty.

    Raises `NotFoundError` (with `hint`, which says where such a file comes from), and `fault` for a file that is no
    text or a line that is no JSON, with its number.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")  # a text may hold other ends of lines
    except FileNotFoundError:
        raise NotFoundError(f"there is no file {path}" + (f"; {hint}" if hint else "")) from None
    except (OSError, UnicodeDecodeError) as error:
        raise fault(f"{path} cannot be read as text ({error})") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield number, json.loads(line)
        except ValueError as error:
            raise fault(f"{path}, line {number} is no JSON ({error})") from error
