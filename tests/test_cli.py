"""The command from a stranger's side: two rooms of known truth from command line to board, errors, exits."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from firsthand.errors import InputError, OutputError

ROOMS = Path(__file__).parent / "rooms"


@pytest.fixture
def firsthand(tmp_path):
    """Run the command in an empty folder, with the two test-only rooms installed there by entry point."""
    shutil.copytree(ROOMS, tmp_path / "rooms", ignore=shutil.ignore_patterns("__pycache__"))
    environment = {
        **os.environ,
        "PYTHONPATH": str(tmp_path / "rooms"),
        "FIRSTHAND_CACHE": str(tmp_path / "cache"),
        "OMP_NUM_THREADS": "1",
    }

    def run(*arguments, code=0, env=(), **options):
        answer = subprocess.run(
            [sys.executable, "-m", "firsthand", *map(str, arguments)],
            capture_output=True, text=True, cwd=tmp_path, env={**environment, **dict(env)}, timeout=120, **options,
        )  # fmt: skip
        assert answer.returncode == code, f"exit {answer.returncode}\n{answer.stdout}\n{answer.stderr}"
        assert "Traceback" not in answer.stderr
        return answer

    run.environment, run.folder = environment, tmp_path
    return run


def test_from_command_line_to_board(firsthand):
    answer = firsthand("check", "test-null-effect", "test-known-effect", "--json")
    records = json.loads(answer.stdout)["records"]
    verdicts = {r["room"]: [c["verdict"] for c in r["results"]] for r in records}
    assert verdicts["test-known-effect"] == ["holds", None]
    assert verdicts["test-null-effect"][0] != "holds"
    assert "seed-0007" in answer.stderr  # progress per seed, on stderr
    firsthand("report", "runs", "--out", "board")
    page = (firsthand.folder / "board" / "index.html").read_text()
    assert "test-known-effect" in page
    assert "not measurable here" in page
    assert (firsthand.folder / "board" / "test-known-effect.html").exists()


def test_expect_holds(firsthand):
    firsthand("check", "test-known-effect", "--expect-holds")
    firsthand("check", "test-null-effect", "--expect-holds", code=3)


def test_text_output_says_effect_interval_and_verdict(firsthand):
    out = firsthand("-q", "check", "test-known-effect").stdout
    assert "HOLDS" in out
    assert "wanted > 0" in out
    assert "t, n = 8" in out
    assert "not measurable here" in out


def test_record_makes_a_room_ready_and_runs_once_a_claim_version(firsthand):
    def status():
        rows = json.loads(firsthand("list", "--json").stdout)
        return {row["slug"]: row["status"] for row in rows}["test-known-effect"]

    assert status() == "planned"
    firsthand("check", "test-known-effect", "--record")
    assert status() == "ready"
    again = firsthand("check", "test-known-effect", "--record", code=2)
    assert "once a version" in again.stderr
    firsthand("check", "test-known-effect", "--record", "--again", "the processor changed")
    results = firsthand.folder / "rooms" / "firsthand_test_rooms" / "known_effect" / "results"
    assert len(list(results.glob("laptop*.json"))) == 2  # the old record stays
    out = firsthand("check", "--all", "--scale", "smoke").stdout
    assert "test-known-effect · smoke" in out
    assert "test-null-effect" not in out  # not ready: it has no record


def test_dry_run_runs_nothing(firsthand):
    out = firsthand("check", "test-known-effect", "--dry-run").stdout
    assert "treatment-helps" in out
    assert not (firsthand.folder / "runs").exists()


def test_seed_range_is_exploratory(firsthand):
    out = firsthand("check", "test-known-effect", "--seeds", "1000-1003").stdout
    assert "exploratory" in out
    assert (firsthand.folder / "runs" / "test-known-effect" / "laptop-exploratory.json").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["check"], "--all"),
        (["check", "preselct"], "preselect"),
        (["check", "tonal"], "planned"),
        (["check", "test-known-effect", "--scale", "galaxy"], "unknown scale"),
        (["check", "test-known-effect", "--scale", "gpu"], "no gpu scale"),
        (["check", "test-known-effect", "--seeds", "x"], "FIRST-LAST"),
        (["check", "test-known-effect", "--seeds", "5-3"], "before the first"),
        (["check", "test-known-effect", "--engine", "slurm"], "unknown engine"),
        (["check", "test-known-effect", "--jobs", "0"], "at least 1"),
        (["check", "test-known-effect", "--record", "--scale", "smoke"], "--record"),
        (["check", "test-known-effect", "--jobs", "many"], "--jobs"),
        (["report", "nowhere"], "nowhere"),
        (["tonal", "encode"], "planned"),
        (["tonall"], "tonal"),
        (["cache", "clear", "nothing"], "holds"),
        (["digest", "read", "nowhere.md"], "nowhere.md"),
    ],
)
def test_mistakes_exit_2_and_say_what_to_do(firsthand, arguments, said):
    assert said in firsthand(*arguments, code=2).stderr


def test_a_failing_seed_is_an_error_that_names_it(firsthand):
    answer = firsthand("check", "test-known-effect", code=2, env={"TEST_ROOM_FAILS": "3"}.items())
    assert "seed 3 fails on purpose" in answer.stderr


def test_a_killed_worker_does_not_end_the_check(firsthand):
    marker = firsthand.folder / "died"
    firsthand("check", "test-known-effect", "--jobs", "2", env={"TEST_ROOM_DIES_ONCE": str(marker)}.items())
    assert marker.exists()


def test_ctrl_c_keeps_finished_seeds_and_resume_takes_them_up(firsthand):
    environment = {**firsthand.environment, "TEST_ROOM_SLOW": "1.5"}
    process = subprocess.Popen(
        [sys.executable, "-m", "firsthand", "check", "test-known-effect"],
        cwd=firsthand.folder, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
        start_new_session=True,
        # A shell's background job ignores interrupts, and so would what it starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    seeds = firsthand.folder / "runs" / "test-known-effect" / "laptop"
    deadline = time.time() + 60
    while len(list(seeds.glob("seed-*.json"))) < 2 and time.time() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    kept = len(list(seeds.glob("seed-*.json")))
    assert 2 <= kept < 8
    assert not list(seeds.glob(".*"))
    answer = firsthand("check", "test-known-effect", "--resume")
    assert answer.stderr.count("resumed") == kept


def test_help_names_the_verbs_and_loads_no_room(firsthand):
    out = firsthand("--help").stdout
    for verb in ("list", "show", "cite", "digest", "check", "report", "doctor", "cache", "preselect"):
        assert verb in out
    code = (
        "import sys\nfrom firsthand.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch','transformers','scipy.stats','pandas','matplotlib','ray','sklearn','pyarrow'}\n"
        "heavy &= set(sys.modules)\n"
        "rooms = [m for m in sys.modules if m.startswith('firsthand.data.preselect')]\n"
        "sys.exit(f'{heavy} {rooms}' if heavy or rooms else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL, timeout=60)


def test_a_room_from_another_package_has_its_command(firsthand):
    assert "hello from known_effect" in firsthand("test-known-effect", "hello").stdout


def test_a_room_whose_extra_is_missing_is_not_run_and_does_not_stop_the_others(firsthand):
    firsthand("check", "test-null-effect", "test-known-effect", "--record")
    check = firsthand.folder / "rooms" / "firsthand_test_rooms" / "null_effect" / "check.py"
    check.write_text(
        "from firsthand.errors import MissingDependencyError\nSEEDS = {'smoke': 2}\n"
        "def measure(seed, scale, *, null=False):\n    \n"
        "    raise MissingDependencyError('needs chromium: apt-get install chromium')\n"
    )
    answer = firsthand("check", "--all", "--scale", "smoke", "--out", "runs")
    assert "test-null-effect: not run: needs chromium" in answer.stdout
    firsthand("report", "runs", "--out", "board")
    page = (firsthand.folder / "board" / "index.html").read_text()
    assert "needs chromium" in page
    assert "stale" in page  # its laptop record was made by other sources


def test_a_check_that_times_things_does_not_go_to_ray(firsthand):
    check = firsthand.folder / "rooms" / "firsthand_test_rooms" / "known_effect" / "check.py"
    check.write_text(check.read_text() + "\nTIMED = True\n")
    answer = firsthand("check", "test-null-effect", "test-known-effect", "--engine", "ray", code=2)
    assert "test-known-effect times things" in answer.stderr
    assert not (firsthand.folder / "runs").exists()  # said before the other room was run


def test_ray_at_a_wrong_address(firsthand):
    pytest.importorskip("ray")
    arguments = ("check", "test-known-effect", "--engine", "ray", "--address", "nonsense")
    assert "'nonsense'" in firsthand(*arguments, code=2).stderr


def test_word_of_rooms_that_were_not_run_is_kept(firsthand):
    left = firsthand.folder / "runs" / "not-run.json"
    left.parent.mkdir()
    left.write_text('{"tonal": "needs espeak-ng", "test-known-effect": "needs luck"}')
    firsthand("check", "test-known-effect", "--scale", "smoke")
    assert json.loads(left.read_text()) == {"tonal": "needs espeak-ng"}


@pytest.mark.parametrize("content", ["{cut", "[1]", '{"tonal": 3}', None])
def test_folders_of_runs_that_cannot_be_read(firsthand, content):
    left = firsthand.folder / "runs" / "not-run.json"
    left.parent.mkdir()
    if content is None:
        left.mkdir()
    else:
        left.write_text(content)
    assert "runs/not-run.json" in firsthand("report", "runs", code=2).stderr
    answer = firsthand("check", "test-known-effect", "--scale", "smoke", code=2)
    assert "runs/not-run.json" in answer.stderr
    assert "seed-0000" not in answer.stderr  # said before anything was run


def test_a_folder_that_is_called_like_a_record(firsthand):
    (firsthand.folder / "runs" / "a.json").mkdir(parents=True)
    assert "runs/a.json" in firsthand("report", "runs", code=2).stderr


def test_report_of_one_rooms_folder(firsthand):
    firsthand("check", "test-known-effect")
    firsthand("report", "runs/test-known-effect", "--out", "board")
    assert (firsthand.folder / "board" / "test-known-effect.html").exists()


@pytest.fixture
def room(tmp_path):
    """The test-only room of the known effect, laid out anew, and records of it."""
    from firsthand.catalogue.card import read_card
    from firsthand.catalogue.rooms import Room

    folder = tmp_path / "known_effect"
    shutil.copytree(ROOMS / "firsthand_test_rooms" / "known_effect", folder)
    return Room(read_card(folder / "card.toml"), "firsthand_test_rooms.known_effect", folder, "a test")


@pytest.fixture
def record(room):
    from firsthand.claims.run import run_check

    return run_check(room.subject(), engine="inline")


def test_the_old_record_is_there_until_the_new_one_is(room, record, monkeypatch):
    from firsthand.commands import check

    check._keep(room, record, "")
    path = room.record_path("laptop")
    before = path.read_bytes()

    def full(record, path):
        raise OutputError(f"cannot write {path}: full")

    with monkeypatch.context() as patched:
        patched.setattr(check, "write_record", full)
        with pytest.raises(OutputError):
            check._keep(room, record, "again")
    assert path.read_bytes() == before
    for reason in ("second", "third", "fourth"):  # all of one second, none lost
        check._keep(room, record, reason)
    reasons = [json.loads(p.read_text())["details"].get("again") for p in path.parent.glob("laptop*.json")]
    assert sorted(map(str, reasons)) == ["None", "fourth", "second", "third"]


def test_seeds_run_once_for_every_version_ever_recorded(room, record):
    from firsthand.commands import check

    path = room.record_path("laptop")
    check._may_record(room, "laptop", "")  # nothing there yet
    check._keep(room, record, "")
    version = {"version": 2, "version_reason": "a mended task"}
    raised = [r.model_copy(update={"claim": r.claim.model_copy(update=version)}) for r in record.results]
    newer = record.model_copy(update={"results": tuple(raised), "started": "2001-01-01T00:00:00+00:00"})
    check._keep(room, newer, "")
    with pytest.raises(InputError, match=r"laptop\.\d{4}-.*once a version"):
        check._may_record(room, "laptop", "")  # the card is at version 1, whose record was put aside
    check._may_record(room, "laptop", "a reason")
    path.write_text("{")
    with pytest.raises(InputError, match="not a record"):
        check._may_record(room, "laptop", "a reason")  # before the run, not after it


def test_doctor_and_cache(firsthand):
    found = json.loads(firsthand("doctor", "--json").stdout)
    assert set(found["extras"]) >= {"data", "training", "ray"}
    assert json.loads(firsthand("cache", "list", "--json").stdout)["entries"] == []
    (firsthand.folder / "cache" / "thing").mkdir(parents=True)
    (firsthand.folder / "cache" / "thing" / "file").write_bytes(b"x" * 2**20)
    assert "1.0 MiB" in firsthand("cache", "list").stdout
    assert "deleted 1.0 MiB" in firsthand("cache", "clear", "thing").stdout


def test_version(firsthand):
    from firsthand import __version__

    assert __version__ in firsthand("--version").stdout
