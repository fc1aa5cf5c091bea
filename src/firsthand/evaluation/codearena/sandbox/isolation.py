"""What isolation this machine can give a judged program, tried out piece by piece, and the sandbox made of it.

`examine` runs a program in the sandbox and reads what it found: `firsthand codearena doctor` prints the answer, item
by item, with what to do about what is missing. `open_sandbox` refuses with `SandboxUnavailable` where an item that is
needed does not work. There is no run without isolation, whatever the settings.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from firsthand.errors import FirsthandError
from firsthand.evaluation.codearena.errors import SandboxUnavailable
from firsthand.evaluation.codearena.sandbox.bubblewrap import INSIDE_ID, PROGRAM_PATH, BubblewrapSandbox
from firsthand.evaluation.codearena.sandbox.cgroups import NoCgroupsError, find_cgroups
from firsthand.evaluation.codearena.sandbox.limits import Limits, RunResult
from firsthand.evaluation.codearena.sandbox.metering import Meters
from firsthand.evaluation.codearena.sandbox.processes import Sampler, missing_for_sampling

__all__ = ["Isolation", "Item", "examine", "open_sandbox"]

# What a program sees of itself and of its surroundings, read by `_items_from_inside`.
_PROBE = r"""
id -u
for kind in @KINDS@; do printf '%s ' "$(readlink "/proc/self/ns/$kind")"; done; echo
grep -E '^(NoNewPrivs|Seccomp|CapEff|CapBnd):' /proc/self/status | tr '\n' ' '; echo
ls -d /proc/[0-9]* | wc -l
cut -d: -f1 -s /proc/net/dev | tr -d ' ' | grep -v -e '^Inter-' -e '^face' | tr '\n' ' '; echo
if [ -e /etc/passwd ] || [ -e /root ] || [ -e /home ]; then echo seen; else echo hidden; fi
for place in / /usr /box /dev /etc; do { true > "$place/probe"; } 2>/dev/null && printf '%s ' "$place"; done; echo
for place in /tmp /dev/shm; do { true > "$place/probe"; } 2>/dev/null && printf '%s ' "$place"; done; echo
unshare --user true 2>/dev/null && echo nested || echo none
"""
_PROBE_LINES = 9
_NAMESPACES = ("user", "pid", "net", "ipc", "uts", "cgroup", "mnt")


@dataclass(frozen=True)
class Item:
    """One piece of isolation.

    Attributes:
        name: what it is.
        works: whether it works here.
        needed: whether nothing is judged without it.
        detail: what was found; where it does not work, why, and what to do.
    """

    name: str
    works: bool
    needed: bool
    detail: str


@dataclass(frozen=True)
class Isolation:
    """What `examine` found.

    Attributes:
        items: every piece, in the order in which they build on each other.
        counting: how memory and processor time are counted: `cgroup v1`, `cgroup v2`, `sampler`; None where neither.
    """

    items: tuple[Item, ...]
    counting: str | None

    @property
    def isolated(self) -> bool:
        """Whether everything that is needed works."""
        return all(item.works for item in self.items if item.needed)

    @property
    def reasons(self) -> list[str]:
        """Why nothing can be judged here, one line a reason; empty where it can."""
        return [f"{item.name}: {item.detail}" for item in self.items if item.needed and not item.works]

    def require(self) -> None:
        """Raise `SandboxUnavailable` with the reasons unless everything that is needed works."""
        if not self.isolated:
            raise SandboxUnavailable(
                "this machine cannot isolate a program, so nothing is judged on it: "
                + "; ".join(self.reasons)
            )


def examine(*, cgroups: bool = True) -> Isolation:
    """Try every piece of isolation on this machine. Takes about 0.2 s.

    Args:
        cgroups: False leaves control groups aside, as on a machine where none is writable.
    """
    isolation, sandbox = _examine(cgroups=cgroups)
    if sandbox is not None:
        sandbox.close()
    return isolation


def open_sandbox(*, cgroups: bool = True) -> BubblewrapSandbox:
    """A sandbox that has shown that it isolates. Close it, or use it as a context manager.

    Args:
        cgroups: False leaves control groups aside, as on a machine where none is writable.

    Raises:
        SandboxUnavailable: something that is needed does not work; the message says what, why, and what to do.
    """
    isolation, sandbox = _examine(cgroups=cgroups)
    if not isolation.isolated and sandbox is not None:
        sandbox.close()
    isolation.require()
    assert sandbox is not None
    return sandbox


def _examine(*, cgroups: bool) -> tuple[Isolation, BubblewrapSandbox | None]:
    items = [_system()]
    if not items[0].works:
        return Isolation(tuple(items), None), None
    items.append(_bubblewrap())
    meters, counting = _meters(cgroups=cgroups)
    items += counting
    if meters is None or not items[1].works:
        if meters is not None:
            meters.close()
        return Isolation(tuple(items), None), None
    try:
        sandbox = BubblewrapSandbox(meters)
    except FirsthandError as error:
        meters.close()
        name = "programs" if isinstance(error, SandboxUnavailable) else "seccomp"
        items.append(Item(name, False, True, str(error)))
        return Isolation(tuple(items), meters.kind), None
    try:
        items += _items_from_inside(sandbox)
    except BaseException:
        sandbox.close()
        raise
    return Isolation(tuple(items), meters.kind), sandbox


def _system() -> Item:
    system = platform.system()
    detail = f"{system} {platform.release()} on {platform.machine()}"
    return Item(
        "Linux", system == "Linux", True, detail if system == "Linux" else f"{detail}: only Linux can"
    )


def _bubblewrap() -> Item:
    found = shutil.which("bwrap", path=f"{os.environ.get('PATH', '')}:{PROGRAM_PATH}")
    if found is None:
        return Item("bubblewrap", False, True, "bwrap is not installed: apt-get install bubblewrap")
    said = subprocess.run([found, "--version"], capture_output=True, text=True, check=False)
    return Item(
        "bubblewrap", said.returncode == 0, True, f"{said.stdout.strip() or said.stderr.strip()} at {found}"
    )


def _meters(*, cgroups: bool) -> tuple[Meters | None, list[Item]]:
    """Control groups, else the sampler, and what to say of each."""
    reason = "left aside as asked"
    if cgroups:
        try:
            found = find_cgroups()
            return found, [Item("control groups", True, False, f"{found.kind} at {found.place}")]
        except NoCgroupsError as error:
            reason = str(error)
    groups = Item("control groups", False, False, reason)
    missing = missing_for_sampling()
    if missing is not None:
        return None, [groups, Item("sampler", False, True, f"this kernel has no {missing}")]
    told = (
        "memory and processor time are sampled from /proc, limits by setrlimit: less exact, and a limit is noticed "
        "a few milliseconds late"
    )
    return Sampler(), [groups, Item("sampler", True, True, told)]


def _items_from_inside(sandbox: BubblewrapSandbox) -> list[Item]:
    probe = _PROBE.replace("@KINDS@", " ".join(_NAMESPACES))
    result = sandbox.run(["/bin/sh", "-c", probe], limits=Limits(cpu_s=5, wall_s=30, memory_mb=64))
    if result.status == "internal":
        said = result.stderr.decode(errors="replace").strip()
        return [Item("user namespaces", False, True, _explained(said))]
    lines = result.stdout.decode(errors="replace").split("\n")[:-1]
    if len(lines) != _PROBE_LINES:
        said = result.stderr.decode(errors="replace").strip()
        return [Item("user namespaces", False, True, f"the probe ended early ({result.status}): {said}")]
    user, namespaces, status, processes, network, passwords, written, temporary, nested = (
        line.strip() for line in lines
    )
    fields = dict(part.split(":\t") for part in status.split(" ") if ":\t" in part)

    def item(name: str, works: bool, found: str) -> Item:
        return Item(name, works, True, found)

    no_capabilities = all(int(fields.get(name, "f"), 16) == 0 for name in ("CapEff", "CapBnd"))
    items = [
        item("user namespaces", user == str(INSIDE_ID), f"programs run as user {user}"),
        _own_namespaces(namespaces.split()),
        item(
            "no privileges", no_capabilities and fields.get("NoNewPrivs") == "1", f"capabilities and {status}"
        ),
        item(
            "seccomp",
            fields.get("Seccomp") == "2" and nested == "none",
            f"new namespaces from inside: {nested}",
        ),
        # the guard, the probe, ls and wc
        item("own processes", processes.isdigit() and int(processes) <= 5, f"{processes} processes seen"),
        item("no network", network in ("lo", ""), f"interfaces: {network or 'none'}"),
        item("host's files", passwords == "hidden", f"/etc/passwd, /root and /home are {passwords}"),
        item("read-only system", not written, f"written to: {written or 'nothing'}"),
        item(
            "temporary files", temporary == "/tmp /dev/shm", f"private and writable: {temporary or 'nothing'}"
        ),
        _ends_are_told_apart(sandbox.run),
    ]
    return items


def _own_namespaces(seen: list[str]) -> Item:
    """Every one has to be another than the judge's, whatever can be seen in it: a loopback looks like a loopback."""
    shared = [
        kind
        for kind, inside in zip(_NAMESPACES, seen, strict=False)
        if not inside or inside == str(Path(f"/proc/self/ns/{kind}").readlink())
    ]
    works = not shared and len(seen) == len(_NAMESPACES)
    found = f"shared with the judge: {', '.join(shared)}" if shared else ", ".join(_NAMESPACES)
    return Item("own namespaces", works, True, found)


