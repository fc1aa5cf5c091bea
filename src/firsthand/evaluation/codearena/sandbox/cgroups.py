"""Control groups: memory, processes and processor time of a run, counted and limited by the kernel.

Works with cgroup v2 and with v1, whichever has the controllers where this process may make groups; both exist in the
field, and a machine can have v1 controllers beside an empty v2 mount. A judge makes one group for itself and a fresh
one in it for each run: v1 `memory.limit_in_bytes` (+ memsw), `pids.max`, `cpuacct.usage`; v2 `memory.max`,
`memory.swap.max`, `pids.max`, `cpu.stat`. Where neither works, `NoCgroupsError` says why.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from firsthand.errors import FirsthandError
from firsthand.evaluation.codearena.sandbox.leftovers import LockedFolder, abandoned
from firsthand.evaluation.codearena.sandbox.limits import Limits
from firsthand.evaluation.codearena.sandbox.metering import Meter, Meters

__all__ = ["NoCgroupsError", "V1Cgroups", "V2Cgroups", "find_cgroups", "mounted_hierarchies"]

_CONTROLLERS_V1 = ("memory", "pids", "cpuacct")
_CONTROLLERS_V2 = ("memory", "pids")  # processor time is counted without a controller
_LEAF = "judge"


class NoCgroupsError(FirsthandError, RuntimeError):
    """No writable control groups; the message says what was looked at and what was missing."""


@dataclass(frozen=True)
class Mount:
    """A mounted hierarchy: where it is, and where this process stands in it."""

    version: int
    controllers: frozenset[str]
    own: Path


def mounted_hierarchies(proc: Path = Path("/proc/self")) -> list[Mount]:
    """What `mountinfo` and `cgroup` in `proc` say about this process's control groups."""
    own: dict[str, str] = {}  # controllers as listed ("" for v2) -> path from the hierarchy's root
    for line in (proc / "cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        for name in names.split(","):
            own[name] = path
    mounts = []
    for line in (proc / "mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ")[:3]
        root, point = (field.replace("\\040", " ") for field in before.split(" ")[3:5])
        if kind == "cgroup2":
            listed = Path(point) / "cgroup.controllers"
            controllers = set(listed.read_text().split()) if listed.exists() else set()
            place = own.get("")
        elif kind == "cgroup":
            controllers = set(options.split(",")) & set(own)
            place = own[min(controllers)] if controllers else None
        else:
            continue
        if place is None:
            continue
        # A container without a cgroup namespace sees its own path from the machine's root, and its mount from its own.
        inside = place.removeprefix(root.rstrip("/")) if root != "/" else place
        folder = Path(point) / inside.lstrip("/")
        version = 2 if kind == "cgroup2" else 1
        mounts.append(Mount(version, frozenset(controllers), folder if folder.is_dir() else Path(point)))
    return mounts


def find_cgroups(proc: Path = Path("/proc/self")) -> Meters:
    """Make this judge's group where it may be made; raises `NoCgroupsError` with the reasons where it may not."""
    try:
        mounts = mounted_hierarchies(proc)
    except OSError as error:
        raise NoCgroupsError(f"{error.filename}: {error.strerror}") from error
    reasons = []
    for find in (_find_v2, _find_v1):
        try:
            return find(mounts)
        except NoCgroupsError as error:
            reasons.append(str(error))
    raise NoCgroupsError("; ".join(reasons))


def _find_v1(mounts: list[Mount]) -> Meters:
    homes = {}
    for name in _CONTROLLERS_V1:
        found = [mount.own for mount in mounts if mount.version == 1 and name in mount.controllers]
        if not found:
            raise NoCgroupsError(f"v1: the {name} controller is not mounted")
        for path in (found[0], found[0] / "tasks"):
            if not os.access(path, os.W_OK):
                raise NoCgroupsError(f"v1: {path} is not writable for this user")
        homes[name] = found[0]
    return V1Cgroups(homes)


def _find_v2(mounts: list[Mount]) -> Meters:
    found = [mount for mount in mounts if mount.version == 2]
    if not found:
        raise NoCgroupsError("v2: not mounted")
    missing = [name for name in _CONTROLLERS_V2 if name not in found[0].controllers]
    if missing:
        raise NoCgroupsError(f"v2: without the controllers {', '.join(missing)}")
    home = found[0].own
    if home.name == _LEAF and _hands_on(home.parent):
        home = home.parent  # where an earlier call in this process, or the one that started it, stepped into
    if not os.access(home, os.W_OK) or not os.access(home / "cgroup.subtree_control", os.W_OK):
        raise NoCgroupsError(
            f"v2: {home} is not writable for this user; systemd-run --user --scope -p Delegate=yes COMMAND "
            "starts a command in a group that it may divide"
        )
    return V2Cgroups(home)


def _hands_on(folder: Path) -> bool:
    try:
        return set(_CONTROLLERS_V2) <= set((folder / "cgroup.subtree_control").read_text().split())
    except OSError:
        return False


def _write(path: Path | str, text: str) -> None:
    # One write(2): the kernel takes a value whole or not at all, and the fault is the write's.
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def _read(path: Path | str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, 1 << 16)
    finally:
        os.close(descriptor)


def _read_number(path: Path | str) -> int:
    return int(_read(path))


def _counter(path: Path | str, name: str) -> int:
    for line in _read(path).decode().splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    return 0


def _remove_group(folder: Path, *, patience_s: float = 5.0) -> None:
    """Remove a group and its children, after killing what is in them; a killed process takes a moment to leave."""
    deadline = time.monotonic() + patience_s
    pause = 0.0005
    while True:
        try:
            folder.rmdir()
            return
        except FileNotFoundError:
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
        for child in [path for path in folder.iterdir() if path.is_dir()]:
            _remove_group(child)
        with contextlib.suppress(OSError):
            for pid in map(int, (folder / "cgroup.procs").read_text().split()):
                if pid != os.getpid():
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.kill(pid, signal.SIGKILL)
        time.sleep(pause)
        pause = min(2 * pause, 0.02)


class V1Cgroups:
    """Groups in three v1 hierarchies."""

    kind = "cgroup v1"
    limits_processes = True

    def __init__(self, homes: Mapping[str, Path]) -> None:
        """`homes`: for each controller the group to make ours in."""
        self._homes = homes
        self._runs = itertools.count(1)
        self._locked: dict[Path, LockedFolder] = {}
        try:
            for home in homes.values():
                if home not in self._locked:  # two controllers may share a hierarchy
                    self._locked[home] = LockedFolder.create(home, mode=0o755)
        except OSError as error:
            self.close()
            raise NoCgroupsError(f"v1: {error.filename}: {error.strerror}") from error
        self._folders = {controller: self._locked[home].path for controller, home in homes.items()}
        self.place = str(self._folders["memory"])
        self.left_over = [name for home in self._locked for name in abandoned(home, _remove_group)]

    def open_run(self, limits: Limits) -> Meter:
        """A fresh group in each hierarchy, with these limits."""
        run = f"run-{next(self._runs)}"
        folders = {name: folder / run for name, folder in self._folders.items()}
        for folder in set(folders.values()):
            folder.mkdir()
        _write(folders["pids"] / "pids.max", str(limits.processes + 2))  # launcher and guard
        return _V1Run(self._homes, folders, limits.memory_mb << 20)

    def close(self) -> None:
        """Remove this judge's groups."""
        for locked in self._locked.values():
            _remove_group(locked.path)
            locked.release()


class _V1Run:
    """A run's groups.

    To move a process into a group is slow: the kernel waits until no processor is in the middle of a fork, some
    milliseconds. A thread that moves itself waits for nothing, and what it starts is in its group from birth. So the
    judge's thread steps into the groups, starts the launcher, and steps back; what the launcher used until the
    program's start is taken off again.
    """

    period_s = None

    def __init__(self, homes: Mapping[str, Path], folders: Mapping[str, Path], memory: int) -> None:
        self._homes = homes
        self._folders = folders
        self._memory = memory
        self._setup_ms = 0.0
        self._too_little = False

    @contextlib.contextmanager
    def launching(self) -> Iterator[None]:
        try:
            for folder in self._folders.values():
                _write(folder / "tasks", "0")
            yield
        finally:
            for home in self._homes.values():
                _write(home / "tasks", "0")

    def attach(self, pid: int, launcher: int) -> None:
        self._setup_ms = self.cpu_ms()
        memory = self._folders["memory"]
        _write(memory / "memory.max_usage_in_bytes", "0")  # from now on
        # Only now, when the judge's thread is out: whoever is in a group that is full may be killed.
        try:
            _write(memory / "memory.limit_in_bytes", str(self._memory))
            with contextlib.suppress(FileNotFoundError):  # a kernel that does not count swap
                _write(memory / "memory.memsw.limit_in_bytes", str(self._memory))
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            self._too_little = True  # less than the launcher has

    def sample(self) -> None:
        pass

    def ended(self, cpu_ms: float, largest_kb: int) -> None:
        pass

    def cpu_ms(self) -> float:
        return _read_number(self._folders["cpuacct"] / "cpuacct.usage") / 1e6 - self._setup_ms

    def peak_kb(self) -> int:
        return _read_number(self._folders["memory"] / "memory.max_usage_in_bytes") >> 10

    def out_of_memory(self) -> bool:
        return self._too_little or _counter(self._folders["memory"] / "memory.oom_control", "oom_kill") > 0

    def close(self) -> None:
        for folder in self._folders.values():
            _remove_group(folder)


class V2Cgroups:
    """Groups in the v2 hierarchy."""

    kind = "cgroup v2"
    limits_processes = True

    def __init__(self, home: Path) -> None:
        """`home`: the group that this process is in, to divide."""
        self._runs = itertools.count(1)
        try:
            self._enable(home)
            self._locked = LockedFolder.create(home, mode=0o755)
        except OSError as error:
            raise NoCgroupsError(f"v2: {error.filename}: {error.strerror}") from error
        self._folder = self._locked.path
        try:
            self._enable(self._folder)
        except OSError as error:
            self.close()
            raise NoCgroupsError(f"v2: {home} does not hand on its memory and pids controllers") from error
        self.place = str(self._folder)
        self.left_over = list(abandoned(home, _remove_group))

    @staticmethod
    def _enable(folder: Path) -> None:
        control = folder / "cgroup.subtree_control"
        if _hands_on(folder):
            return
        wanted = " ".join(f"+{name}" for name in _CONTROLLERS_V2)
        try:
            _write(control, wanted)
        except OSError as busy:
            # A group with processes of its own may not hand on controllers. Where this process is alone in it, it
            # can step into a group below; it does not move other programs about.
            alone = (folder / "cgroup.procs").read_text().split() == [str(os.getpid())]
            if not alone:
                raise OSError(
                    busy.errno,
                    f"{busy.strerror} (the group holds other processes: start the judge in a group of its own, "
                    "with systemd-run --user --scope -p Delegate=yes COMMAND)",
                    str(control),
                ) from busy
            below = folder / _LEAF
            below.mkdir(exist_ok=True)
            _write(below / "cgroup.procs", str(os.getpid()))
            _write(control, wanted)

    def open_run(self, limits: Limits) -> Meter:
        """A fresh group with these limits."""
        folder = self._folder / f"run-{next(self._runs)}"
        folder.mkdir()
        _write(folder / "memory.max", str(limits.memory_mb << 20))
        with contextlib.suppress(FileNotFoundError):  # a kernel without swap
            _write(folder / "memory.swap.max", "0")
        # All or nothing: a program that goes on without the process the kernel picked is not worth reading.
        with contextlib.suppress(FileNotFoundError):
            _write(folder / "memory.oom.group", "1")
        _write(folder / "pids.max", str(limits.processes + 1))  # the guard
        return _V2Run(folder)

    def close(self) -> None:
        """Remove this judge's group."""
        _remove_group(self._folder)
        self._locked.release()


class _V2Run:
    """A run's group, which the guard is moved into: version 2 knows no threads of one process in several groups."""

    period_s = None

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._most = 0

    def launching(self) -> AbstractContextManager[None]:
        return contextlib.nullcontext()

    def attach(self, pid: int, launcher: int) -> None:
        _write(self._folder / "cgroup.procs", str(pid))

    def sample(self) -> None:
        if not (self._folder / "memory.peak").exists():  # before Linux 5.19: the most that any look saw
            self._most = max(self._most, _read_number(self._folder / "memory.current"))

    def ended(self, cpu_ms: float, largest_kb: int) -> None:
        self._most = max(self._most, largest_kb << 10)

    def cpu_ms(self) -> float:
        return _counter(self._folder / "cpu.stat", "usage_usec") / 1e3

    def peak_kb(self) -> int:
        with contextlib.suppress(FileNotFoundError):
            self._most = _read_number(self._folder / "memory.peak")
        return self._most >> 10

    def out_of_memory(self) -> bool:
        return _counter(self._folder / "memory.events", "oom_kill") > 0

    def close(self) -> None:
        with contextlib.suppress(OSError):
            _write(self._folder / "cgroup.kill", "1")
        _remove_group(self._folder)
