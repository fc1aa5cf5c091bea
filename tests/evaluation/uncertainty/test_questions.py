"""Question files of every kind give the same questions; what cannot be a question is refused, with file and row."""

from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firsthand.errors import FirsthandError, InputError, NotFoundError
from firsthand.evaluation.uncertainty.errors import EmptyGroup
from firsthand.evaluation.uncertainty.questions import Question, read_questions

from .slow import unhurried

QUESTIONS = (
    Question("q1", "Which is a prime?", ("4", "5", "6"), 1, "math", {"steps": "low"}),
    Question("q2", 'She said "hi",\nto whom?', ("to me", "to you, too"), 0),
)
OURS = [
    {"id": "q1", "stem": "Which is a prime?", "options": ["4", "5", "6"], "answer": 1, "subject": "math",
     "labels": {"steps": "low"}, "note": "passed over"},
    {"id": "q2", "stem": 'She said "hi",\nto whom?', "options": ["to me", "to you, too"], "answer": "A"},
]  # fmt: skip
PRO = [
    {"question_id": 70, "question": "Which is a prime?", "options": ["4", "5", "6", "N/A", "N/A"], "answer": "B",
     "answer_index": 1, "category": "math", "cot_content": "", "src": "made"},
    {"question_id": 71, "question": "Two?", "options": ["2", "3"], "answer": "A", "answer_index": 0,
     "category": "math"},
]  # fmt: skip
FROM_PRO = (
    Question("70", "Which is a prime?", ("4", "5", "6"), 1, "math"),
    Question("71", "Two?", ("2", "3"), 0, "math"),
)


def lines(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def parquet(path, records):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(records), path)
    return path


def table(path, head, *rows, delimiter=","):
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter).writerows([head, *rows])
    path.write_text(text.getvalue())
    return path


def test_every_kind_of_file_gives_the_same(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(OURS))
    flat = [
        ["id", "stem", "option_1", "option_2", "option_3", "answer", "subject", "label.steps"],
        ["q1", "Which is a prime?", "4", "5", "6", "1", "math", "low"],
        ["q2", 'She said "hi",\nto whom?', "to me", "to you, too", "", "A", "", ""],
    ]
    listed = [["id", "stem", "options", "answer", "subject", "label.steps"]] + [
        [row[0], row[1], json.dumps([x for x in row[2:5] if x]), *row[5:]] for row in flat[1:]
    ]
    for path in (
        lines(tmp_path / "a.jsonl", OURS),
        tmp_path / "a.json",
        table(tmp_path / "a.csv", *flat),
        table(tmp_path / "a.tsv", *flat, delimiter="\t"),
        table(tmp_path / "b.csv", *listed),
    ):
        assert read_questions(path) == QUESTIONS, path
    records = [{**QUESTIONS[0].__dict__, "labels": None}, {**QUESTIONS[1].__dict__, "labels": None}]
    found = read_questions(parquet(tmp_path / "a.parquet", records))
    assert [(q.id, q.options, q.answer, q.subject) for q in found] == [
        (q.id, q.options, q.answer, q.subject) for q in QUESTIONS
    ]


def test_empty_lines_are_passed_over_and_rows_keep_their_numbers(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("\nid,stem,option_1,option_2,answer\n\nq,w,x,y,1\n\n\nr,w,x,y,2\n")
    refused = []
    assert read_questions(path, refused=refused) == (Question("q", "w", ("x", "y"), 1),)
    assert str(refused[0]).startswith(f"{path}:7: question 'r'")


def test_mmlu_pro_as_a_folder(tmp_path):
    (tmp_path / "data").mkdir()
    parquet(tmp_path / "data/test-00000-of-00002.parquet", PRO[:1])
    parquet(tmp_path / "data/test-00001-of-00002.parquet", PRO[1:])
    parquet(tmp_path / "data/validation-00000-of-00001.parquet", PRO[1:])
    assert read_questions(tmp_path) == FROM_PRO
    assert read_questions(tmp_path, split="validation") == FROM_PRO[1:]
    with pytest.raises(NotFoundError, match=r"no file train\.\*"):
        read_questions(tmp_path, split="train")
    lines(tmp_path / "test.jsonl", PRO[:1])
    with pytest.raises(
        InputError, match=r"test-00000-of-00002.parquet: row 0: the id '70' was taken by .*test.jsonl:1"
    ):
        read_questions(tmp_path)


def test_mmlu_pro_without_an_index_and_with_an_option_that_says_so(tmp_path):
    record = {
        "question_id": 1,
        "question": "Rate?",
        "options": ["N/A", "3 %"],
        "answer": "B",
        "category": "law",
    }
    assert read_questions(lines(tmp_path / "a.jsonl", [record]))[0].options == ("N/A", "3 %")


@unhurried
@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cs"])).filter(str.strip),
        min_size=3,
        max_size=6,
        unique_by=str.strip,
    )
)
def test_any_text_comes_back_from_json_lines(tmp_path_factory, texts):
    path = tmp_path_factory.mktemp("any") / "a.jsonl"
    stem, *options = texts
    lines(path, [{"id": "q", "stem": stem, "options": options, "answer": 0}])
    (found,) = read_questions(path)
    assert (found.stem, found.options) == (stem, tuple(options))


