"""A corpus in files: scored, cut exactly, written back, resumed; nothing half-written."""

from __future__ import annotations

import errno
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from firsthand.corpora import writing
from firsthand.corpora.files import Layout, find_inputs, read_documents
from firsthand.data.preselect import (
    HashedLinearScorer,
    score_corpus,
    select_corpus,
    threshold_for,
)
from firsthand.data.preselect import corpus as module
from firsthand.errors import InputError, NotFoundError, OutputError

from .conftest import documents, labelled


@pytest.fixture(scope="module")
def scorer():
    texts, labels = labelled(100)
    return HashedLinearScorer(features=4096).fit(texts, labels)


@pytest.fixture
def corpus(tmp_path):
    """Three files of three kinds; the pool of documents has an empty one in each of the first two."""
    folder = tmp_path / "corpus"
    (folder / "deep").mkdir(parents=True)
    docs = documents(90, seed=5)
    lines = [json.dumps({"id": d.id, "text": d.text, "n": i}) for i, d in enumerate(docs[:40])]
    (folder / "a.jsonl").write_text("\n".join([*lines, '{"id": "empty-1", "text": "  "}']) + "\n")
    rows = [{"id": d.id, "text": d.text, "weight": i / 7} for i, d in enumerate(docs[40:80])]
    pq.write_table(
        pa.Table.from_pylist([*rows, {"id": "empty-2", "text": None, "weight": 0.0}]),
        folder / "deep" / "b.parquet",
    )
    (folder / "c.txt").write_text("\n\n".join(d.text for d in docs[80:]))
    return folder


LAYOUT = Layout(text_unit="paragraph")


def words_tokenizer(folder):
    """The path of a tokenizer whose tokens are the words."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit

    tokenizer = Tokenizer(WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    tokenizer.save(str(folder / "words.json"))
    return str(folder / "words.json")


def kept_ids(folder):
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".parquet":
            found[path.name] = [(r["id"], r["preselect_score"]) for r in pq.read_table(path).to_pylist()]
        elif path.suffix == ".jsonl" and not path.name.startswith("."):
            rows = [json.loads(line) for line in path.read_text().splitlines()]
            found[path.name] = [(r["id"], r["preselect_score"]) for r in rows]
    return found


@pytest.mark.parametrize("measure", ["chars", "docs", "tokens"])
@pytest.mark.parametrize("fraction", [0.05, 0.3, 1.0])
def test_files_give_what_arrays_give(tmp_path, corpus, scorer, measure, fraction):
    files = find_inputs([corpus])
    scored = score_corpus(scorer, files, tmp_path / "s", layout=LAYOUT, tokenizer=words_tokenizer(tmp_path))
    assert (scored.n_docs, scored.n_unscored) == (92, 2)
    manifest = select_corpus(
        files, tmp_path / "s", tmp_path / "k", fraction=fraction, measure=measure, layout=LAYOUT, seed=3
    )
    docs = list(read_documents(files, LAYOUT))
    size = {"chars": len, "docs": lambda t: 1, "tokens": lambda t: len(t.split())}[measure]
    scores, ids = scorer.predict_proba([d.text for d in docs]), [d.id for d in docs]
    expected = threshold_for(scores, [size(d.text) for d in docs], fraction, ids=ids, seed=3)
    assert manifest["threshold"] == expected.as_dict()
    keep = expected.keep(scores, ids)
    found = [pair for pairs in kept_ids(tmp_path / "k").values() for pair in pairs]
    assert len(found) == keep.sum()
    stored = dict(found)
    for name, score, kept in zip(ids, scores, keep, strict=True):
        assert (name in stored) == kept
        if kept:
            assert np.float32(stored[name]) == score >= np.float32(expected.value)


def test_schema_order_and_manifest(tmp_path, corpus, scorer):
    files = find_inputs([corpus])
    score_corpus(scorer, files, tmp_path / "s", layout=LAYOUT)
    manifest = select_corpus(files, tmp_path / "s", tmp_path / "k", fraction=0.4, layout=LAYOUT)
    out = tmp_path / "k"
    assert sorted(p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()) == [
        "a.jsonl", "c.txt.jsonl", "deep/b.parquet", "manifest.json",
    ]  # fmt: skip
    first = json.loads((out / "a.jsonl").read_text().splitlines()[0])
    assert list(first) == ["id", "text", "n", "preselect_score"]
    table = pq.read_table(out / "deep" / "b.parquet")
    assert table.schema.names == ["id", "text", "weight", "preselect_score"]
    assert table.schema.field("preselect_score").type == pa.float32()
    for pairs in kept_ids(out).values():
        numbers = [int(name.rpartition("-")[2].rpartition(":")[2]) for name, _ in pairs]
        assert numbers == sorted(numbers)
    assert json.loads((out / "manifest.json").read_text()) == manifest
    assert manifest["scorer_sha256"] == scorer.fingerprint()
    assert manifest["normaliser_version"] == "1"
    assert manifest["threshold"]["fraction"] == 0.4
    assert manifest["threshold"]["kept_fraction"] >= 0.4
    assert manifest["threshold"]["unscored_docs"] == 2
    assert sum(o["docs"] for o in manifest["outputs"]) == manifest["threshold"]["kept_docs"]
    assert sum(o["size"] for o in manifest["outputs"]) == manifest["threshold"]["kept_size"]
    assert [i["bytes"] for i in manifest["inputs"]] == [f.path.stat().st_size for f in files]
    assert "no probability of quality" in manifest["note"]


def test_the_released_threshold_reads_three_of_a_hundred_shards(tmp_path, scorer):
    """Where the good documents lie in later shards, a threshold from the first three keeps too much."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    docs = documents(200, seed=6)
    ordered = sorted(docs, key=lambda d: d.source)  # "bad" first
    for number in range(10):
        part = ordered[number * 20 : number * 20 + 20]
        (folder / f"{number}.jsonl").write_text(
            "".join(json.dumps({"id": d.id, "text": d.text}) + "\n" for d in part)
        )
    files = find_inputs([folder])
    score_corpus(scorer, files, tmp_path / "s")
    manifest = select_corpus(files, tmp_path / "s", tmp_path / "k", fraction=0.1)
    scores = scorer.predict_proba([d.text for d in ordered])
    chars = np.array([len(d.text) for d in ordered])
    theirs = threshold_for(scores[:60], chars[:60], 0.1).value
    assert chars[scores >= theirs].sum() > 0.5 * chars.sum()
    assert 0.1 <= manifest["threshold"]["kept_fraction"] < 0.1 + chars.max() / chars.sum()


