"""Without isolation nothing is judged, and the doctor says why and what to do.

What a machine may lack is imitated as far as that can be done honestly: programs that are not there or that say what
they say elsewhere, a bubblewrap that leaves out one piece, a user namespace that may make no others.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from firsthand.errors import FirsthandError
from firsthand.evaluation.codearena.errors import SandboxUnavailable
from firsthand.evaluation.codearena.grading.sandboxed import sandbox_grader
from firsthand.evaluation.codearena.sandbox import bubblewrap, isolation, processes, seccomp
from firsthand.evaluation.codearena.sandbox.isolation import Isolation, Item, examine, open_sandbox
from firsthand.evaluation.codearena.sandbox.limits import Limits


@pytest.fixture
def folder() -> Iterator[Path]:
    """One that every user can reach, as the sandbox's has to."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def program(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)


@pytest.fixture
def programs(folder, monkeypatch) -> Path:
    """A folder in which there are no programs, and no other has any."""
    for module in (bubblewrap, isolation):
        monkeypatch.setattr(module, "PROGRAM_PATH", str(folder))
    monkeypatch.setenv("PATH", str(folder))
    return folder


@pytest.fixture
def before_others(folder, monkeypatch) -> Path:
    """A folder whose programs are found before those of the same name."""
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def refused(**options: bool) -> Isolation:
    """What the doctor says of a machine on which nothing may be judged."""
    found = examine(**options)
    assert not found.isolated
    with pytest.raises(SandboxUnavailable, match="nothing is judged") as fault:
        open_sandbox(**options)
    for reason in found.reasons:
        assert f"{reason.partition(':')[0]}: " in str(fault.value)
    assert (fault.value.status, fault.value.code) == (503, "sandbox_unavailable")
    return found


def test_a_machine_that_isolates(isolated):
    found = examine()
    assert found.isolated
    assert found.reasons == []
    assert found.counting in ("cgroup v1", "cgroup v2", "sampler")
    assert [item.name for item in found.items if item.needed and not item.works] == []
    assert {"bubblewrap", "own namespaces", "seccomp", "no network", "memory limit"} <= {
        item.name for item in found.items
    }
    found.require()


def test_without_control_groups_it_says_so_and_judges(isolated):
    found = examine(cgroups=False)
    assert (found.isolated, found.counting) == (True, "sampler")
    told = {item.name: item for item in found.items}
    assert (told["control groups"].works, told["control groups"].needed) == (False, False)
    assert "sampled" in told["sampler"].detail


@pytest.mark.parametrize("cgroups", [True, False])
def test_no_bubblewrap(programs, cgroups):
    assert refused(cgroups=cgroups).reasons == [
        "bubblewrap: bwrap is not installed: apt-get install bubblewrap"
    ]
    with pytest.raises(SandboxUnavailable, match="apt-get install bubblewrap"):
        sandbox_grader()


@pytest.mark.skipif(os.geteuid() != 0, reason="only a judge that is root needs setpriv")
def test_no_setpriv(isolated, programs):
    (programs / "bwrap").symlink_to("/usr/bin/bwrap")
    assert refused().reasons == [
        "programs: setpriv is not installed, and nothing is judged without it: apt-get install util-linux"
    ]


def test_a_bubblewrap_that_does_not_start(before_others):
    program(before_others, "bwrap", "#!/bin/sh\necho 'bwrap: libcap.so.2: cannot open' >&2; exit 127\n")
    assert "libcap.so.2" in refused().reasons[0]


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("setting up uid map: Permission denied", "kernel.apparmor_restrict_unprivileged_userns"),
        ("loopback: Failed RTM_NEWADDR: Operation not permitted", "--security-opt"),
        ("No permissions to create new namespace, likely because the kernel does not allow", "userns_clone"),
        ("Creating new namespace failed: No space left on device", "max_user_namespaces"),
        ("Can't find source path /private/x: Permission denied", "TMPDIR"),
        ("something nobody has met", "something nobody has met"),
    ],
)
def test_what_bubblewrap_says_elsewhere_is_explained(isolated, before_others, said, advice):
    program(
        before_others,
        "bwrap",
        f'#!/bin/sh\ncase "$1" in --version) echo bubblewrap 9;; *) echo "bwrap: {said}" >&2; exit 1;; esac\n',
    )
    reasons = refused().reasons
    assert len(reasons) == 1
    assert said in reasons[0]
    assert advice in reasons[0]


LEAVES_OUT = """#!/usr/bin/python3 -IS
import os, sys
arguments = sys.argv[1:]
if arguments != ["--version"]:
    EDIT
os.execv("/usr/bin/bwrap", ["bwrap", *arguments])
"""


