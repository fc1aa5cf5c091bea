"""Scores of a corpus in files: parts, resume, several processes, Ray's actors; the same parts each time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from firsthand.corpora.files import Layout, find_inputs
from firsthand.corpora.output import only_writer
from firsthand.data.preselect import HashedLinearScorer, load_scorer, score_corpus, select_corpus
from firsthand.data.preselect import scoring as module
from firsthand.data.preselect.scoring import read_scores
from firsthand.errors import InputError, NotFoundError

from .conftest import documents, labelled


@pytest.fixture(scope="module")
def scorer_folder(tmp_path_factory):
    texts, labels = labelled(100)
    return HashedLinearScorer(features=1024).fit(texts, labels).save(tmp_path_factory.mktemp("scorer"))


def write_corpus(folder: Path, sizes=(30, 1, 12), suffix=".jsonl") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    docs = iter(documents(sum(sizes), seed=5))
    for number, size in enumerate(sizes):
        lines = [json.dumps({"id": d.id, "text": d.text, "from": d.source}) for d in islice(docs, size)]
        (folder / f"{number}{suffix}").write_text("\n".join(lines) + "\n")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()
    }


def key_of(folder: Path, file) -> str:
    return json.loads((folder / "scores.json").read_text())["keys"][file.name]


class Counting(HashedLinearScorer):
    """Knows how many documents it scored."""

    scored = 0

    def predict_proba(self, texts):
        Counting.scored += len(texts)
        return super().predict_proba(texts)


@pytest.fixture
def counting(scorer_folder):
    scorer = Counting.load(scorer_folder)
    Counting.scored = 0
    return scorer


def test_parts_hold_what_the_scorer_says(tmp_path, counting, monkeypatch):
    monkeypatch.setattr(module, "PART", 7)
    files = find_inputs([write_corpus(tmp_path / "c")])
    layout = Layout(source_field="from")
    scored = score_corpus(counting, files, tmp_path / "s", layout=layout)
    assert (scored.n_docs, scored.n_unscored, Counting.scored) == (43, 0, 43)
    names = [p.relative_to(tmp_path / "s").as_posix() for p in sorted((tmp_path / "s").rglob("*.parquet"))]
    assert names == [*(f"0.jsonl/{n:05d}.parquet" for n in range(5)), "1.jsonl/00000.parquet",
                     "2.jsonl/00000.parquet", "2.jsonl/00001.parquet"]  # fmt: skip
    docs = documents(43, seed=5)
    folder, more = tmp_path / "s", {"with_ids": True, "with_sources": True}
    chunks = [c for f in files for c in read_scores(folder, f.name, key_of(folder, f), "chars", **more)]
    assert [name for c in chunks for name in c.ids] == [d.id for d in docs]
    assert [name for c in chunks for name in c.sources] == [d.source for d in docs]
    np.testing.assert_array_equal(np.concatenate([c.sizes for c in chunks]), [len(d.text) for d in docs])
    np.testing.assert_array_equal(
        np.concatenate([c.scores for c in chunks]), counting.predict_proba([d.text for d in docs])
    )


def test_it_goes_on_behind_the_last_part(tmp_path, counting, monkeypatch):
    monkeypatch.setattr(module, "PART", 7)
    files = find_inputs([write_corpus(tmp_path / "c")])
    score_corpus(counting, files, tmp_path / "whole")
    expected = contents(tmp_path / "whole")

    real, written = module._ScoreFiles._write, []

    def dies_at_the_fourth(self, *rest):
        written.append(rest[0])
        if len(written) == 4:
            raise KeyboardInterrupt
        real(self, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(module._ScoreFiles, "_write", dies_at_the_fourth)
        with pytest.raises(KeyboardInterrupt):
            score_corpus(counting, files, tmp_path / "s")
    Counting.scored = 0
    seen = []
    score_corpus(counting, files, tmp_path / "s", on_progress=lambda *a: seen.append(a))
    assert Counting.scored == 43 - 3 * 7
    assert contents(tmp_path / "s") == expected
    assert seen[-1] == ("score", 3, 3)

    Counting.scored = 0
    score_corpus(counting, files, tmp_path / "s")
    assert Counting.scored == 0
    (tmp_path / "s" / "0.jsonl" / "00002.parquet").unlink()
    (tmp_path / "s" / "2.jsonl" / "00000.parquet").write_bytes(b"damaged")
    score_corpus(counting, files, tmp_path / "s")
    assert Counting.scored == (30 - 2 * 7) + 12
    assert contents(tmp_path / "s") == expected


def test_a_file_whose_parts_are_all_there_but_its_note_is_counted_right(tmp_path, counting, monkeypatch):
    """Killed between a file's last part, which is shorter than the others, and the note of how many it has."""
    monkeypatch.setattr(module, "PART", 7)
    files = find_inputs([write_corpus(tmp_path / "c", sizes=(30, 14, 1))])
    score_corpus(counting, files, tmp_path / "s")
    expected = contents(tmp_path / "s")
    for file in files:
        (tmp_path / "s" / file.name / "whole.json").unlink()
    (tmp_path / "s" / "scores.json").unlink()
    Counting.scored = 0
    assert score_corpus(counting, files, tmp_path / "s").n_docs == 45
    assert contents(tmp_path / "s") == expected
    assert Counting.scored == 2 + 0 + 1  # the short parts alone


