"""Control groups: found from what the kernel says, made, limited, read and removed; real ones where there are any.

The files of a hierarchy of version 2, which few machines have beside a version 1, are imitated in a folder.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from firsthand.evaluation.codearena.sandbox import cgroups
from firsthand.evaluation.codearena.sandbox.cgroups import (
    NoCgroupsError,
    V1Cgroups,
    V2Cgroups,
    find_cgroups,
    mounted_hierarchies,
)
from firsthand.evaluation.codearena.sandbox.limits import Limits

from .processes import wait_until


def proc(folder: Path, cgroup: str, mountinfo: str) -> Path:
    """What `/proc/self` says on some machine; AT stands for the folder where it has its hierarchies."""
    (folder / "cgroup").write_text(cgroup)
    (folder / "mountinfo").write_text(mountinfo.replace("AT", str(folder)))
    return folder


def kernel_v2(folder: Path, controllers: str = "memory pids cpu", procs: str = "") -> Path:
    """The files of one group, as the kernel makes them."""
    os.makedirs(folder, exist_ok=True)
    (folder / "cgroup.controllers").write_text(controllers)
    (folder / "cgroup.subtree_control").write_text("memory pids")
    (folder / "cgroup.procs").write_text(procs)
    for name, text in {
        "memory.max": "", "memory.swap.max": "", "memory.oom.group": "", "pids.max": "",
        "memory.peak": "0", "memory.current": "0", "cgroup.kill": "",
        "memory.events": "low 0\noom 0\noom_kill 0\n", "cpu.stat": "usage_usec 0\nuser_usec 0\n",
    }.items():  # fmt: skip
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def imitated(tmp_path, monkeypatch):
    """A folder in which new folders are groups of version 2 and can be removed as such."""
    home = kernel_v2(tmp_path / "home")
    mkdir, rmdir = Path.mkdir, Path.rmdir

    def make(path: Path, *arguments: object, **options: object) -> None:
        mkdir(path, *arguments, **options)  # type: ignore[arg-type]
        if home in path.parents:
            kernel_v2(path)

    def remove(path: Path) -> None:
        if home in path.parents and not any(one.is_dir() for one in path.iterdir()):
            shutil.rmtree(path)
        else:
            rmdir(path)

    monkeypatch.setattr(Path, "mkdir", make)
    monkeypatch.setattr(Path, "rmdir", remove)
    return home


def test_hierarchies_of_version_1_beside_an_empty_version_2(tmp_path):
    (tmp_path / "memory/own group").mkdir(parents=True)
    (tmp_path / "pids").mkdir()
    (tmp_path / "unified").mkdir()
    (tmp_path / "unified/cgroup.controllers").write_text("\n")
    found = mounted_hierarchies(
        proc(
            tmp_path,
            "9:name=systemd:/\n4:memory:/own group\n2:pids:/\n1:cpu,cpuacct:/gone\n0::/\n",
            "30 23 0:28 / AT rw - tmpfs tmpfs rw\n"
            "31 30 0:29 / AT/memory rw,relatime - cgroup cgroup rw,memory\n"
            "32 30 0:30 / AT/pids rw shared:9 - cgroup cgroup rw,pids\n"
            "33 30 0:31 / AT/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"
            "34 30 0:32 / AT/devices rw - cgroup cgroup rw,devices\n"
            "35 30 0:33 / AT/unified rw - cgroup2 cgroup2 rw\n",
        )
    )
    assert [(one.version, sorted(one.controllers), one.own) for one in found] == [
        (1, ["memory"], tmp_path / "memory/own group"),
        (1, ["pids"], tmp_path / "pids"),
        (1, ["cpu", "cpuacct"], tmp_path / "cpu"),
        (2, [], tmp_path / "unified"),
    ]


def test_a_container_s_path_is_read_from_its_mount_s_root(tmp_path):
    (tmp_path / "fs/inner").mkdir(parents=True)
    (tmp_path / "fs/cgroup.controllers").write_text("cpu memory pids\n")
    found = mounted_hierarchies(
        proc(tmp_path, "0::/docker/abc/inner\n", "31 30 0:29 /docker/abc AT/fs rw - cgroup2 cgroup rw\n")
    )
    assert [(one.own, "memory" in one.controllers) for one in found] == [(tmp_path / "fs/inner", True)]


@pytest.mark.parametrize(
    ("cgroup", "mountinfo", "reasons"),
    [
        ("", "", ["v2: not mounted", "v1: the memory controller is not mounted"]),
        (
            "0::/\n",
            "31 30 0:29 / AT/v2 rw - cgroup2 cgroup rw\n",
            ["v2: without the controllers memory, pids"],
        ),
        (
            "1:memory:/\n",
            "31 30 0:29 / AT/memory rw - cgroup cgroup rw,memory\n",
            ["v2: not mounted", "v1: the pids controller is not mounted"],
        ),
    ],
)
def test_a_machine_without_groups_says_what_is_missing(tmp_path, cgroup, mountinfo, reasons):
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory/tasks").touch()
    with pytest.raises(NoCgroupsError) as fault:
        find_cgroups(proc(tmp_path, cgroup, mountinfo))
    for reason in reasons:
        assert reason in str(fault.value)


def test_groups_that_only_others_may_divide_are_none(tmp_path, monkeypatch):
    kernel_v2(tmp_path / "v2")
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(NoCgroupsError, match=r"not writable for this user; systemd-run --user --scope"):
        find_cgroups(proc(tmp_path, "0::/\n", "31 30 0:29 / AT/v2 rw - cgroup2 cgroup rw\n"))


def test_groups_that_the_judge_could_step_into_and_not_back_are_none(tmp_path, monkeypatch):
    mountinfo = ""
    for number, name in enumerate(("memory", "pids", "cpuacct")):
        (tmp_path / name).mkdir()
        mountinfo += f"{number} 30 0:{number} / AT/{name} rw - cgroup cgroup rw,{name}\n"
    monkeypatch.setattr(os, "access", lambda path, _: path.name != "tasks")
    with pytest.raises(NoCgroupsError, match="memory/tasks is not writable"):
        find_cgroups(proc(tmp_path, "3:memory:/\n2:pids:/\n1:cpuacct:/\n", mountinfo))


def test_proc_that_cannot_be_read_is_told(tmp_path):
    with pytest.raises(NoCgroupsError, match="No such file"):
        find_cgroups(tmp_path)


def test_version_2_limits_and_reads_a_run(imitated):
    groups = V2Cgroups(imitated)
    run = groups.open_run(Limits(memory_mb=100, processes=7))
    folder = Path(groups.place) / "run-1"
    limits = {name: (folder / name).read_text() for name in ("memory.max", "memory.swap.max", "pids.max")}
    assert limits == {"memory.max": str(100 << 20), "memory.swap.max": "0", "pids.max": "8"}
    assert (folder / "memory.oom.group").read_text() == "1"
    run.attach(4711, 4710)
    assert (folder / "cgroup.procs").read_text() == "4711"
    assert (run.cpu_ms(), run.peak_kb(), run.out_of_memory()) == (0, 0, False)
    (folder / "cpu.stat").write_text("usage_usec 2500\nuser_usec 2000\n")
    (folder / "memory.peak").write_text(str(5 << 20))
    (folder / "memory.events").write_text("low 0\noom 1\noom_kill 1\noom_group_kill 1\n")
    assert (run.cpu_ms(), run.peak_kb(), run.out_of_memory()) == (2.5, 5 << 10, True)
    (folder / "cgroup.procs").write_text("")
    run.close()
    assert not folder.exists()
    groups.close()
    assert list(imitated.glob("firsthand-*")) == []


def test_before_linux_5_19_the_peak_is_the_most_that_was_seen(imitated):
    groups = V2Cgroups(imitated)
    run = groups.open_run(Limits())
    folder = Path(groups.place) / "run-1"
    (folder / "memory.peak").unlink()
    for now_mb in (3, 9, 5):
        (folder / "memory.current").write_text(str(now_mb << 20))
        run.sample()
    assert run.peak_kb() == 9 << 10
    run.ended(1.0, 12 << 10)
    assert run.peak_kb() == 12 << 10
    groups.close()


def test_version_2_where_controllers_are_not_handed_on(imitated, monkeypatch):
    write = cgroups._write

    def kernel(path: Path, text: str) -> None:
        if path.name == "cgroup.subtree_control" and path.parent != imitated:
            raise OSError(2, "No such file or directory", str(path))
        write(path, text)

    monkeypatch.setattr(cgroups, "_write", kernel)
    monkeypatch.setattr(cgroups, "_hands_on", lambda folder: folder == imitated)
    with pytest.raises(NoCgroupsError, match="does not hand on"):
        V2Cgroups(imitated)
    assert list(imitated.glob("firsthand-*")) == []


def test_a_group_with_other_processes_is_not_emptied(imitated, monkeypatch):
    (imitated / "cgroup.subtree_control").write_text("")
    (imitated / "cgroup.procs").write_text("1\n2\n")

    def busy(path: Path, text: str) -> None:
        raise OSError(16, "Device or resource busy", str(path))

    monkeypatch.setattr(cgroups, "_write", busy)
    with pytest.raises(NoCgroupsError, match="holds other processes"):
        V2Cgroups(imitated)


def test_who_is_alone_in_its_group_steps_into_one_below(imitated, monkeypatch):
    (imitated / "cgroup.subtree_control").write_text("")
    (imitated / "cgroup.procs").write_text(f"{os.getpid()}\n")
    write, wrote = cgroups._write, []

    def kernel(path: Path, text: str) -> None:
        if path == imitated / "cgroup.subtree_control" and (imitated / "cgroup.procs").read_text():
            raise OSError(16, "Device or resource busy", str(path))
        if path == imitated / "judge/cgroup.procs":
            (imitated / "cgroup.procs").write_text("")
        wrote.append((path, text))
        write(path, text.replace("+", ""))

    monkeypatch.setattr(cgroups, "_write", kernel)
    V2Cgroups(imitated).close()
    assert wrote[:2] == [
        (imitated / "judge/cgroup.procs", str(os.getpid())),
        (imitated / "cgroup.subtree_control", "+memory +pids"),
    ]
    # A second judge of this process starts below, and finds the way back up.
    mounts = [cgroups.Mount(2, frozenset({"memory", "pids"}), imitated / "judge")]
    second = cgroups._find_v2(mounts)
    assert Path(second.place).parent == imitated
    second.close()


# --- the kernel's own ----------------------------------------------------------------------------


@pytest.fixture
def real(isolated):
    try:
        groups = find_cgroups()
    except NoCgroupsError as error:
        pytest.skip(f"needs a writable control group: {error}")
    yield groups
    groups.close()


def _folders(groups: V1Cgroups | V2Cgroups) -> set[Path]:
    return set(groups._folders.values()) if isinstance(groups, V1Cgroups) else {groups._folder}


def test_a_group_of_its_own_for_each_run_and_none_afterwards(real):
    first, second = real.open_run(Limits()), real.open_run(Limits(memory_mb=64, processes=5))
    for folder in _folders(real):
        assert {one.name for one in folder.iterdir() if one.is_dir()} == {"run-1", "run-2"}
    first.close()
    second.close()
    for folder in _folders(real):
        assert not [one for one in folder.iterdir() if one.is_dir()]


def _started(run, *command: str, **options: object) -> subprocess.Popen[bytes]:
    """A process that the run counts."""
    with run.launching():
        child = subprocess.Popen(command, **options)  # type: ignore[call-overload]
    run.attach(child.pid, os.getpid())
    return child


def test_what_is_still_in_a_group_is_killed_with_it(real):
    run = real.open_run(Limits())
    sleeper = _started(run, "/bin/sleep", "60")
    run.close()
    assert sleeper.wait() == -9


def test_the_judge_s_thread_is_not_in_a_run_s_group_afterwards(real):
    before = Path("/proc/thread-self/cgroup").read_text()
    run = real.open_run(Limits())
    with pytest.raises(OSError, match="no-such-program"), run.launching():
        subprocess.Popen(["/no-such-program"])
    assert Path("/proc/thread-self/cgroup").read_text() == before
    run.close()


def test_processor_time_and_memory_of_a_process_in_a_group(real):
    run = real.open_run(Limits())
    work = "input(); held = bytes(b'x') * 50_000_000; sum(range(3_000_000)); print(1, flush=True); input()"
    with _started(
        run, "python3", "-c", work, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    ) as child:
        before = run.cpu_ms()
        child.stdin.write(b"\n")
        child.stdout.read(1)
        assert run.cpu_ms() > before + 5
        assert 48_000 < run.peak_kb() < 100_000
        assert not run.out_of_memory()
        child.stdin.write(b"\n")
    run.close()


def test_more_memory_than_a_group_may_have_ends_the_program(real):
    run = real.open_run(Limits(memory_mb=30))
    with _started(run, "python3", "-c", "held = bytes(b'x') * 90_000_000") as child:
        assert child.wait() == -9
    assert run.out_of_memory()
    assert run.peak_kb() <= 30 << 10
    run.close()


def test_a_dead_judge_s_groups_go_and_a_living_one_s_stay(real):
    other = type(real)(
        {name: path.parent for name, path in real._folders.items()}
        if isinstance(real, V1Cgroups)
        else real._folder.parent  # type: ignore[arg-type]
    )
    run = other.open_run(Limits())
    sleeper = _started(run, "/bin/sleep", "60")
    gone = _folders(other)
    _let_go(other)  # as the kernel does for a judge that was killed
    find_cgroups().close()
    assert sleeper.wait() == -9
    wait_until(lambda: not any(folder.exists() for folder in gone))
    assert all(folder.exists() for folder in _folders(real))


def _let_go(groups: V1Cgroups | V2Cgroups) -> None:
    if isinstance(groups, V1Cgroups):
        for locked in groups._locked.values():
            locked.release()
    else:
        groups._locked.release()
