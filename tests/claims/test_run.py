"""A check run through the instrument: seeds, resume, records, nulls, staleness; two rooms of known truth."""

import json
import os
import subprocess
import sys
import tempfile
import types
from dataclasses import replace
from pathlib import Path

import pytest

from firsthand.claims import run as run_module
from firsthand.claims.model import Environment, Measurement, Observation, Record
from firsthand.claims.record import (
    describe_environment,
    find_records,
    read_record,
    without_places,
    write_record,
)
from firsthand.claims.run import Subject, dry_run, measure_seed, run_check
from firsthand.claims.sources import _spoken, source_files, source_hash
from firsthand.claims.verdict import judge
from firsthand.errors import CheckError, InputError, NotFoundError

ROOMS = Path(__file__).parents[1] / "rooms"


def subject(name):
    from firsthand.catalogue.card import read_card

    folder = ROOMS / "firsthand_test_rooms" / name
    card = read_card(folder / "card.toml")
    return Subject(
        card.slug, card.title, card.domain, card.claims, f"firsthand_test_rooms.{name}.check", folder
    )


NULL, KNOWN = subject("null_effect"), subject("known_effect")


@pytest.fixture
def room(monkeypatch, tmp_path):
    """Make a room of the known effect's claims whose check is written here: constants, and what a seed adds."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # a timing lock of our own

    def make(measure=lambda seed: {}, repeat="seeded", **constants):
        def measured(seed, scale, *, null=False):
            observations = tuple(
                Observation(
                    clause="difference", arm=arm, seed=seed, value=value * (1 + seed / 100), repeat=repeat
                )
                for arm, value in (("treatment", 2.0), ("control", 1.0))
            )
            return Measurement(**{"observations": observations, **measure(seed)})

        module = types.ModuleType("check_made_by_a_test")
        vars(module).update({"SEEDS": {"smoke": 2, "laptop": 5}, "measure": measured, **constants})
        monkeypatch.setitem(sys.modules, module.__name__, module)
        return replace(KNOWN, check=module.__name__)

    monkeypatch.setattr(os, "getloadavg", lambda: (0.0, 0.0, 0.0))
    return make


def test_known_effect_holds_and_null_effect_does_not():
    assert run_check(KNOWN, engine="inline").results[0].verdict == "holds"
    assert run_check(NULL, engine="inline").results[0].verdict != "holds"


def test_nulls_of_the_instrument():
    record = run_check(KNOWN, engine="inline", null=True)
    assert record.results[0].verdict != "holds"
    assert record.exploratory
    held = run_check(KNOWN, engine="inline")
    swap = {"treatment": "control", "control": "treatment"}
    swapped = [o.model_copy(update={"arm": swap[o.arm]}) for o in held.observations]
    assert judge(KNOWN.claims, swapped)[0].verdict == "fails"


def test_charts_over_all_seeds_stand_beside_the_details(room):
    subject = room(
        lambda seed: {"details": {"seen": seed}}, charts=lambda details: [d["seen"] for d in details]
    )
    assert run_check(subject, "smoke", engine="inline").details == {
        "0": {"seen": 0},
        "1": {"seen": 1},
        "charts": [0, 1],
    }


def test_seeded_observations_are_equal_in_process_in_a_pool_and_on_ray():
    pytest.importorskip("ray")
    inline = run_check(KNOWN, "smoke", engine="inline")
    assert inline.observations == run_check(KNOWN, "smoke", engine="local", jobs=2).observations
    assert inline.observations == run_check(KNOWN, "smoke", engine="ray", jobs=2).observations


def test_smoke_has_no_verdict():
    result = run_check(KNOWN, "smoke", engine="inline").results[0]
    assert result.verdict is None
    assert result.reason == ""


def test_another_number_of_seeds_is_exploratory():
    assert run_check(KNOWN, seeds=range(1000, 1005), engine="inline").exploratory
    assert not run_check(KNOWN, seeds=range(8), engine="inline").exploratory


def test_record_round_trip_and_what_it_holds(tmp_path):
    record = run_check(KNOWN, engine="inline", out=tmp_path)
    assert read_record(tmp_path / "test-known-effect" / "laptop.json") == record
    assert record.seeds == tuple(range(8))
    assert record.environment.packages["numpy"]
    assert record.cpu_seconds >= 0
    assert record.peak_memory_mib > 1
    assert len(record.source_hash) == 64
    assert [p.name for p in find_records(tmp_path)] == ["laptop.json"]  # not the seeds below it


def test_interrupted_check_resumes_and_gives_the_same(tmp_path, monkeypatch):
    whole = run_check(KNOWN, engine="inline")
    monkeypatch.setenv("TEST_ROOM_FAILS", "5")
    with pytest.raises(CheckError, match="on purpose"):
        run_check(KNOWN, engine="inline", out=tmp_path)
    assert len(list((tmp_path / "test-known-effect" / "laptop").glob("*.json"))) == 5
    assert not (tmp_path / "test-known-effect" / "laptop.json").exists()
    monkeypatch.delenv("TEST_ROOM_FAILS")
    resumed = []
    again = run_check(
        KNOWN, engine="inline", out=tmp_path, resume=True, on_seed=lambda f: resumed.append(f.resumed)
    )
    assert resumed == [True] * 5 + [False] * 3
    assert again.observations == whole.observations
    assert again.results == whole.results


def test_a_null_run_is_never_taken_up_as_the_checks_own(tmp_path):
    run_check(KNOWN, engine="inline", out=tmp_path, null=True)
    resumed = []
    run_check(KNOWN, engine="inline", out=tmp_path, resume=True, on_seed=lambda f: resumed.append(f.resumed))
    assert not any(resumed)


def test_timed_checks_stay_on_this_machine(room):
    with pytest.raises(InputError, match="not on Ray"):
        run_check(room(TIMED=True, repeat="timed"), engine="ray")


def test_times_are_measured_under_the_lock_or_not_at_all(room):
    with pytest.raises(CheckError, match="TIMED = True"):
        run_check(room(repeat="timed"), engine="inline")


@pytest.mark.parametrize(("share", "passed"), [(0.74, True), (0.76, False)])
def test_a_busy_machine_times_nothing(room, monkeypatch, tmp_path, share, passed):
    timed = room(TIMED=True, repeat="timed")
    load = share * os.cpu_count()
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0))
    record = run_check(timed, engine="inline", out=tmp_path)
    (gate,) = record.gates
    assert (gate.name, gate.passed, gate.claims) == ("machine idle", passed, ("treatment-helps",))
    assert f"{share:.2f}" in gate.detail
    assert record.load_average == load
    assert record.results[0].verdict == ("holds" if passed else "inconclusive")
    # An idle moment later does not make the times of a busy one good.
    monkeypatch.setattr(os, "getloadavg", lambda: (0.0, 0.0, 0.0))
    again = run_check(timed, engine="inline", out=tmp_path, resume=True)
    assert again.gates[0].passed is passed


def test_load_is_no_gate_where_nothing_is_timed(room, monkeypatch):
    monkeypatch.setattr(os, "getloadavg", lambda: (1000.0, 0.0, 0.0))
    assert run_check(room(), engine="inline").gates == ()


def test_a_resumed_timed_run_took_its_seeds_one_by_one(room, tmp_path):
    timed = room(TIMED=True, repeat="timed")
    run_check(timed, engine="inline", out=tmp_path)
    for path in (tmp_path / timed.slug / "laptop").glob("seed-*.json"):
        path.write_text(json.dumps({**json.loads(path.read_text()), "wall_seconds": 10.0}))
    assert run_check(timed, engine="local", jobs=4, out=tmp_path, resume=True).wall_seconds == 50.0


@pytest.mark.parametrize("change", ["python", "packages"])
def test_seeds_of_other_package_versions_are_not_taken_up(room, monkeypatch, tmp_path, change):
    plain = room()
    here = describe_environment()
    run_check(plain, engine="inline", out=tmp_path)
    new = "3.99.0" if change == "python" else {**here.packages, "numpy": "99.0"}
    upgraded = here.model_copy(update={change: new})
    monkeypatch.setattr(run_module, "describe_environment", lambda *device: upgraded)
    resumed = []
    record = run_check(
        plain, engine="inline", out=tmp_path, resume=True, on_seed=lambda f: resumed.append(f.resumed)
    )
    assert resumed == [False] * 5
    assert getattr(record.environment, change) == new


def test_seeds_of_different_package_versions_make_no_record(room, monkeypatch):
    plain, here, called = room(), describe_environment(), []

    def one_worker_is_older(*device) -> Environment:
        called.append(device)
        versions = {**here.packages, "numpy": "1.0" if len(called) == 3 else "2.0"}
        return here.model_copy(update={"packages": versions})

    monkeypatch.setattr(run_module, "describe_environment", one_worker_is_older)
    with pytest.raises(CheckError, match=r"numpy 2\.0 and 1\.0"):
        run_check(plain, engine="inline")


def test_the_environment_is_that_of_the_seeds_and_their_scale(room):
    declared = room(DEVICE={"laptop": ("cuda", "bfloat16")})
    assert run_check(declared, "laptop", engine="inline").environment.device == "cuda"
    smoke = run_check(declared, "smoke", engine="inline").environment
    assert (smoke.device, smoke.dtype) == ("cpu", "float32")
    everywhere = run_check(room(DEVICE=("cuda", "float16")), "smoke", engine="inline").environment
    assert (everywhere.device, everywhere.dtype) == ("cuda", "float16")


def test_every_arm_and_seed_chooses_among_equally_many(room):
    equal = room(lambda seed: {"candidates": {"treatment": 4, "control": 4}})
    assert run_check(equal, engine="inline").candidates == {"treatment": 4, "control": 4}
    with pytest.raises(CheckError, match=r"treatment 4, control 1"):
        run_check(room(lambda seed: {"candidates": {"treatment": 4, "control": 1}}), engine="inline")
    with pytest.raises(CheckError, match="5 candidates in seed 1, 4 in another"):
        run_check(room(lambda seed: {"candidates": {"treatment": 4 + seed}}), engine="inline")
    with pytest.raises(CheckError, match="equally many"):
        run_check(room(lambda seed: {"candidates": {f"arm-{seed}": 4 + seed}}), engine="inline")


def test_details_name_no_place_of_this_machine(room, monkeypatch, tmp_path):
    home = tmp_path / "home"
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("FIRSTHAND_CACHE", str(home / "cache"))
    chatty = room(
        lambda seed: {"details": {"model": f"{home}/cache/m.gguf", "said": [f"see {home}."], "n": 3}}
    )
    record = run_check(chatty, "smoke", engine="inline")
    assert record.details["0"] == {"model": "<cache>/m.gguf", "said": ["see <home>."], "n": 3}
    assert str(tmp_path) not in record.model_dump_json()
    assert without_places(f"x{home}") == f"x{home}"  # not a place, though it ends like one
    assert without_places(f"{home}s") == "<temporary>/homes"


def test_a_kept_seed_that_was_edited_is_an_error_that_names_it(room, tmp_path):
    plain = room()
    run_check(plain, engine="inline", out=tmp_path)
    path = tmp_path / plain.slug / "laptop" / "seed-0003.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "result": {"measurement": {}}}))
    with pytest.raises(CheckError, match="seed 3"):
        run_check(plain, engine="inline", out=tmp_path, resume=True)


def test_measure_seed_brings_its_environment(room):
    found = measure_seed(room().check, 1, "smoke")
    assert found["environment"] == describe_environment().model_dump(mode="json")
    assert len(found["measurement"]["observations"]) == 2


@pytest.mark.parametrize(
    ("raw", "message"),
    [("[]", "schema version"), ('{"schema_version": 99}', "schema version 99"), ("not json", "not a record"),
     ('{"schema_version": 1}', "room")],
)  # fmt: skip
def test_records_that_cannot_be_read(tmp_path, raw, message):
    path = tmp_path / "r.json"
    path.write_text(raw)
    with pytest.raises(InputError, match=message):
        read_record(path)


def test_missing_records(tmp_path):
    with pytest.raises(NotFoundError):
        read_record(tmp_path / "none.json")
    with pytest.raises(NotFoundError, match="no records"):
        find_records(tmp_path)


def test_a_rooms_own_folder_holds_its_records_and_not_its_seeds(tmp_path):
    run_check(KNOWN, "smoke", engine="inline", out=tmp_path)
    folder = tmp_path / "test-known-effect"
    assert find_records(folder) == [folder / "smoke.json"]
    with pytest.raises(NotFoundError, match="no records"):
        find_records(folder / "smoke")


def test_what_cannot_be_opened_is_an_error_with_its_path(tmp_path, monkeypatch):
    (tmp_path / "a.json").mkdir()
    with pytest.raises(InputError, match=r"a\.json"):
        read_record(tmp_path / "a.json")

    def refused(self, *_, **__):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "read_text", refused)
    with pytest.raises(InputError, match=r"b\.json: Permission denied"):
        read_record(tmp_path / "b.json")
    monkeypatch.setattr(Path, "is_file", refused)
    with pytest.raises(InputError, match="Permission denied"):
        find_records(tmp_path)


def test_unknown_scale_and_repeated_seeds():
    with pytest.raises(InputError, match="unknown scale"):
        run_check(KNOWN, "galaxy", engine="inline")
    with pytest.raises(InputError, match="no gpu scale"):
        run_check(KNOWN, "gpu", engine="inline")
    with pytest.raises(InputError, match="distinct"):
        run_check(KNOWN, seeds=[1, 1], engine="inline")


def test_dry_run_names_claims_and_what_is_not_measured():
    plan = dry_run(KNOWN, "laptop")
    assert plan["seeds"] == 8
    assert plan["claims"] == ["treatment-helps"]
    assert plan["not measured"] == {"not-here": "there are no customers in a test"}


def test_source_hash_follows_code_and_not_its_explanation(tmp_path, monkeypatch):
    package = tmp_path / "otherroom"
    package.mkdir()
    (package / "__init__.py").write_text("")
    check, method = package / "check.py", package / "method.py"
    check.write_text(
        '"""Doc."""\nfrom otherroom.method import f\nfrom . import method as m\nx = f(1)  # why\n'
    )
    method.write_text("def f(x):\n    return x + 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    before = source_hash("otherroom.check")
    assert set(source_files("otherroom.check")) == {"otherroom", "otherroom.check", "otherroom.method"}
    check.write_text(
        '"""Other words."""\n\nfrom otherroom.method import f\nfrom . import method as m\nx = f(1)  # because\n'
    )
    assert source_hash("otherroom.check") == before
    method.write_text("def f(x):\n    return x + 2\n")
    assert source_hash("otherroom.check") != before


def test_source_hash_follows_the_margin_and_not_the_wording():
    claim = KNOWN.claims[0]
    reworded = claim.model_copy(update={"sentence": "Other words."})
    moved = claim.model_copy(update={"clauses": (claim.clauses[0].model_copy(update={"margin": 1.0}),)})
    assert source_hash(KNOWN.check, [claim]) == source_hash(KNOWN.check, [reworded])
    assert source_hash(KNOWN.check, [claim]) != source_hash(KNOWN.check, [moved])


def test_spoken_source_keeps_strings_that_are_not_docstrings():
    assert "'# not a comment'" in _spoken("def f():\n    '''Doc.'''\n    return '# not a comment'\n")


@pytest.mark.parametrize("separator", ["\f", "\v", "\x1c", "\x85", "\u2028", "\r\n"])
def test_spoken_source_counts_lines_as_python_does(separator):
    """What `str.splitlines` takes for a line's end and Python does not, before a docstring and a comment."""
    odd = separator if separator in ("\f", "\r\n") else f"b = 'x{separator}y'"
    before = f"a = 1\n{odd}\n"
    source = before + 'def f():\n    """Doc."""\n    return 1  # why\n\n\nkeep = 2\n'
    spoken = _spoken(source)
    assert "Doc" not in spoken
    assert "why" not in spoken
    assert spoken.endswith("def f():\nreturn 1\nkeep = 2")


def test_a_failed_write_leaves_the_old_record(tmp_path, monkeypatch):
    import os

    record = run_check(KNOWN, "smoke", engine="inline")
    path = tmp_path / "r.json"
    write_record(record, path)
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        write_record(record, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_schema_is_closed():
    raw = json.loads(run_check(KNOWN, "smoke", engine="inline").model_dump_json())
    raw["surprise"] = 1
    with pytest.raises(ValueError, match="surprise"):
        Record.model_validate(raw)


def test_importing_the_instrument_is_light():
    code = (
        "import sys, firsthand, firsthand.claims, firsthand.cli, firsthand.claims.verdict, firsthand.claims.run\n"
        "heavy = {'torch','transformers','scipy.stats','pandas','matplotlib','ray'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