@pytest.mark.parametrize(
    ("edit", "item"),
    [
        ("arguments.remove('--unshare-net')", "own namespaces"),
        ("arguments.remove('--unshare-ipc')", "own namespaces"),
        (
            "arguments.remove('--unshare-uts'); at = arguments.index('--hostname'); del arguments[at:at + 2]",
            "own namespaces",
        ),
        ("arguments.remove('--unshare-cgroup')", "own namespaces"),
        ("at = arguments.index('--proc'); arguments[at:at + 2] = ['--ro-bind', '/proc', '/proc']", "own processes"),
        ("at = arguments.index('--seccomp'); del arguments[at:at + 2]", "seccomp"),
        (
            "at = arguments.index('--remount-ro', arguments.index('/input')); del arguments[at:at + 2]",
            "read-only system",
        ),
        ("at = arguments.index('--ro-bind'); arguments[at:at] = ['--ro-bind', '/etc', '/etc']", "host's files"),
        ("at = arguments.index('--uid'); arguments[at + 1] = '60000'", "user namespaces"),
        ("at = arguments.index('/dev/shm'); del arguments[at - 3:at + 1]", "temporary files"),
    ],
)  # fmt: skip
def test_a_bubblewrap_that_leaves_one_piece_out_is_not_believed(isolated, before_others, edit, item):
    program(before_others, "bwrap", LEAVES_OUT.replace("EDIT", edit))
    found = refused()
    assert item in [one.name for one in found.items if not one.works and one.needed], found


def test_a_limit_that_does_not_bite_is_none(isolated, monkeypatch):
    monkeypatch.setattr(processes._SampledRun, "out_of_memory", lambda _: False)
    assert refused(cgroups=False).reasons == ["memory limit: 50 MB where 24 MiB are allowed: ok"]


def test_no_library_for_the_filter(isolated, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyseccomp", None)
    seccomp.filter_bytes.cache_clear()
    assert "pip install 'firsthand[evaluation]'" in refused().reasons[0]
    seccomp.filter_bytes.cache_clear()


def test_no_c_library_below_it(isolated, monkeypatch, tmp_path):
    (tmp_path / "pyseccomp.py").write_text("raise RuntimeError('Unable to find libseccomp')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "pyseccomp", raising=False)
    seccomp.filter_bytes.cache_clear()
    assert "apt-get install libseccomp2" in refused().reasons[0]
    seccomp.filter_bytes.cache_clear()


def test_no_way_to_count(isolated, monkeypatch):
    monkeypatch.setattr(isolation, "missing_for_sampling", lambda: "/proc/PID/task/TID/children")
    found = refused(cgroups=False)
    assert found.counting is None
    assert found.reasons == ["sampler: this kernel has no /proc/PID/task/TID/children"]


def test_another_system(monkeypatch):
    monkeypatch.setattr(isolation.platform, "system", lambda: "Darwin")
    found = refused()
    assert [item.name for item in found.items] == ["Linux"]
    assert "only Linux can" in found.reasons[0]


def test_a_fault_while_looking_is_no_isolation_and_leaves_nothing(isolated, monkeypatch, tmp_path):
    def fail(_: object) -> list[Item]:
        raise OSError("scripted")

    monkeypatch.setattr(isolation, "_items_from_inside", fail)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    with pytest.raises(OSError, match="scripted"):
        open_sandbox()
    assert list(tmp_path.iterdir()) == []


NO_MORE_NAMESPACES = """
import json
open("/proc/sys/user/max_user_namespaces", "w").write("0")
from firsthand.evaluation.codearena.sandbox.isolation import examine, open_sandbox
try:
    open_sandbox(cgroups=False)
except Exception as error:
    refused = type(error).__name__
print(json.dumps([examine(cgroups=False).reasons, refused]))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can map users")
def test_a_machine_on_which_no_user_namespace_can_be_made(isolated):
    """A user namespace that may make no others is what such a machine is like."""
    with subprocess.Popen(
        ["/usr/bin/unshare", "--user", "/bin/sh", "-c", 'read go; exec "$@"', "sh",
         sys.executable, "-c", NO_MORE_NAMESPACES],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as machine:  # fmt: skip
        ours, inside = Path("/proc/self/ns/user").readlink(), Path(f"/proc/{machine.pid}/ns/user")
        while inside.readlink() == ours:
            assert machine.poll() is None
        for name in ("uid_map", "gid_map"):
            Path(f"/proc/{machine.pid}/{name}").write_text("0 0 100000\n")
        said, _ = machine.communicate("\n")
    reasons, kind = json.loads(said)
    assert kind == "SandboxUnavailable"
    assert "max_user_namespaces" in reasons[0]


def test_there_is_no_grader_without_a_sandbox(programs):
    with pytest.raises(FirsthandError):
        sandbox_grader()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_judge_that_is_not_root(isolated):
    """Whoever runs it, programs are isolated; without groups of their own they are counted by sampling."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setresgid(61234, 61234, 61234)
            os.setresuid(61234, 61234, 61234)
            with open_sandbox() as own:
                text = "id -u; cat /box/a; while :; do :; done"
                limits = Limits(cpu_s=0.3, wall_s=60)
                result = own.run(["/bin/sh", "-c", text], files={"a": b"seen\n"}, limits=limits)
                told = [own.meters.kind, result.status, result.stdout.decode()]
        except BaseException as error:
            told = [repr(error)]
        os.write(writer, json.dumps(told).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as said:
        kind, status, stdout = json.loads(said.read())
    os.waitpid(child, 0)
    assert (kind, status, stdout) == ("sampler", "tle", "65534\nseen\n")