def test_another_scorer_layout_or_text_scores_again(tmp_path, counting, scorer_folder, monkeypatch):
    monkeypatch.setattr(module, "PART", 7)
    corpus = write_corpus(tmp_path / "c")
    files = find_inputs([corpus])
    score_corpus(counting, files, tmp_path / "s")
    texts, labels = labelled(30, seed=1)
    other = HashedLinearScorer(features=1024).fit(texts, labels)
    score_corpus(other, files, tmp_path / "s")
    with pytest.raises(InputError, match="other input"):
        select_corpus(files[:1], tmp_path / "s", tmp_path / "k")
    Counting.scored = 0
    score_corpus(counting, files, tmp_path / "s", layout=Layout(source_field="from"))
    assert Counting.scored == 43
    write_corpus(corpus, (5, 1, 12))  # a shorter file leaves no part of the longer one
    files = find_inputs([corpus])
    score_corpus(counting, files, tmp_path / "s")
    score_corpus(counting, files, tmp_path / "fresh")
    assert contents(tmp_path / "s") == contents(tmp_path / "fresh")


def test_two_processes_write_the_same(tmp_path, scorer_folder):
    files = find_inputs([write_corpus(tmp_path / "c", (20, 15, 9, 4))])
    score_corpus(scorer_folder, files, tmp_path / "one")
    seen = []
    score_corpus(
        scorer_folder,
        files,
        tmp_path / "two",
        engine="local",
        workers=2,
        on_progress=lambda *a: seen.append(a),
    )
    assert contents(tmp_path / "two") == contents(tmp_path / "one")
    assert seen == [("score", n, 4) for n in range(1, 5)]


def test_bad_engines_and_two_runs_at_once(tmp_path, scorer_folder):
    files = find_inputs([write_corpus(tmp_path / "c")])
    with pytest.raises(InputError, match="unknown engine 'slurm'"):
        score_corpus(scorer_folder, files, tmp_path / "s", engine="slurm")
    with pytest.raises(InputError, match="folder of a saved scorer"):
        score_corpus(load_scorer(scorer_folder), files, tmp_path / "s", engine="local")
    with only_writer(tmp_path / "s"), pytest.raises(InputError, match="another run is writing"):
        score_corpus(scorer_folder, files, tmp_path / "s")
    with pytest.raises(NotFoundError, match="no whole scores"):
        list(read_scores(tmp_path / "s", "0.jsonl", "some key", "chars"))
    with pytest.raises(InputError, match="has one worker, and 2"):
        score_corpus(scorer_folder, files, tmp_path / "s", workers=2)
    with pytest.raises(InputError, match="an address is for engine 'ray'"):
        score_corpus(scorer_folder, files, tmp_path / "s", engine="local", address="127.0.0.1:1")


