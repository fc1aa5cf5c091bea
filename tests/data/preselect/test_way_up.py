"""Losses measured by several processes: the files of one process, though one of them was killed."""

import contextlib
import os
from pathlib import Path

import pytest

from firsthand.corpora.documents import Document
from firsthand.data.preselect import losses, measure_losses, read_losses
from firsthand.errors import InputError
from firsthand.launch import Rank, single_thread
from tests.launch.torchrun_for_tests import torchrun

from .conftest import Ladder, documents
from .way_up_for_tests import FOLDER, Watched, draw_and_measure

WORK = {"block": 64, "stride": 16, "shard_size": 2}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Two tiny models in folders, since every process loads its own."""
    pytest.importorskip("torch")
    from firsthand import lm

    root = tmp_path_factory.mktemp("models")
    tokenizer = lm.train_tokenizer([d.text for d in documents(40)], 300)
    for seed in range(2):
        lm.tiny_llama(len(tokenizer), width=32, layers=1, context=64, seed=seed).save_pretrained(
            root / f"tiny-{seed}"
        )
        tokenizer.save_pretrained(root / f"tiny-{seed}")
    return [str(root / f"tiny-{seed}") for seed in range(2)]


@pytest.fixture
def notes(tmp_path, monkeypatch):
    folder = tmp_path / "notes"
    folder.mkdir()
    monkeypatch.setenv(FOLDER, str(folder))
    return folder


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.parquet")}


def processes(notes):
    return {int(path.name.partition("-")[2]) for path in notes.glob("process-*")}


def test_ray_gives_the_files_of_one_process_though_a_worker_is_killed(models, notes, tmp_path, monkeypatch):
    pytest.importorskip("ray")
    named, docs = {"tiny": models[0]}, [*documents(10), Document("empty", "")]
    with single_thread():
        measure_losses(named, docs, tmp_path / "alone", **WORK)
    monkeypatch.setattr(losses, "ShardLosses", Watched)
    seen = []
    on_ray = {"engine": "ray", "workers": 2, "on_progress": lambda *done: seen.append(done), **WORK}
    measure_losses(named, docs, tmp_path / "ray", **on_ray)
    assert (notes / "died").exists(), "no worker was killed"
    assert len(processes(notes)) >= 3  # two at once, and the one that took the dead one's place
    assert os.getpid() not in processes(notes)
    assert len(files(tmp_path / "alone")) == 6
    assert files(tmp_path / "ray") == files(tmp_path / "alone")
    assert seen == [("tiny", done, 6) for done in range(7)]


def test_models_take_turns_on_one_ray(models, tmp_path, monkeypatch):
    """What is asked of Ray, with workers that are none."""
    sessions, asked = [], []

    @contextlib.contextmanager
    def session(workers, address):
        sessions.append((workers, address))
        yield
        sessions.append("left")

    def mapped(items, actor, arguments, *, workers, gpus, on_finished):
        asked.append((actor.partition(":")[2], arguments["model"], workers, gpus))
        measure = losses.ShardLosses(**arguments)
        for place, item in reversed(list(enumerate(items))):  # they come back in any order
            on_finished(place, measure(item))

    monkeypatch.setattr(losses, "ray_session", session)
    monkeypatch.setattr(losses, "map_with_actors", mapped)
    monkeypatch.chdir(Path(models[0]).parent)
    named, docs = {name: name for name in ("tiny-0", "tiny-1")}, documents(6)
    measure_losses(named, docs, tmp_path / "alone", **WORK)
    on_ray = {"engine": "ray", "workers": 3, "address": "host:1", **WORK}
    measure_losses(named, docs, tmp_path / "ray", **on_ray)
    assert sessions == [(3, "host:1"), (3, "host:1"), "left", "left"]  # not left in between
    # In full, for workers that were started elsewhere; a share of the GPUs unless processors were asked for.
    assert asked == [("ShardLosses", model, 3, None) for model in models]
    assert files(tmp_path / "ray") == files(tmp_path / "alone")
    measure_losses(named, docs, tmp_path / "processors", device="cpu", **on_ray)
    assert [gpus for *_, gpus in asked[2:]] == [0.0, 0.0]
    measure_losses(named, docs, tmp_path / "ray", **on_ray)
    assert (len(asked), len(sessions)) == (4, 8)  # all was there: no Ray is started


def test_torchrun_gives_the_files_of_one_process_though_a_process_is_killed(
    models, notes, tmp_path, write_jsonl
):
    corpus = write_jsonl("corpus.jsonl", [{"id": d.id, "text": d.text} for d in documents(30)])
    with single_thread():
        drawn = draw_and_measure(corpus, tmp_path / "alone", models)
    done = torchrun(
        *("-m", "tests.data.preselect.way_up_for_tests", corpus, tmp_path / "two", *models), restarts=1
    )
    assert done.returncode == 0, done.stderr
    assert (notes / "died").exists(), "no process was killed"
    # Two, and the one that took the dead one's place; the other may have been done before it was stopped.
    assert len(processes(notes)) in (3, 4)
    assert files(tmp_path / "two") == files(tmp_path / "alone")
    assert (tmp_path / "two" / "seed.jsonl").read_bytes() == (tmp_path / "alone" / "seed.jsonl").read_bytes()
    said = done.stdout.splitlines()
    assert said.count("reported 12") == 1  # the first process alone
    assert f"progress {models[1]} 3 3" in said  # half of six shards
    assert set(read_losses(tmp_path / "two" / "losses").ids) == {d.id for d in drawn.documents}


def test_ranks_share_the_shards_out(tmp_path, monkeypatch):
    """Without torchrun: each rank's share, computed one after the other."""
    monkeypatch.setattr(Rank, "barrier", lambda self: None)
    docs = documents(10)
    alone, ranks = Ladder(0.1), [Ladder(0.1) for _ in range(3)]
    measure_losses({"m": alone}, docs, tmp_path / "alone", shard_size=2)
    seen = []
    for number in (2, 1, 0):  # the first one last: it looks whether all are there
        measure_losses(
            {"m": ranks[number]}, docs, tmp_path / "ranks", shard_size=2, rank=Rank(number, 3, number),
            on_progress=lambda *a: seen.append(a),
        )  # fmt: skip
    assert [ladder.calls for ladder in ranks] == [2, 2, 1]
    assert files(tmp_path / "ranks") == files(tmp_path / "alone")
    assert seen == [("m", 0, 2), ("m", 1, 2), ("m", 2, 2)]


