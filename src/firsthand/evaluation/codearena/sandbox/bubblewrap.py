"""Runs a program that nobody trusts: bubblewrap's namespaces, a seccomp filter, resource limits, a meter around it.

What the program finds: `/usr` and the few files of `/etc` that the loader and compilers need, its own box at `/box`,
all read-only; its standard input at `/input`; an empty `/tmp` and `/dev/shm` of limited size; a `/proc` with its own
processes; no network, no environment, no privileges, an unprivileged user id. There is no other way to run it.

How a run goes, from the launch to its verdict on limits, is in `runs.py`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from firsthand.errors import InputError
from firsthand.evaluation.codearena.errors import SandboxUnavailable
from firsthand.evaluation.codearena.sandbox.leftovers import LockedFolder, abandoned
from firsthand.evaluation.codearena.sandbox.limits import NOTHING, Limits, RunResult
from firsthand.evaluation.codearena.sandbox.metering import Meters
from firsthand.evaluation.codearena.sandbox.runs import Files, PreparedRun, guard
from firsthand.evaluation.codearena.sandbox.seccomp import filter_bytes

__all__ = ["INSIDE_ID", "OUTSIDE_ID", "PROGRAM_PATH", "BubblewrapBox", "BubblewrapSandbox"]

INSIDE_ID = 65534
# Who the program is to the machine where the judge is root: an id that no account and no other service has.
OUTSIDE_ID = 60742
PROGRAM_PATH = "/usr/local/bin:/usr/bin:/bin"


def _system_folders() -> list[str]:
    """Arguments that show what programs need of this machine; `/bin` is a link on some machines, a folder on others."""
    shown = ["--ro-bind", "/usr", "/usr"]
    for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        path = Path("/", name)
        if path.is_symlink():
            shown += ["--symlink", str(path.readlink()), str(path)]
        elif path.is_dir():
            shown += ["--ro-bind", str(path), str(path)]
    for file in ("/etc/alternatives", "/etc/ld.so.cache"):
        shown += ["--ro-bind-try", file, file]
    return shown


def _memory_file(name: str, content: bytes = b"") -> int:
    descriptor = os.memfd_create(name)
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


class BubblewrapSandbox:
    """The sandbox. `isolation.open_sandbox` makes one after it has seen that it isolates.

    Several threads may use one sandbox. Close it, or use it as a context manager.
    """

    def __init__(self, meters: Meters) -> None:
        """`meters`: counts what runs use; closed with the sandbox.

        Raises:
            SandboxUnavailable: bubblewrap, or setpriv where the judge is root, is not installed.
            MissingDependencyError: libseccomp or pyseccomp is not installed.
        """
        self.meters = meters
        self._filter = filter_bytes(memory_is_counted=meters.kind != "sampler")
        self._prefix: list[str] = []
        if os.geteuid() == 0:
            self._prefix = [
                _program("setpriv", "util-linux"),
                f"--reuid={OUTSIDE_ID}", f"--regid={OUTSIDE_ID}", "--clear-groups", "--inh-caps=-all", "--",
            ]  # fmt: skip
        self._prefix += [
            _program("bwrap", "bubblewrap"),
            "--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup",
            "--die-with-parent", "--new-session", "--as-pid-1", "--cap-drop", "ALL", "--hostname", "box",
            "--uid", str(INSIDE_ID), "--gid", str(INSIDE_ID), "--clearenv",
            *_system_folders(), "--proc", "/proc", "--dev", "/dev",
        ]  # fmt: skip
        self._folder = LockedFolder.create(Path(tempfile.gettempdir()))
        self.left_over = list(abandoned(self._folder.path.parent, _remove_abandoned))
        self._leave = weakref.finalize(self, _leave, self._folder, meters, os.getpid())

    def __enter__(self) -> BubblewrapSandbox:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove this sandbox's folders and its meter's groups; so does the process's end, where nobody closed it."""
        self._leave()

    @contextlib.contextmanager
    def box(self, files: Mapping[str, bytes] = NOTHING) -> Iterator[BubblewrapBox]:
        """A box for several runs, removed with all its files at the end."""
        folder = Path(tempfile.mkdtemp(dir=self._folder.path))
        folder.chmod(0o755)
        try:
            box = BubblewrapBox(self, folder)
            for name, content in files.items():
                box.put(name, content)
            yield box
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        files: Mapping[str, bytes] = NOTHING,
        limits: Limits = Limits(),  # noqa: B008 - frozen
    ) -> RunResult:
        """Run a program once, in a box of its own with these files in `/box`."""
        with self.box(files) as box:
            return box.run(argv, stdin=stdin, limits=limits)

    def _command(
        self,
        folder: Path,
        limits: Limits,
        environment: Mapping[str, str],
        visible: Sequence[str],
        files: Files,
    ) -> list[str]:
        size = str(limits.file_mb << 20)
        variables = {"PATH": PROGRAM_PATH, "LANG": "C.UTF-8", "HOME": "/tmp", "TMPDIR": "/tmp", **environment}
        command = [*self._prefix]
        for path in visible:
            command += ["--ro-bind-try", path, path]
        for name, value in variables.items():
            command += ["--setenv", name, value]
        command += [
            "--size", size, "--tmpfs", "/dev/shm", "--remount-ro", "/dev", "--size", size, "--tmpfs", "/tmp",
            "--ro-bind", str(folder), "/box", "--ro-bind-data", str(files.input), "/input",
            "--remount-ro", "/", "--chdir", "/tmp",
            "--seccomp", str(files.filter), "--info-fd", str(files.info), "--",
        ]  # fmt: skip
        return command


