"""The scores of a corpus in files: every document once, in constant memory, resumed where it stopped.

Each input file gets a folder of compact Parquet parts (id, score, sizes, source), 65 536 documents each, and a
note that it is whole. A run that was killed goes on behind the last part. Files are independent: they can be
scored in this process, in several, or by Ray's actors, each with the scorer loaded once, and the parts are the
same. `corpus` cuts what is scored here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from firsthand.corpora.files import InputFile, Layout, read_batches
from firsthand.corpora.ids import UniqueIds, identity
from firsthand.corpora.output import MANIFEST, only_writer, sweep
from firsthand.corpora.places import as_place, is_local, read_json, write_json
from firsthand.corpora.tables import KEY, arrow, stored_key, stored_rows, write_table
from firsthand.corpora.threshold import Chunk, Measure
from firsthand.data.preselect.scorer import Scorer
from firsthand.data.preselect.scorers import load_scorer
from firsthand.data.preselect.text import NORMALISER_VERSION, token_counter
from firsthand.errors import InputError, NotFoundError
from firsthand.launch import Job, run_jobs
from firsthand.launch.jobs import ENGINES

__all__ = ["HEAD", "SCORE_COLUMN", "Progress", "ScoredCorpus", "read_scores", "score_corpus", "storable"]

SCORE_COLUMN = "preselect_score"
HEAD = "scores.json"  # written when all files are whole
PART = 65_536  # documents
_SIZES: dict[str, str] = {"chars": "n_chars", "tokens": "n_tokens"}

Progress = Callable[[str, int, int], None]  # stage, done, of how many


@dataclass(frozen=True)
class ScoredCorpus:
    """What `score_corpus` left in a folder."""

    folder: Path
    scorer: str  # fingerprint
    n_docs: int
    n_unscored: int
    files: tuple[dict[str, Any], ...]  # stamps of the inputs


def score_corpus(
    scorer: Scorer | Path | str,
    files: Sequence[InputFile],
    folder: Path | str,
    *,
    layout: Layout | None = None,
    tokenizer: str | None = None,
    engine: str = "inline",
    workers: int = 1,
    address: str | None = None,
    on_progress: Progress | None = None,
) -> ScoredCorpus:
    """Score every document of `files`.

    Args:
        scorer: a trained scorer, or the folder of a saved one; other engines than "inline" need the folder.
        files: the corpus, from `find_inputs`.
        folder: gets NAME/NNNNN.parquet for each file (id, preselect_score float32, n_chars, n_bytes, source
            and, with a tokenizer, n_tokens), NAME/whole.json, and `scores.json` last.
        layout: which field holds what.
        tokenizer: count tokens too, with this tokenizer (tokenizer.json, its folder, or a hub name); needed to
            select by tokens. Another one scores the files again.
        engine: "inline" (this process), "local" (`workers` processes) or "ray" (as many Ray Data actors). A
            file is scored by one worker. On a cluster, files, scorer and folder must be where all can reach them.
        workers: how many files are scored at once.
        address: of a Ray cluster; without it, one is started on this machine.
        on_progress: called after each file.

    Raises:
        InputError: an unreadable file, an id that occurs twice, a corpus of one document; file names that
            collide; another run that writes to the folder. Whole parts stay for the next run.
    """
    layout = layout or Layout()
    folder = as_place(folder)
    if engine not in ENGINES:
        raise InputError(f"unknown engine {engine!r}; choose one of {', '.join(ENGINES)}")
    loaded = scorer if isinstance(scorer, Scorer) else load_scorer(scorer)
    if engine != "inline" and isinstance(scorer, Scorer):
        raise InputError(f"engine {engine!r} needs the folder of a saved scorer: each worker loads it")
    if engine == "inline" and workers != 1:
        raise InputError(f"engine 'inline' has one worker, and {workers} were asked for; choose local or ray")
    if engine != "ray" and address is not None:
        raise InputError(f"an address is for engine 'ray', and the engine is {engine!r}")
    _check_names([file.name for file in files])
    fingerprint = loaded.fingerprint()
    stamps = tuple(file.stamp() for file in files)
    keys = {
        stamp["name"]: identity(
            json.dumps([stamp, fingerprint, NORMALISER_VERSION, repr(layout), tokenizer or ""])
        ).hex()
        for stamp in stamps
    }
    with only_writer(folder):
        waiting = [file for file in files if not _is_whole(folder / file.name, keys[file.name])]
        if waiting:  # what is there from now on is a mixture until all is whole
            (folder / HEAD).unlink(missing_ok=True)
        done = len(files) - len(waiting)

        def scored(*_: object) -> None:
            nonlocal done
            done += 1
            if on_progress:
                on_progress("score", done, len(files))

        if on_progress and done:
            on_progress("score", done, len(files))
        if engine == "inline":
            work = _ScoreFiles(loaded, folder, layout, token_counter(tokenizer) if tokenizer else None)
            for file in waiting:
                work.score(file, keys[file.name])
                scored()
        elif waiting:
            arguments = {
                "scorer": _wherever(str(scorer)),
                "fingerprint": fingerprint,
                "folder": _wherever(str(folder)),
                "layout": asdict(layout),
                "tokenizer": tokenizer and _wherever(tokenizer),
            }
            items = [{"path": _wherever(str(f.path)), "name": f.name, "key": keys[f.name]} for f in waiting]
            _elsewhere(items, arguments, engine, workers, address, scored)
        n_docs = n_unscored = 0
        # Small slices keep memory flat up to 16 million documents; beyond, at most 64 passes over the ids' digests.
        expected = sum(int((_note(folder / f.name, keys[f.name]) or {}).get("docs", 0)) for f in files)
        with UniqueIds(slice_size=max(1 << 18, expected // 64)) as ids:
            for file in files:
                for chunk in read_scores(folder, file.name, keys[file.name], "chars", with_ids=True):
                    ids.add(chunk.ids)
                    n_docs += len(chunk.ids)
                    n_unscored += int(np.isnan(chunk.scores).sum())
            ids.require(files, layout)
        if n_docs < 2:
            raise InputError(
                f"{files[0].path}: the corpus has one document, there is nothing to select from; "
                "a text file can be cut into its paragraphs or lines (text-unit)"
            )
        head = {
            "scorer_sha256": fingerprint,
            "normaliser_version": NORMALISER_VERSION,
            "tokenizer": tokenizer,
            "layout": asdict(layout),
            "n_docs": n_docs,
            "n_unscored": n_unscored,
            "inputs": stamps,
            "keys": keys,
        }
        write_json(folder / HEAD, head)
    return ScoredCorpus(folder, fingerprint, n_docs, n_unscored, stamps)


def _check_names(names: Sequence[str]) -> None:
    """Raise `InputError` where a file's name would get in the way of another's, or of our own files."""
    folders = {
        "/".join(parts[:n]) for name in names if (parts := name.split("/")) for n in range(1, len(parts))
    }
    for name in names:
        if name.split("/")[0] in (HEAD, MANIFEST):
            raise InputError(f"an input is called {name!r}, and a file of ours is called so too; rename it")
        if name in folders:
            raise InputError(
                f"one input is called {name!r}, and others lie in a folder of that name; rename it"
            )


def _wherever(place: str) -> str:
    """The place for a process that may have been started in another folder."""
    path = as_place(place)
    return str(path.absolute()) if is_local(path) and path.exists() else place


def _elsewhere(
    items: list[dict[str, Any]],
    arguments: dict[str, Any],
    engine: str,
    workers: int,
    address: str | None,
    scored: Callable[..., None],
) -> None:
    """Score files in other processes: a local pool, or Ray Data's actors."""
    if engine == "ray":
        from firsthand.launch import map_with_actors

        actor = f"{__name__}:ScoringActor"
        map_with_actors(items, actor, arguments, workers=workers, address=address, on_finished=scored)
        return

    shared = json.dumps(arguments)
    jobs = [
        Job(key=f"{number:06d}", function=f"{__name__}:score_one", arguments={"shared": shared, "item": item})
        for number, item in enumerate(items)
    ]
    run_jobs(jobs, engine=engine, workers=workers, on_finished=scored)