def test_an_error_in_a_worker_is_the_users_error(tmp_path, scorer_folder):
    corpus = write_corpus(tmp_path / "c")
    (corpus / "9.jsonl").write_text('{"text": "fine"}\n{"text": \n')
    with pytest.raises(InputError, match=r"9\.jsonl:2: not JSON"):
        score_corpus(scorer_folder, find_inputs([corpus]), tmp_path / "s", engine="local", workers=2)
    assert not (tmp_path / "s" / "scores.json").exists()


def test_one_bad_line_costs_no_other_file_its_scores(tmp_path, counting):
    corpus = write_corpus(tmp_path / "c")
    (corpus / "9.jsonl").write_text('{"text": "fine"}\n{"text": \n')
    with pytest.raises(InputError, match=r"9\.jsonl:2: not JSON"):
        score_corpus(counting, find_inputs([corpus]), tmp_path / "s")
    (corpus / "9.jsonl").write_text('{"text": "fine"}\n{"text": "mended"}\n')
    Counting.scored = 0
    score_corpus(counting, find_inputs([corpus]), tmp_path / "s")
    assert Counting.scored == 2


def test_scores_of_two_scorers_never_mix(tmp_path, counting, monkeypatch):
    """Killed while another scorer went over the corpus: what is there is neither one's, and is refused."""
    files = find_inputs([write_corpus(tmp_path / "c")])
    score_corpus(counting, files, tmp_path / "s")
    before = (tmp_path / "s" / "scores.json").read_text()
    texts, labels = labelled(30, seed=1)
    other = HashedLinearScorer(features=1024).fit(texts, labels)
    real = module._ScoreFiles.score

    def dies_at_the_third(self, file, key):
        if file.name == "2.jsonl":
            raise KeyboardInterrupt
        return real(self, file, key)

    with monkeypatch.context() as patch:
        patch.setattr(module._ScoreFiles, "score", dies_at_the_third)
        with pytest.raises(KeyboardInterrupt):
            score_corpus(other, files, tmp_path / "s")
    with pytest.raises(NotFoundError, match="score the corpus first"):
        select_corpus(files, tmp_path / "s", tmp_path / "k")
    (tmp_path / "s" / "scores.json").write_text(before)  # and had the first one's head come back
    with pytest.raises(NotFoundError, match=r"no whole scores of '0\.jsonl'"):
        select_corpus(files, tmp_path / "s", tmp_path / "k")
    assert not list((tmp_path / "k").glob("*.jsonl"))


def test_a_part_that_is_damaged_or_anothers_is_refused(tmp_path, counting, monkeypatch):
    monkeypatch.setattr(module, "PART", 7)
    files = find_inputs([write_corpus(tmp_path / "c")])
    score_corpus(counting, files, tmp_path / "s")
    part = tmp_path / "s" / "0.jsonl" / "00001.parquet"
    whole = part.read_bytes()
    part.write_bytes(whole[:200])
    with pytest.raises(InputError, match=r"damaged.*score the corpus again"):
        select_corpus(files, tmp_path / "s", tmp_path / "k")
    part.write_bytes((tmp_path / "s" / "0.jsonl" / "00002.parquet").read_bytes())
    with pytest.raises(InputError, match="scores of another run"):
        select_corpus(files, tmp_path / "s", tmp_path / "k")
    score_corpus(counting, files, tmp_path / "s")
    assert part.read_bytes() == whole


def test_a_worker_that_finds_another_scorer_stops(tmp_path, scorer_folder):
    files = find_inputs([write_corpus(tmp_path / "c")])
    arguments = {
        "scorer": str(scorer_folder), "fingerprint": "another", "folder": str(tmp_path / "s"),
        "layout": {}, "tokenizer": None,
    }  # fmt: skip
    with pytest.raises(InputError, match="the scorer changed while"):
        module.ScoringActor(**arguments)
    assert files


def test_places_hold_in_another_folder(tmp_path, scorer_folder, monkeypatch):
    (tmp_path / "scorer").symlink_to(scorer_folder)
    write_corpus(tmp_path / "c")
    monkeypatch.chdir(tmp_path)
    given = {}
    monkeypatch.setattr(
        module, "_elsewhere", lambda items, arguments, *rest: given.update(arguments, items=items)
    )
    with pytest.raises(NotFoundError, match="no whole scores"):  # nobody scored
        score_corpus("scorer", find_inputs(["c"]), "s", engine="local", workers=2)
    assert given["scorer"] == str(tmp_path / "scorer")
    assert given["folder"] == str(tmp_path / "s")
    assert [item["path"] for item in given["items"]] == [str(tmp_path / "c" / f"{n}.jsonl") for n in range(3)]