def test_a_folder_that_is_not_shared_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(Rank, "barrier", lambda self: None)
    monkeypatch.setattr(losses, "LATE_SECONDS", 0.0)
    with pytest.raises(InputError, match=r"2 of 5 shards .* not here, 00001\.parquet the first"):
        measure_losses({"m": Ladder(0.1)}, documents(10), tmp_path, shard_size=2, rank=Rank(0, 2, 0))


def test_a_rank_of_two_leaves_stale_files_to_the_first(tmp_path, monkeypatch):
    monkeypatch.setattr(Rank, "barrier", lambda self: None)
    measure_losses({"m": Ladder(0.1)}, documents(10), tmp_path, shard_size=2)
    measure_losses({"m": Ladder(0.1)}, documents(4), tmp_path, shard_size=2, rank=Rank(1, 2, 1))
    assert len(files(tmp_path)) == 5
    measure_losses({"m": Ladder(0.1)}, documents(4), tmp_path, shard_size=2, rank=Rank(0, 2, 0))
    assert len(files(tmp_path)) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"engine": "spark"}, "'inline' and 'ray', not 'spark'"),
        ({"engine": "ray"}, "names of models only.*'m' is a Ladder"),
        ({"engine": "ray", "models": {"m": "name"}, "workers": 0}, "workers must be at least 1"),
        ({"engine": "ray", "models": {"m": "name"}, "rank": Rank(0, 2, 0)}, "choose one"),
    ],
)
def test_engines_that_cannot_be(tmp_path, arguments, message):
    models = arguments.pop("models", {"m": Ladder(0.1)})
    with pytest.raises(InputError, match=message):
        measure_losses(models, documents(4), tmp_path / "out", **arguments)
    assert not (tmp_path / "out").exists()


def test_a_name_holds_in_another_folder(tmp_path, monkeypatch):
    from firsthand.data.preselect.losses import _wherever

    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "gemma-3-270m").mkdir()  # an installed model of that name wins, as in `lm.load`
    assert _wherever("mine") == str(tmp_path / "mine")
    assert _wherever("gemma-3-270m") == "gemma-3-270m"
    assert _wherever("org/name") == "org/name"