def test_selection_resumes_by_file(tmp_path, corpus, scorer, monkeypatch):
    files = find_inputs([corpus])
    score_corpus(scorer, files, tmp_path / "s", layout=LAYOUT)
    whole = select_corpus(files, tmp_path / "s", tmp_path / "whole", fraction=0.5, layout=LAYOUT)
    calls = []
    real = module._write_kept

    def dies_at_the_second(file, *rest):
        calls.append(file.name)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(file, *rest)

    monkeypatch.setattr(module, "_write_kept", dies_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        select_corpus(files, tmp_path / "s", tmp_path / "k", fraction=0.5, layout=LAYOUT)
    assert not (tmp_path / "k" / "manifest.json").exists()
    again = select_corpus(files, tmp_path / "s", tmp_path / "k", fraction=0.5, layout=LAYOUT)
    assert calls == ["a.jsonl", "c.txt", "c.txt", "deep/b.parquet"]
    assert again == whole
    assert kept_ids(tmp_path / "k") == kept_ids(tmp_path / "whole")
    assert not (tmp_path / "k" / ".unfinished.jsonl").exists()
    assert select_corpus(files, tmp_path / "s", tmp_path / "k", fraction=0.5, layout=LAYOUT) == whole
    assert len(calls) == 4


def test_a_smaller_fraction_removes_what_is_no_longer_kept(tmp_path, scorer):
    folder = tmp_path / "corpus"
    folder.mkdir()
    good, bad = (
        [d for d in documents(20) if d.source == "good"],
        [d for d in documents(20) if d.source == "bad"],
    )
    for name, part in (("good.jsonl", good), ("bad.jsonl", bad)):
        (folder / name).write_text("".join(json.dumps({"id": d.id, "text": d.text}) + "\n" for d in part))
    files = find_inputs([folder])
    score_corpus(scorer, files, tmp_path / "s")
    select_corpus(files, tmp_path / "s", tmp_path / "k", fraction=1.0)
    assert set(kept_ids(tmp_path / "k")) == {"good.jsonl", "bad.jsonl"}
    manifest = select_corpus(files, tmp_path / "s", tmp_path / "k", fraction=0.2)
    assert set(kept_ids(tmp_path / "k")) == {"good.jsonl"}
    assert [o["part"] for o in manifest["outputs"]] == ["good.jsonl"]
    # a file that left the corpus leaves the selection as well
    (folder / "good.jsonl").unlink()
    files = find_inputs([folder])
    score_corpus(scorer, files, tmp_path / "s")
    select_corpus(files, tmp_path / "s", tmp_path / "k", fraction=1.0)
    assert set(kept_ids(tmp_path / "k")) == {"bad.jsonl"}


def test_a_full_disk_leaves_no_half_file(tmp_path, corpus, scorer, monkeypatch):
    files = find_inputs([corpus])
    score_corpus(scorer, files, tmp_path / "s", layout=LAYOUT)

    def full(record):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(writing, "_json_line", full)
        with pytest.raises(OutputError, match="No space left"):
            select_corpus(files, tmp_path / "s", tmp_path / "k", fraction=0.5, layout=LAYOUT)
    left = {p.name for p in (tmp_path / "k").rglob("*") if p.is_file()}
    assert left <= {".unfinished.jsonl"}  # the note of what is finished

    def full_table(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pq.ParquetWriter, "write_table", full_table)
    with pytest.raises(OutputError, match="No space left"):
        score_corpus(scorer, files, tmp_path / "s2", layout=LAYOUT)
    assert [p for p in (tmp_path / "s2").rglob("*") if p.is_file()] == []


def test_repeated_ids_and_single_documents(tmp_path, corpus, scorer):
    (corpus / "z.jsonl").write_text('{"id": "doc-3", "text": "again"}\n')
    with pytest.raises(InputError, match=r"'doc-3' occurs twice: .*a\.jsonl:4 and .*z\.jsonl:1"):
        score_corpus(scorer, find_inputs([corpus]), tmp_path / "s", layout=LAYOUT)
    with pytest.raises(InputError, match=r"one document.*paragraphs"):
        score_corpus(scorer, find_inputs([corpus / "z.jsonl"]), tmp_path / "s2")
    assert not [folder for folder in ("s", "s2") if (tmp_path / folder / "scores.json").exists()]


def test_the_corpus_is_never_written_over(tmp_path, corpus, scorer):
    files = find_inputs([corpus])
    before = {path: path.read_bytes() for path in corpus.rglob("*") if path.is_file()}
    score_corpus(scorer, files, tmp_path / "s", layout=LAYOUT)
    (tmp_path / "link").symlink_to(corpus)
    for folder in (corpus, tmp_path / "link", tmp_path / "nowhere" / ".." / corpus.name):
        with pytest.raises(InputError, match="is read here and would be overwritten"):
            select_corpus(files, tmp_path / "s", folder, layout=LAYOUT)
    assert {path: path.read_bytes() for path in corpus.rglob("*") if path.is_file()} == before


def test_killed_between_a_file_and_its_note(tmp_path, corpus, scorer, monkeypatch):
    files = find_inputs([corpus])
    score_corpus(scorer, files, tmp_path / "s", layout=LAYOUT)
    real = module._write_kept

    def dies_after_writing(*arguments):
        real(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "_write_kept", dies_after_writing)
        with pytest.raises(KeyboardInterrupt):
            select_corpus(files, tmp_path / "s", tmp_path / "k", fraction=1.0, layout=LAYOUT)
    assert set(kept_ids(tmp_path / "k")) == {"a.jsonl"}
    manifest = select_corpus(
        files[2:3] and files, tmp_path / "s", tmp_path / "k", amount=1, measure="docs", layout=LAYOUT
    )
    assert set(kept_ids(tmp_path / "k")) == {o["name"].rpartition("/")[2] for o in manifest["outputs"]}


def test_quotas_are_told_of_the_whole_corpus(tmp_path, corpus, scorer):
    files = find_inputs([corpus])
    score_corpus(scorer, files, tmp_path / "s", layout=LAYOUT)
    plain = select_corpus(files, tmp_path / "s", tmp_path / "p", fraction=0.3, measure="docs", layout=LAYOUT)
    manifest = select_corpus(
        files, tmp_path / "s", tmp_path / "k", fraction=0.3, measure="docs", max_share=0.42, layout=LAYOUT
    )
    for key in ("total_size", "scored_docs", "unscored_docs", "fraction", "kept_docs", "kept_fraction"):
        assert manifest["threshold"][key] == plain["threshold"][key], key
    sizes = {o["part"]: o["docs"] for o in manifest["outputs"]}
    assert sum(sizes.values()) == manifest["threshold"]["kept_docs"]
    assert (
        max(sizes.values())
        <= 0.42 * manifest["threshold"]["kept_docs"]
        < max(o["docs"] for o in plain["outputs"])
    )


def test_scores_of_something_else_are_refused(tmp_path, corpus, scorer):
    files = find_inputs([corpus])
    with pytest.raises(NotFoundError, match="score the corpus first"):
        select_corpus(files, tmp_path / "s", tmp_path / "k")
    score_corpus(scorer, files, tmp_path / "s", layout=LAYOUT)
    with pytest.raises(InputError, match="no token counts"):
        select_corpus(files, tmp_path / "s", tmp_path / "k", measure="tokens", layout=LAYOUT)
    with pytest.raises(InputError, match="fraction"):
        select_corpus(files, tmp_path / "s", tmp_path / "k", fraction=0, layout=LAYOUT)
    with pytest.raises(InputError, match="measure"):
        select_corpus(files, tmp_path / "s", tmp_path / "k", measure="words", layout=LAYOUT)
    with pytest.raises(InputError, match=r"changed since|other input"):
        select_corpus(files[:2], tmp_path / "s", tmp_path / "k", layout=LAYOUT)
    with pytest.raises(InputError, match="other fields or another text unit"):
        select_corpus(files, tmp_path / "s", tmp_path / "k", fraction=1.0)
    (corpus / "a.jsonl").write_text('{"id": "x", "text": "y"}\n')
    with pytest.raises(InputError, match="changed since"):
        select_corpus(files, tmp_path / "s", tmp_path / "k", layout=LAYOUT)
    (tmp_path / "s" / "scores.json").write_text("{}")
    with pytest.raises(InputError, match="not the scores"):
        select_corpus(files, tmp_path / "s", tmp_path / "k", layout=LAYOUT)
    assert not (tmp_path / "k" / "manifest.json").exists()