def _remove_abandoned(folder: Path) -> None:
    """A dead judge's folder, and a `bwrap` of its that was not yet tied to it when it died."""
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            ours = str(folder).encode() in (path / "cmdline").read_bytes()
            if ours and (path / "comm").read_text().strip() == "bwrap":
                os.kill(int(path.name), signal.SIGKILL)
    shutil.rmtree(folder)


def _leave(folder: LockedFolder, meters: Meters, owner: int) -> None:
    if os.getpid() == owner:  # a forked child has what it inherited, and it is not the child's to remove
        shutil.rmtree(folder.path, ignore_errors=True)
        folder.release()
        meters.close()


def _program(name: str, package: str) -> str:
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:{PROGRAM_PATH}")
    if found is None:
        raise SandboxUnavailable(
            f"{name} is not installed, and nothing is judged without it: apt-get install {package}"
        )
    return found


class BubblewrapBox:
    """A folder that a program sees as `/box`. Made by `BubblewrapSandbox.box`; one run at a time."""

    def __init__(self, sandbox: BubblewrapSandbox, folder: Path) -> None:
        self._sandbox = sandbox
        self._folder = folder

    def put(self, name: str, content: bytes) -> None:
        """Add or replace a file; raises `InputError` for a name that is not a plain file name."""
        path = self._path(name)
        path.write_bytes(content)
        path.chmod(0o644)

    def _path(self, name: str) -> Path:
        if not name or "/" in name or "\0" in name or name in (".", ".."):
            raise InputError(f"{name!r}: a file of a box has a plain name without folders")
        return self._folder / name

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        limits: Limits = Limits(),  # noqa: B008 - frozen
        environment: Mapping[str, str] = {},
        visible: Sequence[str] = (),
        stdout_to: str | None = None,
    ) -> RunResult:
        """Run a program in this box; see `limits.Box.run`."""
        prepared = self.prepare(
            argv, stdin=stdin, limits=limits, environment=environment, visible=visible, stdout_to=stdout_to
        )
        with contextlib.closing(prepared):
            return prepared.run()

    def prepare(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        limits: Limits = Limits(),  # noqa: B008 - frozen
        environment: Mapping[str, str] = {},
        visible: Sequence[str] = (),
        stdout_to: str | None = None,
    ) -> PreparedRun:
        """Start to make a run's surroundings, and do not wait for them; see `limits.Box.prepare`."""
        if not argv or any("\0" in part for part in argv):
            raise InputError(f"{list(argv)!r}: a program and arguments without NUL characters are needed")
        sandbox = self._sandbox
        with contextlib.ExitStack() as stack:

            def opened(descriptor: int) -> int:
                stack.callback(os.close, descriptor)
                return descriptor

            kept = None if stdout_to is None else self._path(stdout_to)
            if kept is None:
                stdout = opened(_nameless_file(self._folder.parent))
            else:
                stdout = opened(_empty_file(kept))
                stack.callback(_keep_what_was_made, kept)
            files = Files(
                input=opened(_memory_file("input", stdin)),
                filter=opened(_memory_file("filter", sandbox._filter)),
                info=opened(_memory_file("info")),
                stdout=stdout,
                stderr=opened(_nameless_file(self._folder.parent)),
            )
            meter = sandbox.meters.open_run(limits)
            stack.callback(meter.close)
            command = sandbox._command(self._folder, limits, environment, visible, files)
            return PreparedRun(
                [*command, *guard(limits, limit_processes=not sandbox.meters.limits_processes), *argv],
                files,
                meter,
                limits,
                stack,
                made=None if kept is None else lambda: kept.chmod(0o755),
            )


def _empty_file(path: Path) -> int:
    path.unlink(missing_ok=True)
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)


def _keep_what_was_made(path: Path) -> None:
    """A compiler's result is made executable where all went well; what is not is removed."""
    if not path.stat().st_mode & 0o100:
        path.unlink()


def _nameless_file(folder: Path) -> int:
    """A file without a name that whoever has it open may open once more for writing, as `/dev/stdout`."""
    flags = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC
    try:
        descriptor = os.open(folder, flags | os.O_TMPFILE, 0o600)
    except OSError:  # some file systems cannot
        path = folder / f"output-{os.getpid()}-{time.monotonic_ns()}"
        descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600)
        path.unlink()
    os.fchmod(descriptor, 0o622)
    return descriptor
