"""Multiple-choice questions, and the files they come in.

A record has either our fields or those of MMLU-Pro:

    id, stem, options, answer, subject, labels
    question_id, question, options, answer, answer_index, category        (other fields are passed over)

`answer` is the place of the gold option from 0, or its letter. MMLU-Pro pads short lists with "N/A" at their end; that
is cut off. In CSV and TSV `options` holds a JSON list, or the options stand in columns `option_1`, `option_2`, ...
(empty at the end where a question has fewer), and labels in columns `label.NAME`.

Every record is looked at; the error names its file and row. Knows no model and no answers of one.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from firsthand.corpora.files import parquet_module
from firsthand.errors import InputError, NotFoundError
from firsthand.evaluation.uncertainty.errors import EmptyGroup

__all__ = ["LETTERS", "SUFFIXES", "Question", "read_questions"]

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".parquet")
_OURS = ("id", "stem", "options", "answer", "subject", "labels")
_MMLU_PRO = ("question_id", "question", "options", "answer", "answer_index", "category")
_PADDING = "N/A"


@dataclass(frozen=True)
class Question:
    """One question with its options.

    Args:
        id: a name, different for every question.
        stem: the text of the question.
        options: at least two different texts; blanks around them do not make a difference.
        answer: place of the gold option, from 0.
        subject: such as "biology".
        labels: further names, such as {"steps": "low"}.

    Raises:
        InputError: a value that cannot be; the message names the question.
    """

    id: str
    stem: str
    options: Sequence[str]
    answer: int
    subject: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if not isinstance(self.id, str) or not self.id.strip():
            raise InputError(f"a question's id must be a text that is not empty, got {self.id!r}")
        if not isinstance(self.stem, str) or not self.stem.strip():
            raise self._error(f"the stem must be a text that is not empty, got {self.stem!r}")
        if isinstance(self.options, str) or not isinstance(self.options, Sequence):
            raise self._error(f"options must be a list of texts, got {self.options!r:.80}")
        places: dict[str, int] = {}
        for place, option in enumerate(self.options):
            if not isinstance(option, str) or not option.strip():
                raise self._error(f"option {place} must be a text that is not empty, got {option!r}")
            if option.strip() in places:
                raise self._error(
                    f"options {places[option.strip()]} and {place} are the same, {option.strip()!r:.80}"
                )
            places[option.strip()] = place
        if len(places) < 2:
            raise self._error(f"a question needs at least two options, got {len(places)}")
        if isinstance(self.answer, bool) or not isinstance(self.answer, int):
            raise self._error(
                f"answer must be the place of an option, a whole number from 0, got {self.answer!r}"
            )
        if not 0 <= self.answer < len(places):
            raise self._error(
                f"answer {self.answer} is outside its {len(places)} options, 0 to {len(places) - 1}"
            )
        if self.subject is not None and (not isinstance(self.subject, str) or not self.subject.strip()):
            raise self._error(f"subject must be a text that is not empty, or left out, got {self.subject!r}")
        if not isinstance(self.labels, Mapping):
            raise self._error(f"labels must be a mapping of names to texts, got {self.labels!r:.80}")
        for name, value in self.labels.items():
            if not isinstance(name, str) or not name or not isinstance(value, str) or not value:
                raise self._error(f"labels must be texts that are not empty, got {name!r}: {value!r}")
        object.__setattr__(self, "options", tuple(self.options))
        object.__setattr__(self, "labels", dict(self.labels))

    def _error(self, message: str) -> InputError:
        return InputError(f"question {self.id!r}: {message}")


def read_questions(
    path: Path | str, *, split: str = "test", refused: list[InputError] | None = None
) -> tuple[Question, ...]:
    """The questions of a file, or of a folder as MMLU-Pro is laid out.

    Args:
        path: a `.jsonl`, `.json` (a list of records), `.csv`, `.tsv` or `.parquet` file; or a folder with files
            of the split, in it or in its `data/`.
        split: which files of a folder: "test" takes `test-00000-of-00001.parquet` and `test.json`.
        refused: None: the first record that cannot be used is raised. A list: such records are left out, and what was
            wrong with each is put there, for whoever counts them.

    Raises:
        NotFoundError: no such file or folder, or no file of this split in it.
        InputError: a damaged file, a record that cannot be used, or an id that comes twice; with file and row.
        EmptyGroup: not one question.
        MissingDependencyError: Parquet without pyarrow.
    """
    path = Path(path)
    questions: dict[str, Question] = {}
    places: dict[str, str] = {}
    for file in _files(path, split):
        for where, record in _records(file):
            try:
                question = _question(record, where)
                if question.id in questions:
                    raise InputError(f"{where}: the id {question.id!r} was taken by {places[question.id]}")
            except InputError as error:
                if refused is None:
                    raise
                refused.append(error)
                continue
            questions[question.id] = question
            places[question.id] = where
    if not questions:
        raise EmptyGroup(f"{path}: there are no questions" + (" that can be used" if refused else ""))
    return tuple(questions.values())


def _files(path: Path, split: str) -> list[Path]:
    if path.is_file():
        if path.suffix.lower() not in SUFFIXES:
            raise InputError(f"{path}: questions are read from {', '.join(SUFFIXES)} files")
        return [path]
    if not path.is_dir():
        raise NotFoundError(f"{path}: no such file or folder")
    found = [
        file
        for folder in (path, path / "data")
        if folder.is_dir()
        for file in sorted(folder.iterdir())
        if file.is_file()
        and file.suffix.lower() in SUFFIXES
        and (file.stem == split or file.stem.startswith(f"{split}-"))
    ]
    if not found:
        raise NotFoundError(
            f"{path}: no file {split}.* or {split}-*.* here or in data/; known are {', '.join(SUFFIXES)}"
        )
    return found


# --- files to records --------------------------------------------------------------------------------


def _records(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(file and row, record) of each."""
    suffix = path.suffix.lower()
    read = {".jsonl": _json_lines, ".json": _json_list, ".parquet": _parquet}.get(suffix)
    try:
        yield from read(path) if read else _separated(path, "\t" if suffix == ".tsv" else ",")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 at byte {error.start}") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error}") from error


