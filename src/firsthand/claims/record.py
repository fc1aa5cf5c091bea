"""Records: what a run of a check leaves on disk, and how it is read again.

A record is one JSON file. It is written beside its place and renamed. Reading another schema version is
an error that says so: a verdict must never be guessed from fields that have changed their meaning.
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from firsthand.claims.model import SCHEMA_VERSION, Environment, Record
from firsthand.errors import InputError, NotFoundError
from firsthand.launch.cache import cache_root, write_atomically

__all__ = [
    "describe_environment",
    "find_records",
    "git_commit",
    "read_record",
    "without_places",
    "write_record",
]

# Versions of these are worth keeping: results depend on them.
PACKAGES = (
    "firsthand", "numpy", "scipy", "torch", "transformers", "tokenizers", "scikit-learn",
    "fasttext-numpy2", "pyarrow", "gguf", "ray", "trl", "peft", "diffusers",
)  # fmt: skip


def write_record(record: Record, path: Path) -> None:
    """Write `record` as JSON, whole or not at all."""
    write_atomically(path, record.model_dump_json(indent=1) + "\n")


def read_record(path: Path) -> Record:
    """Read one record; raises `NotFoundError` or `InputError` naming the file and the first fault."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise NotFoundError(f"no record at {path}") from error
    except OSError as error:
        raise InputError(f"cannot read the record {path}: {error.strerror or error}") from error
    except ValueError as error:  # not UTF-8, not JSON
        raise InputError(f"{path} is not a record: {error}") from error
    version = raw.get("schema_version") if isinstance(raw, dict) else None
    if version != SCHEMA_VERSION:
        raise InputError(f"{path}: schema version {version!r}; this Firsthand reads version {SCHEMA_VERSION}")
    try:
        return Record.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{path}: {where}: {first['msg']}") from error


def find_records(folder: Path) -> list[Path]:
    """The record files below a folder of runs (ROOM/SCALE.json), or of one room; finished seeds are not meant.

    Raises `NotFoundError` where there is none, `InputError` where the folder cannot be read.
    """
    try:
        if folder.is_file():
            return [folder]
        if not folder.is_dir():
            raise NotFoundError(f"no such file or folder: {folder}")
        found = sorted([*folder.glob("*.json"), *folder.glob("*/*.json")])
    except NotFoundError:
        raise
    except OSError as error:
        raise InputError(f"cannot read {folder}: {error.strerror or error}") from error
    found = [path for path in found if not path.name.startswith("seed-")]
    if not found:
        raise NotFoundError(f"no records in {folder}; `firsthand check NAME --out {folder}` writes them")
    return found


def git_commit(folder: Path) -> str | None:
    """The commit of the checkout that `folder` lies in, "-dirty" behind it where files differ; else None."""
    try:
        answer = subprocess.run(
            ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12", "--match="],
            capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() or None


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def describe_environment(device: str = "cpu", dtype: str = "float32") -> Environment:
    """This machine and the package versions that results depend on. Names no host and no path."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return Environment(
        python=platform.python_version(),
        platform=f"{sys.platform} {platform.machine()}",
        processor=_processor(),
        cores=os.cpu_count() or 1,
        memory_gib=round(memory, 1),
        device=device,
        dtype=dtype,
        packages=versions,
    )


def without_places(value: Any) -> Any:
    """`value` (plain JSON) with the folders of this machine and user named by their role: <cache>, <home>.

    Records travel with the package; where somebody keeps their files is nobody's business and makes two
    equal runs differ.
    """
    places = {
        str(cache_root()): "<cache>",
        os.path.realpath(os.curdir): "<here>",
        sys.prefix: "<python>",
        tempfile.gettempdir(): "<temporary>",
        os.environ.get("HOME", ""): "<home>",
    }
    known = [place for place in places if Path(place).is_absolute() and len(Path(place).parts) > 1]
    longest_first = sorted(known, key=len, reverse=True)
    pattern = re.compile(rf"(?<![\w.-])(?:{'|'.join(map(re.escape, longest_first))})(?![\w-])")

    def renamed(part: Any) -> Any:
        if isinstance(part, str):
            return pattern.sub(lambda match: places[match.group()], part)
        if isinstance(part, dict):
            return {renamed(key): renamed(inner) for key, inner in part.items()}
        return [renamed(inner) for inner in part] if isinstance(part, list) else part

    return renamed(value)