class ScoringActor:
    """Loads the scorer once, then scores one file after the other: what a worker process or actor holds."""

    def __init__(
        self, scorer: str, fingerprint: str, folder: str, layout: dict[str, Any], tokenizer: str | None
    ) -> None:
        loaded = load_scorer(scorer)
        if loaded.fingerprint() != fingerprint:
            raise InputError(
                f"{scorer}: the scorer changed while the corpus was being scored; score it again"
            )
        count = token_counter(tokenizer) if tokenizer else None
        self._work = _ScoreFiles(loaded, as_place(folder), Layout(**layout), count)

    def __call__(self, item: dict[str, Any]) -> dict[str, Any]:
        """Score the file of `item` (path, name, key); returns its name and how many documents it has."""
        file = InputFile(as_place(item["path"]), item["name"])
        return {"name": file.name, "docs": self._work.score(file, item["key"])}


@lru_cache(maxsize=1)
def _actor(shared: str) -> ScoringActor:
    return ScoringActor(**json.loads(shared))


def score_one(shared: str, item: dict[str, Any]) -> dict[str, Any]:
    """One file in a process of the local pool, which keeps its scorer from file to file."""
    return _actor(shared)(item)


class _ScoreFiles:
    """Writes the parts of files, behind those that are there."""

    def __init__(
        self, scorer: Scorer, folder: Path, layout: Layout, count_tokens: Callable[[str], int] | None
    ) -> None:
        self._scorer, self._folder, self._layout, self._count = scorer, folder, layout, count_tokens

    def score(self, file: InputFile, key: str) -> int:
        """Score one file to its end; returns how many documents it has."""
        target = self._folder / file.name
        sweep(target)
        number = 0
        while stored_key(_part(target, number)) == f"{key}:{number}":
            number += 1
        if number and stored_rows(_part(target, number - 1)) < PART:
            number -= (
                1  # the file's last part, shorter than the others: written again, its documents are counted
            )
        first = number
        columns: dict[str, list[Any]] = self._empty()
        for batch in read_batches(file, self._layout, skip=first * PART):
            texts = [document.text for document in batch.documents]
            columns["id"] += [storable(document.id) for document in batch.documents]
            columns[SCORE_COLUMN] += self._scorer.predict_proba(texts).tolist()
            columns["n_chars"] += [len(text) for text in texts]
            columns["n_bytes"] += [len(text.encode("utf-8", "surrogatepass")) for text in texts]
            columns["source"] += [storable(document.source) for document in batch.documents]
            if self._count is not None:
                columns["n_tokens"] += [self._count(text) for text in texts]
            while len(columns["id"]) >= PART:
                self._write(_part(target, number), f"{key}:{number}", columns, PART)
                columns = {name: values[PART:] for name, values in columns.items()}
                number += 1
        docs = number * PART + len(columns["id"])
        if columns["id"]:
            self._write(_part(target, number), f"{key}:{number}", columns, PART)
            number += 1
        while _part(target, number).is_file():  # of an earlier, longer file
            _part(target, number).unlink()
            number += 1
        write_json(target / "whole.json", {"key": key, "docs": docs, "parts": -(-docs // PART)})
        return docs

    def _empty(self) -> dict[str, list[Any]]:
        names = ["id", SCORE_COLUMN, "n_chars", "n_bytes", "source"]
        return {name: [] for name in (names if self._count is None else [*names, "n_tokens"])}

    def _write(self, path: Path, key: str, columns: dict[str, list[Any]], n: int) -> None:
        pa, _ = arrow()
        types = {"id": pa.string(), "source": pa.string(), SCORE_COLUMN: pa.float32()}
        table = pa.table(
            {name: pa.array(values[:n], types.get(name, pa.int64())) for name, values in columns.items()}
        )
        write_table(table, path, key)


def _part(target: Path, number: int) -> Path:
    return target / f"{number:05d}.parquet"


def _note(target: Path, key: str) -> dict[str, Any] | None:
    """What was noted when a file was scored to its end with this key, or None."""
    found = read_json(target / "whole.json")
    return found if isinstance(found, dict) and found.get("key") == key else None


def _is_whole(target: Path, key: str) -> bool:
    """Whether a file is noted, and all its parts are there."""
    found = _note(target, key)
    if found is None:
        return False
    return all(stored_key(_part(target, n)) == f"{key}:{n}" for n in range(int(found["parts"])))


def storable(name: str) -> str:
    """A lone surrogate, which Parquet cannot hold, as its escape: different names stay different."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def read_scores(
    folder: Path,
    name: str,
    key: str,
    measure: Measure,
    *,
    with_ids: bool = False,
    with_sources: bool = False,
) -> Iterator[Chunk]:
    """The stored scores of one file, a part at a time, in the order of its documents.

    Args:
        folder, name: where, and of which file.
        key: of the file, as `scores.json` has it; scores of anything else are refused.
        measure: what the sizes are.
        with_ids, with_sources: read these too.

    Raises:
        NotFoundError: no whole scores of this file. InputError: no token counts there, a part that is damaged
            or was made by another run.
    """
    pa, pq = arrow()
    found = _note(folder / name, key)
    if found is None:
        raise NotFoundError(f"{folder}: no whole scores of {name!r} here; score the corpus first")
    size = _SIZES.get(measure)
    wanted = [SCORE_COLUMN, *([size] if size else [])]
    wanted += (["id"] if with_ids else []) + (["source"] if with_sources else [])
    for number in range(int(found["parts"])):
        path = _part(folder / name, number)
        try:
            with path.open("rb") as stream:
                stored = pq.ParquetFile(stream)
                metadata = stored.schema_arrow.metadata or {}
                if metadata.get(KEY, b"").decode() != f"{key}:{number}":
                    raise InputError(f"{path}: the scores of another run; score the corpus again")
                if size is not None and size not in stored.schema_arrow.names:
                    raise InputError(
                        f"{path}: no token counts; score the corpus with a tokenizer to select by tokens"
                    )
                table = stored.read(columns=wanted)
        except FileNotFoundError as error:
            raise NotFoundError(f"{path}: a part of the scores is missing; score the corpus again") from error
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{path}: damaged: {error}; score the corpus again") from error
        scores = np.asarray(table.column(SCORE_COLUMN).to_numpy(), dtype=np.float32)
        sizes = np.ones(scores.size, dtype=np.int64)
        if size is not None:
            sizes = np.asarray(table.column(size).to_numpy(), dtype=np.int64)
        yield Chunk(
            scores,
            sizes,
            table.column("id").to_pylist() if with_ids else (),
            table.column("source").to_pylist() if with_sources else (),
        )
