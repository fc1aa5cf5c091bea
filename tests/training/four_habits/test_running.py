"""`firsthand four-habits study` and `enrich`, from a TOML file to the report."""

from __future__ import annotations

import json

import pytest

from firsthand.errors import FirsthandError
from firsthand.launch.settings import read_settings
from firsthand.lm import tiny_llama, train_tokenizer
from firsthand.training.four_habits import generate, make_priming
from firsthand.training.four_habits.command import app
from firsthand.training.four_habits.config import StudySettings
from firsthand.training.four_habits.running import run_study
from tests.launch.torchrun_for_tests import torchrun
from tests.training.verbs_for_tests import caller

call = caller(app)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    examples = make_priming(
        generate(40, seed=9, number_range=(1, 24), target_range=(10, 25)), "all_strategies"
    )
    tokenizer = train_tokenizer([e.prompt + e.completion for e in examples], 400)
    tiny_llama(len(tokenizer), width=16, layers=1, heads=2, context=512).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def settings_of(model, output, **more):
    return {
        "model": str(model), "output": str(output), "conditions": ["none", "all_strategies", "dots"], "problems": 12,
        "priming-problems": 10, "test-problems": 4, "sizes": [3], "priming-steps": 2, "priming-batch": 4, "steps": 2,
        "prompts-per-step": 2, "group-size": 2, "max-new-tokens": 12, "every": 1, "device": "cpu", **more,
    }  # fmt: skip


def written(path, settings):
    path.write_text("\n".join(f"{name} = {json.dumps(value)}" for name, value in settings.items()))
    return path


def test_a_study_from_a_file(tmp_path, model):
    output = tmp_path / "study"
    path = written(tmp_path / "study.toml", settings_of(model, output))
    said = call("study", path)
    assert "condition" in said
    assert "gain from habits before learning, 3 models" in said
    report = json.loads((output / "report.json").read_text())
    assert set(report["conditions"]) == {"none", "all_strategies", "dots"}
    assert [point["step"] for point in report["conditions"]["dots"]["curve"]] == [0, 1, 2]
    drawn = (output / "curves.svg").read_text()
    assert drawn.count("<svg") == 1
    for name in ("none-0", "all_strategies-0", "dots-0"):
        assert (output / "runs" / name / "model" / "config.json").is_file()
        assert (output / "runs" / name / "rollouts.jsonl").read_text().count("\n") == 8
    before = (output / "report.json").read_text()
    assert json.loads(call("study", path, "--json"))["conditions"] == report["conditions"]
    assert (output / "report.json").read_text() == before


def test_one_more_condition_keeps_what_was_run(tmp_path, model):
    finished = []
    for conditions in (["none"], ["none", "empty_cot"]):
        path = written(tmp_path / "s.toml", settings_of(model, tmp_path / "out", conditions=conditions))
        run_study(read_settings(path, StudySettings), on_finished=finished.append)
    assert [(one.key, one.resumed) for one in finished] == [
        ("none-0", False), ("none-0", True), ("empty_cot-0", False),
    ]  # fmt: skip


def test_processes_give_what_one_gives(tmp_path, model):
    studies = []
    for engine in ("inline", "local"):
        given = settings_of(model, tmp_path / engine, conditions=["dots", "incorrect"], engine=engine, jobs=2)
        studies.append(run_study(read_settings(written(tmp_path / "s.toml", given), StudySettings)))
    assert studies[0] == studies[1]