def _json_lines(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    with path.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                where = f"{path}:{number}"
                yield where, _record(_parsed(line, where), where)


def _json_list(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    records = _parsed(path.read_text(encoding="utf-8-sig"), str(path))
    if not isinstance(records, list):
        raise InputError(
            f"{path}: a .json file of questions is a list of records, not a {type(records).__name__}"
        )
    for number, record in enumerate(records):
        where = f"{path}: record {number}"
        yield where, _record(record, where)


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: not JSON: {error}") from error


def _record(found: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(found, Mapping):
        raise InputError(f"{where}: a question is a JSON object, not a {type(found).__name__}")
    return found


def _parquet(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    parquet = parquet_module()
    number = 0
    try:
        with path.open("rb") as stream:
            source = parquet.ParquetFile(stream)
            known = [name for name in source.schema_arrow.names if name in {*_OURS, *_MMLU_PRO}]
            for batch in source.iter_batches(columns=known):
                for record in batch.to_pylist():
                    yield f"{path}: row {number}", record
                    number += 1
    except (
        OSError,
        ValueError,
    ) as error:  # pyarrow's errors are ValueErrors; ours are raised by whoever reads
        raise InputError(f"{path}: cannot be read as Parquet: {error}") from error


def _separated(path: Path, delimiter: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    with path.open(encoding="utf-8-sig", newline="") as lines:
        rows = csv.reader(lines, delimiter=delimiter, strict=True)
        head: list[str] | None = None
        before = 0
        while True:
            where = f"{path}:{before + 1}"
            try:
                row = next(rows)
            except StopIteration:
                return
            except csv.Error as error:
                raise InputError(f"{where}: {error}") from error
            before = rows.line_num
            if not row:
                continue
            if head is None:
                head = [name.strip() for name in row]
                if len(set(head)) != len(head) or "" in head:
                    raise InputError(f"{where}: the columns need different names, got {', '.join(head)}")
                continue
            if len(row) != len(head):
                raise InputError(
                    f"{where}: {len(row)} cells under {len(head)} columns; is a quote or a tab missing?"
                )
            yield where, _cells(dict(zip(head, row, strict=True)), where)


def _cells(row: Mapping[str, str], where: str) -> dict[str, Any]:
    """A record from cells, which are all texts; an empty cell is a field that is absent."""
    record: dict[str, Any] = {name: text for name, text in row.items() if text.strip()}
    if "options" in record:
        record["options"] = _parsed(record["options"], f"{where}: options")
    else:
        names = sorted((name for name in row if _option_number(name)), key=_option_number)
        wanted = [f"option_{number}" for number in range(1, len(names) + 1)]
        if names != wanted:
            raise InputError(
                f"{where}: the columns of options must be option_1, option_2, ..., got {', '.join(names)}"
            )
        options = [row[name] for name in names]
        while options and not options[-1].strip():
            options.pop()
        if names:
            record["options"] = options
    for name in ("answer", "answer_index"):
        text = record.get(name)
        if isinstance(text, str) and text.strip().isascii() and text.strip().isdigit():
            record[name] = int(text)
    labels = {name.removeprefix("label."): text for name, text in record.items() if name.startswith("label.")}
    if labels:
        record["labels"] = labels
    return record


def _option_number(name: str) -> int:
    number = name.removeprefix("option_")
    return int(number) if number != name and number.isascii() and number.isdigit() else 0


# --- records to questions ----------------------------------------------------------------------------


def _question(record: Mapping[str, Any], where: str) -> Question:
    try:
        if "stem" in record:
            return _ours(record)
        if "question" in record:
            return _mmlu_pro(record)
        raise InputError(
            f"there is neither a field 'stem' nor 'question'; it has {', '.join(map(str, record))}"
        )
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


def _ours(record: Mapping[str, Any]) -> Question:
    _need(record, _OURS[:4])
    return Question(
        id=_id(record["id"]),
        stem=record["stem"],
        options=record["options"],
        answer=_place(record["answer"]),
        subject=record.get("subject"),
        labels=record.get("labels") or {},
    )


def _mmlu_pro(record: Mapping[str, Any]) -> Question:
    _need(record, ("question_id", "question", "options"))
    options = record["options"]
    if isinstance(options, list):
        options = list(options)
        while options and options[-1] == _PADDING:
            options.pop()
    index, letter = record.get("answer_index"), record.get("answer")
    if index is None and letter is None:
        raise InputError("there is neither a field 'answer_index' nor 'answer'")
    place = _place(letter if index is None else index)
    if index is not None and letter is not None and _place(letter) != place:
        raise InputError(f"answer {letter!r} and answer_index {index!r} are different options")
    return Question(
        id=_id(record["question_id"]),
        stem=record["question"],
        options=options,
        answer=place,
        subject=record.get("category"),
    )


def _need(record: Mapping[str, Any], names: Iterable[str]) -> None:
    missing = [name for name in names if record.get(name) is None]
    if missing:
        raise InputError(f"no field {missing[0]!r}")


def _id(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _place(value: Any) -> Any:
    """A letter's place; anything else as it is, for `Question` to look at."""
    if isinstance(value, str) and len(value.strip()) == 1 and value.strip() in LETTERS:
        return LETTERS.index(value.strip())
    return value