def _ends_are_told_apart(run: Callable[..., RunResult]) -> Item:
    """A limit that does not bite is no limit: a program that holds too much memory has to be stopped for it."""
    wanted = "head -c 60000000 /dev/zero | tail -c 50000000 | { sleep 1; wc -c; }"
    result = run(["/bin/sh", "-c", wanted], limits=Limits(cpu_s=5, wall_s=30, memory_mb=24))
    return Item(
        "memory limit", result.status == "mle", True, f"50 MB where 24 MiB are allowed: {result.status}"
    )


def _explained(said: str) -> str:
    """bubblewrap's words, and what is behind the ones that people meet."""
    if "source path" in said:
        return (
            f"{said}. The user that programs run as has to reach the folder for temporary files, and cannot: choose "
            "another folder with TMPDIR"
        )
    if "uid map" in said or "Permission denied" in said or "RTM_NEWADDR" in said:
        return (
            f"{said}. Unprivileged user namespaces are restricted here. On Ubuntu 24.04 and later AppArmor does it: "
            "give bwrap a profile with `userns,` in /etc/apparmor.d, or sysctl -w "
            "kernel.apparmor_restrict_unprivileged_userns=0. In Docker, start the container with "
            "--security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt systempaths=unconfined"
        )
    if "new namespace" in said or "No permissions" in said or "ENOSPC" in said:
        return (
            f"{said}. User namespaces are switched off: sysctl -w kernel.unprivileged_userns_clone=1 (Debian) or "
            "user.max_user_namespaces=10000"
        )
    return said
