"""A vision-language model of the user's: learning from rewards and imitating on photographs, answers, figures."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from firsthand.errors import InputError
from firsthand.rl.trainer import GRPOConfig
from firsthand.training.visual_rft import ColumnFormatError
from firsthand.training.visual_rft.data import DataError, rows_from_json
from firsthand.training.visual_rft.fitting import (
    evaluate,
    fit,
    fit_supervised,
    generate_answers,
    task_rewards,
)
from firsthand.training.visual_rft.tiny_llava import tiny_llava
from tests.lm.models import digest


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Three photographs that other packages ship, with boxes drawn by hand."""
    import matplotlib
    import sklearn

    folder = tmp_path_factory.mktemp("photographs")
    samples = Path(sklearn.__file__).parent / "datasets" / "images"
    for name in ("china.jpg", "flower.jpg"):
        shutil.copy(samples / name, folder)
    shutil.copy(Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg", folder)
    rows = [
        {"image": "china.jpg", "boxes": [[60, 110, 610, 340]], "label": "temple"},
        {"image": "flower.jpg", "boxes": [[110, 20, 470, 420]], "label": "flower"},
        {"image": "grace_hopper.jpg", "boxes": [[120, 20, 400, 400]], "label": "person"},
    ]
    (folder / "rows.json").write_text(json.dumps(rows))
    return folder


@pytest.fixture(scope="module")
def rows(photographs):
    return rows_from_json(photographs / "rows.json")


def quick(**changes):
    settings = {
        "steps": 2,
        "prompts_per_step": 3,
        "group_size": 2,
        "learning_rate": 1e-3,
        "beta": 0.0,
        "max_new_tokens": 8,
    }
    return GRPOConfig(**{**settings, **changes})


def test_learning_from_rewards_on_photographs(rows, tmp_path):
    model, processor = tiny_llava()
    before = digest(model)
    result = fit(model, processor, rows, "detect", quick(beta=0.01), output=tmp_path, use_cpu=True)
    logged = next(line for line in result.history if "reward" in line)
    assert {"rewards/iou/mean", "rewards/confidence/mean", "rewards/format/mean"} <= set(logged)
    assert digest(result.model) != before or all(line.get("reward_std", 0) == 0 for line in result.history)


def test_a_reward_that_differs_within_groups_moves_the_weights(rows, tmp_path):
    from firsthand.rl import Rewards

    model, processor = tiny_llava()
    before = digest(model)
    rewards = Rewards({"count": lambda completions, **_: [float(n) for n in range(len(completions))]})
    fit(model, processor, rows, "detect", quick(), output=tmp_path, rewards=rewards, use_cpu=True)
    assert digest(model) != before


def test_the_supervised_control_on_the_same_rows(rows, tmp_path):
    model, processor = tiny_llava()
    result = fit_supervised(
        model, processor, rows, "detect", output=tmp_path, steps=8, batch=3, learning_rate=1e-2, use_cpu=True
    )
    losses = [line["loss"] for line in result.history if "loss" in line]
    assert losses[-1] < losses[0]


def test_cut_off_and_resumed(rows, tmp_path):
    """The weights are those of an unbroken run, and so are the rollouts."""
    from firsthand.rl import Rewards
    from firsthand.rl.rollouts import read_rollouts

    calls = []

    def counted(completions, **_):
        calls.append(len(completions))
        if len(calls) == stop:
            raise KeyboardInterrupt
        return [float(len(text) % 3 + n % 2) for n, text in enumerate(completions)]

    digests, lines = [], []
    many = [*rows, *rows, *rows, *rows]  # one pass: in another one TRL's order of rows begins anew
    for name, stop in (("whole", None), ("cut", 4)):
        calls.clear()
        options = {
            "output": tmp_path / name, "rewards": Rewards({"count": counted}), "save_every": 2,
            "rollouts": tmp_path / f"{name}.jsonl",
        }  # fmt: skip
        model, processor = tiny_llava()
        if stop is not None:
            with pytest.raises(KeyboardInterrupt):
                fit(model, processor, many, "detect", quick(steps=4), **options)
            stop, (model, processor) = None, tiny_llava()
            calls.clear()
        fit(model, processor, many, "detect", quick(steps=4), **options)
        digests.append(digest(model))
        lines.append([{**line, "prompt": ""} for line in read_rollouts(tmp_path / f"{name}.jsonl")])
    assert len(calls) == 2  # steps 3 and 4
    assert digests[0] == digests[1]
    assert lines[0] == lines[1]


def test_several_pictures_a_question(rows, tmp_path):
    pairs = [{**row, "image": [row["image"], rows[0]["image"]]} for row in rows]
    model, processor = tiny_llava()
    before = digest(model)
    from firsthand.rl import Rewards

    rewards = Rewards({"count": lambda completions, **_: [float(n) for n in range(len(completions))]})
    fit(model, processor, pairs, "detect", quick(), output=tmp_path, rewards=rewards)
    assert digest(model) != before
    assert len(generate_answers(model, processor, pairs, max_new_tokens=3)) == 3


def test_answers_and_figures(rows):
    model, processor = tiny_llava()
    texts = generate_answers(model, processor, rows, max_new_tokens=5, batch=2)
    assert len(texts) == 3
    assert texts == generate_answers(model, processor, rows, max_new_tokens=5, batch=3)
    found = evaluate(model, processor, rows, "detect", max_new_tokens=5)
    assert set(found) == {"AP", "AP50", "parsed"}
    assert found["AP"].n == 3
    named = [{**row, "solution": f"<answer>{row['label']}</answer>"} for row in rows]
    assert set(evaluate(model, processor, named, "classify", max_new_tokens=5)) == {
        "accuracy",
        "accuracy (substring)",
    }
    boxed = [{**row, "solution": "<answer>(1,2),(30,40)</answer>"} for row in rows]
    assert evaluate(model, processor, boxed, "ground", max_new_tokens=5)["mIoU"].value == 0


def test_rows_that_make_no_sense_stop_before_training(rows, tmp_path):
    for wrong, error, message in (
        ([], InputError, "one row"),
        ([{"problem": "x", "solution": "y"}], DataError, "no column 'image'"),
        ([{**rows[0], "solution": "there"}], ColumnFormatError, "row 0"),
        ([{**rows[0], "image": None}], DataError, "row 0: there is no picture"),
    ):
        with pytest.raises(error, match=message):
            fit(None, None, wrong, "detect", output=tmp_path)
    with pytest.raises(InputError, match="a task is"):
        fit(None, None, rows, "draw", output=tmp_path)
    with pytest.raises(InputError, match="a task is"):
        task_rewards("draw")


def test_rewards_of_each_task():
    assert list(task_rewards("detect").functions) == ["iou", "confidence", "format"]
    assert list(task_rewards("classify", classes=["a"]).functions) == ["class", "format"]
    assert list(task_rewards("ground").functions) == ["grounding", "format"]