WRONG = [
    ({"options": ["4"]}, "at least two options"),
    ({"options": []}, "at least two options"),
    ({"options": ["4", "5", " 4 "]}, "options 0 and 2 are the same"),
    ({"options": "45"}, "list of texts"),
    ({"options": ["4", 5]}, "option 1 must be a text"),
    ({"options": ["4", " "]}, "option 1 must be a text"),
    ({"answer": 3}, "answer 3 is outside its 3 options, 0 to 2"),
    ({"answer": -1}, "answer -1 is outside"),
    ({"answer": "D"}, "answer 3 is outside"),
    ({"answer": True}, "whole number"),
    ({"answer": 1.0}, "whole number"),
    ({"answer": "5"}, "whole number"),
    ({"answer": "b"}, "whole number"),
    ({"answer": None}, "no field 'answer'"),
    ({"stem": "  \n"}, "stem must be"),
    ({"stem": 3}, "stem must be"),
    ({"stem": None}, "no field 'stem'"),
    ({"id": ""}, "id must be"),
    ({"id": 1.5}, "id must be"),
    ({"subject": ""}, "subject"),
    ({"labels": ["low"]}, "labels must be a mapping"),
    ({"labels": {"steps": 3}}, "labels must be texts"),
]


@pytest.mark.parametrize(("change", "says"), WRONG)
def test_what_cannot_be_a_question(tmp_path, change, says):
    path = lines(tmp_path / "a.jsonl", [OURS[1], {**OURS[0], **change}])
    with pytest.raises(InputError, match=f"{path}:2: .*{says}"):
        read_questions(path)
    refused = []
    assert [question.id for question in read_questions(path, refused=refused)] == ["q2"]
    assert len(refused) == 1
    assert says in str(refused[0])


def test_an_id_that_comes_twice(tmp_path):
    path = lines(tmp_path / "a.jsonl", [OURS[0], OURS[1], OURS[0]])
    with pytest.raises(InputError, match=f"{path}:3: the id 'q1' was taken by {path}:1"):
        read_questions(path)
    refused = []
    assert read_questions(path, refused=refused) == QUESTIONS
    assert len(refused) == 1


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"answer": "C"}, "answer 'C' and answer_index 1 are different"),
        ({"answer": None, "answer_index": None}, "neither a field 'answer_index'"),
        ({"answer_index": 3, "answer": "D"}, "outside its 3 options"),
        ({"question_id": None}, "no field 'question_id'"),
        ({"options": ["4", "4", "5"]}, "are the same"),
        ({"options": "['4', '5']"}, "list of texts"),
        ({"options": ["4", "N/A"], "answer_index": 0, "answer": "A"}, "at least two options"),
    ],
)
def test_what_cannot_be_one_of_mmlu_pro(tmp_path, change, says):
    path = lines(tmp_path / "test-0.jsonl", [PRO[1], {**PRO[0], **change}])
    with pytest.raises(InputError, match=f"{path}:2: .*{says}"):
        read_questions(tmp_path)


def test_rows_of_parquet_are_named(tmp_path):
    path = parquet(tmp_path / "test-0.parquet", [PRO[1], {**PRO[0], "answer": "C"}])
    with pytest.raises(InputError, match=f"{path}: row 1: answer 'C' and answer_index 1"):
        read_questions(path)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.jsonl", '{"id": 1}\n{"id"', r":1: there is neither"),
        ("a.jsonl", '\n{"id"', r":2: not JSON"),
        ("a.jsonl", "[" * 100_000, r":1: not JSON"),
        ("a.jsonl", "[1]", r":1: a question is a JSON object, not a list"),
        ("a.json", '{"id": 1}', r"list of records, not a dict"),
        ("a.json", "[3]", r"record 0: a question is"),
        ("a.csv", "id,stem,id\nq,w,e\n", r":1: the columns need different names"),
        ("a.csv", "id,stem,options\nq,w\n", r":2: 2 cells under 3"),
        ("a.csv", 'id,stem\nq,"w\n', r":2: "),
        ("a.csv", "id,stem,options,answer\nq,w,x|y,0\n", r":2: options: not JSON"),
        ("a.csv", "id,stem,option_1,option_3,answer\nq,w,x,y,0\n", r":2: the columns of options"),
        (
            "a.csv",
            'id,stem,option_1,option_2,answer\nq,"w\nv",x,y,0\nr,w,x,y,2\n',
            r":4: .*answer 2 is outside",
        ),
        (
            "a.csv",
            "id,stem,option_1,option_2,option_3,answer\nq,w,x,,y,0\n",
            r":2: .*option 1 must be a text",
        ),
        ("a.csv", "id,stem,answer\nq,w,0\n", r":2: no field 'options'"),
        ("a.parquet", "not Parquet", "cannot be read as Parquet"),
        ("a.txt", "?", "questions are read from"),
    ],
)
def test_damaged_files(tmp_path, name, content, says):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(InputError, match=says) as raised:
        read_questions(path)
    assert str(path) in str(raised.value)


def test_bytes_that_are_not_utf8(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes("id,stem\nq,Grüße\n".encode("latin-1"))
    with pytest.raises(InputError, match="not UTF-8 at byte"):
        read_questions(path)


def test_nothing_there(tmp_path):
    with pytest.raises(NotFoundError, match="no such file or folder"):
        read_questions(tmp_path / "a.jsonl")
    for name, content in (("a.jsonl", "\n"), ("a.json", "[]"), ("a.csv", ""), ("b.csv", "id,stem\n")):
        (tmp_path / name).write_text(content)
        with pytest.raises(EmptyGroup, match=r"there are no questions$"):
            read_questions(tmp_path / name)
    refused = []
    with pytest.raises(EmptyGroup, match="that can be used"):
        read_questions(lines(tmp_path / "b.jsonl", [{"stem": ""}]), refused=refused)
    assert all(isinstance(error, FirsthandError) for error in refused)


def test_a_question_keeps_what_it_was_given():
    options, labels = ["a", "b"], {"steps": "low"}
    question = Question("q", "?", options, 0, labels=labels)
    options.append("c")
    labels["steps"] = "high"
    assert question == Question("q", "?", ("a", "b"), 0, labels={"steps": "low"})
    assert len({question, Question("q", "?", ("a", "b"), 0)}) == 2