def test_two_processes_learn_with_trl(tmp_path, model):
    """torchrun: the answers of a step are shared out; the first process alone reports."""
    given = settings_of(model, tmp_path / "out", conditions=["all_strategies"], backend="trl")
    path = written(tmp_path / "s.toml", given)
    done = torchrun("-m", "firsthand", "four-habits", "study", path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("accuracy primed") == 1
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [point["step"] for point in report["conditions"]["all_strategies"]["curve"]] == [0, 1, 2]
    lines = [
        (tmp_path / "out" / "runs" / "all_strategies-0" / f"rollouts-{rank}.jsonl").read_text().splitlines()
        for rank in range(2)
    ]
    assert [len(some) for some in lines] == [4, 4]  # two answers a step each


def test_a_task_and_sets_of_ones_own(tmp_path, model):
    (tmp_path / "mine.py").write_text(
        "def short(completions, want, **_):\n    return [float(len(c) < w) for c, w in zip(completions, want)]\n"
    )
    for name, numbers in (("rows", range(8)), ("tests", range(8, 12))):
        lines = [json.dumps({"prompt": f"Say {n}.", "want": 20}) for n in numbers]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
    (tmp_path / "set.jsonl").write_text(json.dumps({"prompt": "Say 3.", "completion": "Wait. Three."}) + "\n")
    given = settings_of(
        model, tmp_path / "out", conditions=["none", f"mine={tmp_path / 'set.jsonl'}"],
        rows=str(tmp_path / "rows.jsonl"),
        tests=str(tmp_path / "tests.jsonl"), reward=f"{tmp_path / 'mine.py'}:short",
    )  # fmt: skip
    for name in ("problems", "priming-problems", "test-problems", "sizes"):
        del given[name]
    study = run_study(read_settings(written(tmp_path / "s.toml", given), StudySettings))
    assert set(study.looks) == {"none", "mine"}
    assert len(study.looks["mine"][0][-1].correct) == 4


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"conditions": ["joy"]}, "'joy' is no condition"),
        ({"conditions": ["none", "none"]}, "one name"),
        ({"conditions": ["mine=nowhere.jsonl"]}, "no file"),
        ({"rows": "rows.jsonl"}, "rows, tests and reward together"),
        ({"rows": "r", "tests": "t", "reward": "math:sqrt"}, "is written for Countdown"),
        ({"rows": "r", "tests": "t", "reward": "x", "conditions": ["none"]}, "names no function"),
        ({"rows": "r", "tests": "t", "reward": "no.such:f", "conditions": ["none"]}, "cannot be loaded"),
        ({"rows": "r", "tests": "t", "reward": "math:sqrt", "conditions": ["none"]}, "no file"),
        ({"backend": "trl", "algorithm": "rloo"}, "TRL's trainer does no rloo"),
        ({"numbers": [1, 2], "targets": [90, 99]}, "no further problem"),
        ({"model": "nobody"}, "nobody"),
        ({"speed": 3}, "unknown key"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, model, more, message):
    path = written(tmp_path / "s.toml", {**settings_of(model, tmp_path / "out"), **more})
    with pytest.raises(FirsthandError, match=message):
        call("study", path)


def test_a_file_to_start_from(tmp_path):
    text = call("study", "--print-config")
    (tmp_path / "s.toml").write_text(text)
    read = read_settings(tmp_path / "s.toml", StudySettings)
    assert read == StudySettings(model="gemma-3-270m", output="study")
    with pytest.raises(FirsthandError, match="give a settings file"):
        call("study")


def test_enrich_from_files(tmp_path):
    shown = "3 + 4 = 7. Wait, that is too high. Let me try again: 3 * 4 = 12. This works."
    plain = "Add three and four. The sum is seven, and seven is a prime number as people know."
    lines = [json.dumps({"text": text}) for text in [shown, plain] * 5]
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    said = call("enrich", tmp_path / "in.jsonl", "--output", tmp_path / "out")
    assert "documents with habits" in said
    sets = [
        [json.loads(line) for line in (tmp_path / "out" / f"{name}.jsonl").read_text().splitlines()]
        for name in ("with", "without")
    ]
    assert all(row["backtracking"] and row["verification"] for row in sets[0])
    totals = [sum(row["tokens"] for row in some) for some in sets]
    assert abs(totals[0] - totals[1]) <= 0.005 * max(totals)
    call("enrich", tmp_path / "in.jsonl", "--output", tmp_path / "all", "--all", "--keep", "backtracking")
    assert len((tmp_path / "all" / "without.jsonl").read_text().splitlines()) == 5
    with pytest.raises(FirsthandError, match="keep names habits"):
        call("enrich", tmp_path / "in.jsonl", "--output", tmp_path / "x", "--keep", "luck")
