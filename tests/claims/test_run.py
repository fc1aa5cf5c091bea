"""A check run through the instrument: seeds, resume, records, nulls, staleness; two rooms of known truth."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from firsthand.claims.model import Record
from firsthand.claims.record import find_records, read_record, write_record
from firsthand.claims.run import Subject, dry_run, run_check
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
