"""Where files lie: a local path, or a URL that fsspec knows; read anywhere, written whole or not at all.

Knows nothing of what is in a file. A local place is a `pathlib.Path`; a URL such as `s3://bucket/part.jsonl`
becomes a `UPath`, which has the same methods, so that whoever reads need not ask which it is. Writing always
goes to a local file first, which is then renamed or uploaded: nobody ever sees half of it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from firsthand.errors import FirsthandError, InputError, MissingDependencyError, OutputError

__all__ = ["Place", "as_place", "atomic_file", "is_local", "read_json", "write_json"]

Place = Path  # or a UPath, which quacks alike: see `as_place`

_URL = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]+::)*[A-Za-z][A-Za-z0-9+.-]+://")  # `C:/` is none
_PATTERN = re.compile(r"[*?\[]")
_LOCAL = ("", "file", "local")


def as_place(given: Path | str) -> Path:
    """A local path as a `Path`, a URL as a `UPath`; `file://` URLs and local `UPath`s are local paths.

    Raises:
        InputError: a URL of a scheme that fsspec does not know, or whose file system cannot be set up.
        MissingDependencyError: universal-pathlib, or what fsspec needs for this scheme (s3fs, gcsfs, …), is
            not installed.
    """
    place: Any = given
    if isinstance(given, str):
        scheme = _URL.match(given)
        if scheme is None:
            return Path(given).expanduser()
        if scheme[0].lower() in ("file://", "local://"):
            return Path(given[scheme.end() :]).expanduser()
    elif not hasattr(given, "protocol"):
        return given
    elif place.protocol in _LOCAL:
        return Path(place.path)
    try:
        if isinstance(given, str):
            place = _upath(given)
        place.fs  # noqa: B018, makes the file system: says now what is not installed
    except FirsthandError:
        raise
    except ImportError as error:
        raise MissingDependencyError(f"{given}: fsspec needs another package for it: {error}") from error
    except Exception as error:  # an unknown scheme, no host, missing settings: each has an error of its own
        raise InputError(f"{given}: {error}") from error
    found: Path = place
    return found


def _upath(url: str) -> Any:
    try:
        from upath import UPath
    except ImportError as error:
        raise MissingDependencyError(
            f"{url}: a URL needs universal-pathlib: pip install 'firsthand[data]'"
        ) from error
    return UPath(url)


def is_local(place: Path) -> bool:
    """Whether `place` is on this machine's file system."""
    return isinstance(place, Path) and getattr(place, "protocol", "") in _LOCAL


@contextlib.contextmanager
def atomic_file(target: Path) -> Iterator[Path]:
    """A local path to write to; it becomes `target` at the end, and is removed if anything goes wrong.

    Beside a local target, so that the last step is a rename. For a URL it lies in the temporary folder, is
    uploaded under another name, and then moved. An `OSError` (full disk, no permission) becomes an
    `OutputError` that names the target.
    """
    name = f".{target.name}.{os.getpid()}.part"
    with contextlib.ExitStack() as stack:
        try:
            if is_local(target):
                target.parent.mkdir(parents=True, exist_ok=True)
                beside = target.with_name(name)
                stack.callback(_remove, beside)
            else:
                beside = Path(stack.enter_context(tempfile.TemporaryDirectory())) / name
            yield beside
            if is_local(target):
                beside.replace(target)
            else:
                _upload(beside, target)
        except FirsthandError:
            raise
        except OSError as error:
            raise OutputError(f"cannot write {target}: {error.strerror or error}") from error


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


def _upload(local: Path, target: Any) -> None:
    part = target.with_name(local.name)
    if not local.is_file():
        raise FileNotFoundError(f"nothing was written to {local}")
    try:
        with contextlib.suppress(FileExistsError):  # in an object store there is no folder to make
            target.parent.mkdir(parents=True, exist_ok=True)
        target.fs.put_file(str(local), part.path)
        if _PATTERN.search(part.path):  # `mv` would take `a[1].jsonl` for a pattern
            target.fs.cp_file(part.path, target.path)
            target.fs.rm_file(part.path)
        else:
            target.fs.mv(part.path, target.path)
    except BaseException as error:
        with contextlib.suppress(Exception):
            target.fs.rm_file(part.path)
        if isinstance(error, OSError) or not isinstance(error, Exception):
            raise
        # drivers have errors of their own: of the HTTP client, of the vendor
        raise OutputError(f"cannot write {target}: {type(error).__name__}: {error}") from error


def write_json(path: Path, value: Any) -> None:
    """Write JSON beside `path` and rename."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    try:
        data = text.encode("utf-8")
    except UnicodeEncodeError:  # a file name that is not UTF-8, a lone surrogate: JSON has escapes for them
        data = json.dumps(value, indent=2).encode("ascii")
    with atomic_file(path) as beside:
        beside.write_bytes(data + b"\n")


def read_json(path: Path) -> Any:
    """What a JSON file holds; None where it is not there or not JSON."""
    with contextlib.suppress(OSError, ValueError):
        return json.loads(path.read_text(encoding="utf-8"))
    return None
