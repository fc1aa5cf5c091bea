"""What a run is told, as a TOML file: keys are the names of flags, an unknown one is an error.

A room describes its settings as a `Settings` model; `read_settings` reads a file into it, and `commented_toml` writes
one with every key, what it means and its default.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from firsthand.errors import InputError, NotFoundError

__all__ = ["Settings", "commented_toml", "read_settings"]


def _hyphens(name: str) -> str:
    return name.replace("_", "-")


class Settings(BaseModel):
    """Base of a room's settings: frozen, hyphens for underscores in the file. Describe each field."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=_hyphens, validate_by_name=True, validate_by_alias=True
    )


S = TypeVar("S", bound=Settings)


def read_settings(path: Path, kind: type[S]) -> S:
    """Read a TOML file; raises `InputError` naming file, key and cause, `NotFoundError` where there is none."""
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise NotFoundError(f"{path}: no such file; --print-config writes one to start from") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not TOML: {error}") from error
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        known = ", ".join(_hyphens(name) for name in kind.model_fields)
        faults = []
        for fault in error.errors():
            key = ".".join(str(part) for part in fault["loc"])
            unknown = fault["type"] == "extra_forbidden"
            said = f"unknown key (known: {known})" if unknown else fault["msg"].removeprefix("Value error, ")
            faults.append(f"{key}: {said}" if key else said)
        raise InputError(f"{path}: " + "; ".join(faults)) from error


def commented_toml(
    kind: type[Settings], command: str, examples: Mapping[str, Any], *, leave_out: Sequence[str] = ()
) -> str:
    """A file for `command` with every key, its description, and its default; `examples` for keys without one.

    Fields in `leave_out` (tables) are the caller's to write.
    """
    lines = [f"# {command} THIS_FILE", ""]
    for name, field in kind.model_fields.items():
        if name in leave_out:
            continue
        lines.append(f"# {field.description}")
        if field.is_required():
            lines.append(f"{_hyphens(name)} = {json.dumps(examples[name])}")
        elif field.default is None:
            lines.append(f'# {_hyphens(name)} = ""')
        else:
            lines.append(f"{_hyphens(name)} = {json.dumps(field.default)}")
    return "\n".join(lines) + "\n"
