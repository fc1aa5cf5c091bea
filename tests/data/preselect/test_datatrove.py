"""The scorer in datatrove: the scores of the scorer, the selection of the sketch, resumed as datatrove does."""

import builtins
import importlib
import json
import math
import sys

import numpy as np
import pytest

from firsthand.data.preselect import make_scorer
from firsthand.errors import InputError, MissingDependencyError, NotFoundError

from .conftest import documents, labelled

pytest.importorskip("datatrove")

MODULE = "firsthand.data.preselect.datatrove_steps"


@pytest.fixture(scope="module")
def scorer_folder(tmp_path_factory):
    texts, labels = labelled(80)
    scorer = make_scorer("hashed", seed=0).fit(texts, labels)
    return scorer.save(tmp_path_factory.mktemp("scorer"))


@pytest.fixture(scope="module")
def scorer(scorer_folder):
    from firsthand.data.preselect import load_scorer

    return load_scorer(scorer_folder)


@pytest.fixture(autouse=True)
def silent():
    """datatrove logs every task to stderr."""
    from loguru import logger

    logger.disable("datatrove")
    yield
    logger.enable("datatrove")


@pytest.fixture
def corpus(tmp_path):
    """Two files, one a task; an empty text in each."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    for number in range(2):
        records = [{"id": f"{number}-{d.id}", "text": d.text} for d in documents(150, seed=number)]
        records[7]["text"] = " "
        lines = [json.dumps(record) + "\n" for record in records]
        (folder / f"{number}.jsonl").write_text("".join(lines))
    return folder


def executor(pipeline, logs):
    from datatrove.executor.local import LocalPipelineExecutor

    return LocalPipelineExecutor(pipeline, tasks=2, workers=2, logging_dir=str(logs))


def score(corpus, scorer_folder, tmp_path):
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers import JsonlWriter

    from firsthand.data.preselect.datatrove_steps import PreSelectScore

    steps = [
        JsonlReader(str(corpus)),
        PreSelectScore(scorer_folder, tmp_path / "sketches", batch_size=16),
        JsonlWriter(str(tmp_path / "scored"), compression=None),
    ]
    return executor(steps, tmp_path / "logs-score").run()


def keep(tmp_path, fraction):
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers import JsonlWriter

    from firsthand.data.preselect.datatrove_steps import PreSelectFilter

    steps = [
        JsonlReader(str(tmp_path / "scored")),
        PreSelectFilter(sketch_folder=str(tmp_path / "sketches"), fraction=fraction),
        JsonlWriter(str(tmp_path / "kept"), compression=None),
    ]
    return executor(steps, tmp_path / "logs-keep").run()


def read(folder):
    return [json.loads(line) for path in sorted(folder.glob("*.jsonl")) for line in path.open()]


def bytes_of(*folders):
    return {path: path.read_bytes() for folder in folders for path in sorted(folder.glob("*.json*"))}


def test_two_tasks_score_and_keep_what_one_scorer_would(corpus, scorer, scorer_folder, tmp_path):
    from firsthand.data.preselect.datatrove_steps import threshold_from_sketches

    stats = score(corpus, scorer_folder, tmp_path)
    given, scored = read(corpus), read(tmp_path / "scored")
    assert [d["id"] for d in scored] == [d["id"] for d in given]  # in their order
    expected = scorer.predict_proba([d["text"] for d in given]).tolist()
    got = [d["metadata"]["preselect_score"] for d in scored]
    assert [math.nan if s is None else s for s in got] == pytest.approx(expected, abs=0, nan_ok=True)
    assert sum(s is None for s in got) == 2
    counts = {step.name: step.stats for step in stats.stats}["SCORE: PreSelect score"]
    assert (counts["scored"].total, counts["unscored"].total) == (298, 2)

    fraction = 0.3
    keep(tmp_path, fraction)
    kept = [d["id"] for d in read(tmp_path / "kept")]
    threshold = threshold_from_sketches(str(tmp_path / "sketches"), fraction)
    assert kept == [d["id"] for d, s in zip(given, expected, strict=True) if s >= threshold]
    sizes = {d["id"]: len(d["text"]) for d, s in zip(given, expected, strict=True) if not math.isnan(s)}
    share = sum(sizes[name] for name in kept) / sum(sizes.values())
    same = sum(size for (name, size), s in zip(sizes.items(), [s for s in expected if s == s], strict=True)
               if s == threshold) / sum(sizes.values())  # fmt: skip
    assert fraction <= share < fraction + 1e-3 + same


def test_a_task_that_is_run_again_gives_the_same(corpus, scorer_folder, tmp_path):
    score(corpus, scorer_folder, tmp_path)
    before = bytes_of(tmp_path / "scored", tmp_path / "sketches")
    done = tmp_path / "logs-score" / "completions"
    assert sorted(path.name for path in done.iterdir()) == ["00000", "00001"]
    (done / "00001").unlink()  # killed before it was done, its files cut short
    (tmp_path / "scored" / "00001.jsonl").write_bytes(before[tmp_path / "scored" / "00001.jsonl"][:100])
    (tmp_path / "sketches" / "00001.json").write_text('{"rank": 1')
    untouched = (tmp_path / "scored" / "00000.jsonl").stat().st_mtime_ns
    score(corpus, scorer_folder, tmp_path)
    assert bytes_of(tmp_path / "scored", tmp_path / "sketches") == before
    assert (tmp_path / "scored" / "00000.jsonl").stat().st_mtime_ns == untouched  # that task was done


def run_step(step, texts, **metadata):
    from datatrove.data import Document

    return list(step.run((Document(t, str(i), metadata=dict(metadata)) for i, t in enumerate(texts)), 0, 1))


def test_batches_of_any_size_give_the_same(scorer, scorer_folder):
    import pickle

    from firsthand.data.preselect.datatrove_steps import PreSelectScore

    texts = [d.text for d in documents(20)]
    expected = scorer.predict_proba(texts).tolist()
    for size in (1, 7, 100):
        step = PreSelectScore(scorer_folder, batch_size=size)
        assert "scorer" not in vars(step)  # the folder's name travels, not the weights
        found = run_step(pickle.loads(pickle.dumps(step)), texts)
        assert [document.metadata["preselect_score"] for document in found] == expected


def test_a_filter_by_a_given_threshold():
    from datatrove.data import Document

    from firsthand.data.preselect.datatrove_steps import PreSelectFilter

    scores = [0.2, math.nan, 0.5, None, float(np.float32(0.7)), 0.49999]
    step = PreSelectFilter(0.5)
    given = (Document("x", str(i), metadata={"preselect_score": s}) for i, s in enumerate(scores))
    assert [document.id for document in step.run(given)] == ["2", "4"]
    assert step.filter(Document("x", "1", metadata={"preselect_score": None})) == (False, "unscored")
    assert step.filter(Document("x", "1", metadata={"preselect_score": 0.1})) == (False, "below_threshold")
    with pytest.raises(InputError, match=r"'7' has no preselect_score.*PreSelectScore before"):
        step.filter(Document("x", "7"))


def test_documents_can_be_what_a_fraction_is_of(scorer_folder, tmp_path):
    from firsthand.data.preselect.datatrove_steps import PreSelectScore, threshold_from_sketches

    texts = [d.text for d in documents(40)]
    texts[1] *= 50
    found = run_step(PreSelectScore(scorer_folder, tmp_path, measure="docs"), texts)
    scores = sorted((d.metadata["preselect_score"] for d in found), reverse=True)
    assert threshold_from_sketches(tmp_path, 0.25) == scores[9]  # so few are exact
    assert threshold_from_sketches(tmp_path, 1) == scores[-1]


def sketch(folder, rank, **changes):
    from firsthand.corpora.quantiles import QuantileSketch

    made = QuantileSketch()
    made.update([0.1, 0.9], [3, 1])
    about = {"rank": rank, "world_size": 2, "measure": "chars", "scorer_sha256": "a"}
    (folder / f"{rank:05d}.json").write_text(json.dumps({**made.as_dict(), **about, **changes}))


def test_sketches_that_do_not_make_a_corpus(tmp_path):
    from firsthand.data.preselect.datatrove_steps import threshold_from_sketches

    with pytest.raises(NotFoundError, match="no sketches here"):
        threshold_from_sketches(str(tmp_path), 0.5)
    sketch(tmp_path, 0)
    with pytest.raises(InputError, match=r"tasks \[1\] of 2 left no sketch"):
        threshold_from_sketches(str(tmp_path), 0.5)
    for change in ({"world_size": 3}, {"measure": "docs"}, {"scorer_sha256": "b"}, {"error": 0.01}):
        sketch(tmp_path, 1, **change)
        with pytest.raises(InputError, match=r"00000.json and 00001.json are of different runs"):
            threshold_from_sketches(str(tmp_path), 0.5)
    for damage in ('{"rank": 1', "[]", "{}"):
        (tmp_path / "00001.json").write_text(damage)
        with pytest.raises(InputError, match=r"00001.json: not a whole sketch"):
            threshold_from_sketches(str(tmp_path), 0.5)
    sketch(tmp_path, 1)
    assert threshold_from_sketches(str(tmp_path), 0.25) == np.float32(0.9)
    with pytest.raises(InputError, match="fraction"):
        threshold_from_sketches(str(tmp_path), 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "either a threshold, or"),
        ({"threshold": 0.5, "sketch_folder": "x", "fraction": 0.1}, "either"),
        ({"threshold": 0.5, "fraction": 0.1}, "either"),
        ({"sketch_folder": "x"}, "either"),
        ({"threshold": math.nan}, "NaN"),
        ({"sketch_folder": "x", "fraction": 1.5}, "at most 1"),
    ],
)
def test_filters_that_cannot_be(arguments, message):
    from firsthand.data.preselect.datatrove_steps import PreSelectFilter

    with pytest.raises(InputError, match=message):
        PreSelectFilter(**arguments)


def test_scores_that_cannot_be(scorer_folder, tmp_path):
    from firsthand.data.preselect.datatrove_steps import PreSelectScore

    for arguments in ({"batch_size": 0}, {"measure": "bytes"}, {"error": 0.0}):
        with pytest.raises(InputError, match=next(iter(arguments))):
            PreSelectScore(scorer_folder, **arguments)
    with pytest.raises(NotFoundError):
        run_step(PreSelectScore(tmp_path / "nothing"), ["text"])


def test_without_datatrove_the_extra_is_named(monkeypatch):
    real = builtins.__import__

    def without(name, *rest, **options):
        if name.partition(".")[0] == "datatrove":
            raise ImportError(name)
        return real(name, *rest, **options)

    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingDependencyError, match=r"firsthand\[data\]"):
        importlib.import_module(MODULE)
    importlib.import_module("firsthand.data.preselect")  # the room itself does not need it