def test_names_that_collide_are_said_before_the_work(tmp_path, counting):
    one, other = write_corpus(tmp_path / "one" / "a.jsonl"), write_corpus(tmp_path / "two", (3,))
    (other / "0.jsonl").rename(other / "a.jsonl")
    with pytest.raises(InputError, match=r"'a\.jsonl', and others lie in a folder of that name"):
        score_corpus(counting, find_inputs([tmp_path / "one", other / "a.jsonl"]), tmp_path / "s")
    one.rename(tmp_path / "one" / "scores.json")
    with pytest.raises(InputError, match="a file of ours is called so too"):
        score_corpus(counting, find_inputs([tmp_path / "one"]), tmp_path / "s")
    assert Counting.scored == 0


def test_odd_names_and_ids(tmp_path, counting):
    """A colon in the output, a byte in a file name that is no UTF-8, ids that differ in a lone surrogate only."""
    corpus = write_corpus(tmp_path / "c", (9,))
    os.rename(corpus / "0.jsonl", os.fsencode(corpus) + b"/\xff.jsonl")
    lines = [json.dumps({"id": f"x{c}", "text": "the river and the sea"}) for c in "\ud800\ud801"]
    (corpus / "b.jsonl").write_text("\n".join(lines) + "\n")
    files = find_inputs([corpus])
    score_corpus(counting, files, tmp_path / "exp:1")
    manifest = select_corpus(files, tmp_path / "exp:1", tmp_path / "k:1", fraction=1.0)
    assert sum(output["docs"] for output in manifest["outputs"]) == 11


KILLED = """
import json, os, random, shutil, signal, sys, time
from pathlib import Path
from firsthand.corpora.files import find_inputs
from firsthand.data.preselect import load_scorer, scoring, score_corpus, select_corpus

scoring.PART = 64
folder, moments = Path(sys.argv[1]), int(sys.argv[2])
files, scorer, out = find_inputs([folder / "c"]), load_scorer(folder / "scorer"), folder / "out"

def run():
    score_corpus(scorer, files, out / "s")
    select_corpus(files, out / "s", out / "k", fraction=0.3)

def contents():
    return {str(p): p.read_bytes() for p in out.rglob("*") if p.is_file()}

def elsewhere():  # in a process of its own, for the price of a fork
    child = os.fork()
    if child == 0:
        run()
        os._exit(0)
    return child

def unbroken():
    shutil.rmtree(out, ignore_errors=True)
    started = time.perf_counter()
    assert os.waitpid(elsewhere(), 0)[1] == 0
    return time.perf_counter() - started

whole, expected = min(unbroken() for _ in range(3)), contents()  # on a busy machine one alone may be slow
killed = halves = equal = tries = 0
rng = random.Random(20)
while killed < moments and tries < 5 * moments:
    tries += 1
    shutil.rmtree(out)
    child = elsewhere()
    time.sleep(rng.random() * whole)
    os.kill(child, signal.SIGKILL)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != -signal.SIGKILL:
        whole *= 0.9  # it was done already: the machine is less busy than it was
        continue
    killed += 1
    halves += contents() != expected
    assert os.waitpid(elsewhere(), 0)[1] == 0
    equal += contents() == expected
print(json.dumps({"killed": killed, "halves": halves, "equal": equal, "files": len(expected)}))
"""


def test_killed_at_twenty_random_moments(tmp_path, scorer_folder):
    """kill -9 while it scores and selects; the run after it ends with the bytes of an unbroken one."""
    (tmp_path / "scorer").symlink_to(scorer_folder)
    write_corpus(tmp_path / "c", (900, 1, 700, 400))
    answer = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), "20"],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    found = json.loads(answer.stdout)
    assert found["equal"] == 20
    assert found["killed"] == 20
    assert found["halves"] >= 15  # and something was missing, or half there
    assert found["files"] > 30
