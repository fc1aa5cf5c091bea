"""A judge that is killed leaves nothing that runs, and the next one removes its folders and groups."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from firsthand.evaluation.codearena.sandbox.bubblewrap import BubblewrapSandbox
from firsthand.evaluation.codearena.sandbox.isolation import open_sandbox
from firsthand.evaluation.codearena.sandbox.leftovers import PREFIX, LockedFolder, abandoned
from firsthand.evaluation.codearena.sandbox.processes import Sampler

from .processes import long_time, mentioning, running, wait_until

JUDGE = """
import json, sys
from firsthand.evaluation.codearena.sandbox.isolation import open_sandbox
from firsthand.evaluation.codearena.sandbox.limits import Limits

with open_sandbox(cgroups=sys.argv[1] == "cgroups") as sandbox:
    print(json.dumps([str(sandbox._folder.path), sandbox.meters.place]), flush=True)
    program = f"setsid sleep {sys.argv[3]} & trap '' TERM HUP; exec sleep {sys.argv[3]}"
    while True:
        sandbox.run(["/bin/sh", "-c", program], limits=Limits(cpu_s=9, wall_s=float(sys.argv[2])))
"""


def _judge(counting: str, wall_s: float, word: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", JUDGE, counting, str(wall_s), word], stdout=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("counting", ["cgroups", "sampler"])
def test_nothing_is_left_of_a_judge_killed_while_a_program_runs(isolated, counting):
    word = long_time()
    with _judge(counting, 600, word) as judge:
        assert judge.stdout is not None
        folder, place = map(Path, json.loads(judge.stdout.readline()))
        wait_until(
            lambda: len(running(word)) == 3
        )  # the program, its daemon, and the judge, who is told the word
        judge.kill()
    wait_until(lambda: not running(word))
    assert folder.exists()
    with open_sandbox(cgroups=counting == "cgroups") as following:
        assert following.run(["/bin/echo", "goes on"]).stdout == b"goes on\n"
    wait_until(lambda: not folder.exists())  # by us, or by another judge that came first
    assert counting == "sampler" or not place.exists()


def test_nothing_is_left_at_whatever_moment_a_judge_is_killed(isolated):
    """Runs of 20 ms one after the other: the kill meets making, running and removing a box."""
    word = long_time()
    with _judge("cgroups", 0.02, word) as judge:
        assert judge.stdout is not None
        folder, place = map(Path, json.loads(judge.stdout.readline()))
        # The judge's children end with it, whether they are setpriv, bwrap or the guard.
        for _ in range(40):
            os.kill(judge.pid, signal.SIGSTOP)
            os.kill(judge.pid, signal.SIGCONT)
        judge.kill()
    wait_until(lambda: not running(word) and not mentioning(str(folder)))
    open_sandbox().close()
    wait_until(lambda: (not folder.exists() and not place.exists()) or str(place) == "/proc")


def test_a_bwrap_that_was_not_tied_to_its_judge_yet_goes_with_the_judge_s_folder(
    isolated, tmp_path, monkeypatch
):
    """It waits for a word that nobody is left to give."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    left = LockedFolder.create(tmp_path)
    word, folder = long_time(), str(left.path)
    stuck = subprocess.Popen(
        [
            "bwrap",
            "--die-with-parent",
            "--dev-bind",
            "/",
            "/",
            "--ro-bind",
            folder,
            folder,
            "/bin/sleep",
            word,
        ]
    )
    bystander = subprocess.Popen(["/bin/sh", "-c", f"sleep 60 # {folder}"])
    wait_until(lambda: running(word))
    left.release()
    with BubblewrapSandbox(Sampler()) as following:
        assert following.left_over == [left.path.name]
    assert stuck.wait() == -9
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()


def test_only_what_nobody_holds_is_abandoned(tmp_path):
    mine, other = LockedFolder.create(tmp_path), LockedFolder.create(tmp_path)
    (tmp_path / "unrelated").mkdir()
    (tmp_path / f"{PREFIX}file").write_text("no folder")
    removed: list[Path] = []

    def remove(path: Path) -> None:
        removed.append(path)
        path.rmdir()

    assert list(abandoned(tmp_path, remove)) == []
    other.release()
    other.release()  # twice is as good as once
    assert list(abandoned(tmp_path, remove)) == [other.path.name]
    assert removed == [other.path]
    assert mine.path.exists()
    mine.release()


def test_a_folder_that_a_sweep_took_at_its_birth_is_made_again(tmp_path, monkeypatch):
    import firsthand.evaluation.codearena.sandbox.leftovers as leftovers

    lock, calls = leftovers._lock, []

    def taken(path: Path) -> int | None:
        calls.append(path)
        return None if len(calls) == 1 else lock(path)

    monkeypatch.setattr(leftovers, "_lock", taken)
    found = LockedFolder.create(tmp_path)
    assert len(calls) == 2
    assert found.path == calls[1] != calls[0]
    found.release()


def test_somebody_else_s_folders_are_left_alone(tmp_path, monkeypatch):
    (tmp_path / f"{PREFIX}theirs").mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    assert list(abandoned(tmp_path, lambda path: path.rmdir())) == []
