"""A PostgreSQL server of the tests' own, in a folder of its own, reached through a socket in it."""

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


def _program(name: str) -> str | None:
    """Debian keeps the server's programs out of the path."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: path.parts[4])
    return shutil.which(name) or (str(found[-1]) if found else None)


@contextlib.contextmanager
def server(*, durable: bool = False) -> Iterator[str]:
    """The URL of a fresh server's first database; skips where Debian's `postgresql` is not installed.

    `durable`: it waits for the disk at every commit, as one in production does and a test need not.
    """
    initdb, control = _program("initdb"), _program("pg_ctl")
    if initdb is None or control is None:
        pytest.skip("needs a PostgreSQL server: apt-get install postgresql")
    folder = Path(tempfile.mkdtemp(prefix="firsthand-pg-"))
    other = {}
    if os.getuid() == 0:  # the server refuses to run as root
        other = {"user": "nobody", "group": "nogroup", "extra_groups": []}
        shutil.chown(folder, "nobody", "nogroup")
    data = folder / "data"

    def run(*command: str) -> None:
        done = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False, **other)
        assert done.returncode == 0, done.stdout + done.stderr

    try:
        run(
            initdb,
            "-D",
            str(data),
            "-A",
            "trust",
            "-U",
            "postgres",
            "-E",
            "UTF8",
            "--no-sync",
            "--no-instructions",
        )
        options = (
            f"-c listen_addresses='' -k {folder} -c fsync={'on' if durable else 'off'} "
            "-c shared_buffers=32MB -c max_connections=120"
        )
        run(control, "-D", str(data), "-l", str(folder / "log"), "-o", options, "-w", "start")
        try:
            yield f"postgresql://postgres@/postgres?host={folder}"
        finally:
            run(control, "-D", str(data), "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
