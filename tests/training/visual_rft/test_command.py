"""`firsthand visual-rft`: rows from files, tricks on rewards, rollouts; errors exit 2 without a traceback."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from firsthand.errors import InputError
from firsthand.rl import Rewards
from firsthand.rl.rollouts import RolloutFile
from firsthand.training.visual_rft.command import app
from tests.training.verbs_for_tests import caller

call = caller(app)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "cat").mkdir()
    Image.new("RGB", (20, 10)).save(tmp_path / "cat" / "a.png")
    (tmp_path / "rows.json").write_text(
        json.dumps([{"image": "cat/a.png", "boxes": [[0, 0, 10, 10]], "label": "cat"}])
    )
    (tmp_path / "coco.json").write_text(
        json.dumps(
            {
                "images": [{"id": 1, "file_name": "cat/a.png", "width": 20, "height": 10}],
                "annotations": [{"image_id": 1, "category_id": 1, "bbox": [0, 0, 10, 10]}],
                "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
            }
        )
    )
    return tmp_path


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_convert(folder):
    output = folder / "rows.jsonl"
    for source, extra, count in (
        ("coco.json", ("--negatives", 1), 2),
        ("rows.json", (), 1),
        ("", ("--domain", "x"), 1),
    ):
        assert f"{count} rows" in call("convert", folder / source, "--output", output, *extra)
        assert len(rows(output)) == count
        assert rows(output)[0]["label"] == "cat"
    call("convert", folder / "rows.json", "--output", output, "--scale", 20, "--layout", "xywh")
    assert "[0, 0, 500, 500]" in rows(output)[0]["solution"]


def test_rows_find_their_pictures_wherever_they_are_written(folder, monkeypatch):
    from firsthand.training.visual_rft.config import read_rows

    monkeypatch.chdir(folder.parent)
    (folder / "rows").mkdir()
    for output in (f"{folder.name}/here.jsonl", f"{folder.name}/rows/there.jsonl", "above.jsonl"):
        call("convert", f"{folder.name}/rows.json", "--output", output)
        (row,) = read_rows(Path(output))
        assert Path(row["image"]).samefile(folder / "cat" / "a.png")


def test_audit():
    text = call("audit-reward")
    assert "a tiny box anywhere with confidence 0" in text
    assert "none of the known tricks" in call("audit-reward", "--rule", "earned")
    assert "none of the known tricks" in call("audit-reward", "--task", "classify")
    found = json.loads(call("audit-reward", "--task", "classify", "--rule", "substring", "--json"))
    assert {"trick", "reward", "honest", "text"} == set(found[0])
    assert "none of the known tricks" in call("audit-reward", "--task", "ground", "--rule", "diou")


def test_a_reward_of_ones_own(folder, monkeypatch):
    (folder / "mine.py").write_text(
        "def reward(completions, **_):\n    return [float(len(c)) for c in completions]\n"
    )
    monkeypatch.chdir(folder)
    assert "a grid of boxes" in call("audit-reward", "--reward", "mine:reward")
    with pytest.raises(InputError, match="cannot be loaded"):
        call("audit-reward", "--reward", "mine:other")


def test_rollouts(tmp_path):
    path = tmp_path / "rollouts.jsonl"
    table = Rewards({"length": lambda completions: [len(c) for c in completions]})
    file = RolloutFile(path, 0)
    for step in (1, 2):
        answers = ["a" * n for n in range(8)]
        file.add(step, [{"prompt": "p"}], answers, table(answers), 8)
    assert "8 answers, 6 shown" in call("rollouts", path)
    assert call("rollouts", path, "--all").count("total 3.500") == 2
    assert len(json.loads(call("rollouts", path, "--step", 1, "--json"))) == 8
    assert json.loads(call("rollouts", path, "--all", "--json"))[1]["answers"] == 8
    with pytest.raises(InputError, match="no step 9"):
        call("rollouts", path, "--step", 9)
    path.write_text("")
    with pytest.raises(InputError, match="no rollouts"):
        call("rollouts", path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("audit-reward", "--task", "draw"), "choose detect"),
        (("audit-reward", "--rule", "kind"), "choose published"),
        (("audit-reward", "--reward", "x"), "MODULE:FUNCTION"),
        (("convert", "{}/rows.json", "--output", "x", "--layout", "xywh"), "needs --scale"),
        (("convert", "{}/rows.json", "--output", "x", "--layout", "wide"), "choose xyxy"),
        (("convert", "{}/none.json", "--output", "x"), "no file"),
    ],
)
def test_errors_say_what_to_do(folder, arguments, message):
    from firsthand.errors import FirsthandError

    with pytest.raises(FirsthandError, match=message):
        call(*(str(a).format(folder) for a in arguments))
