"""`firsthand visual-rft fit` and `eval`, end to end from a TOML file, on photographs that other packages ship."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from firsthand.errors import InputError, ModelNotFoundError, NotFoundError
from firsthand.launch.settings import commented_toml, read_settings
from firsthand.rl.rollouts import read_rollouts
from firsthand.training.visual_rft.command import app
from firsthand.training.visual_rft.config import FitSettings
from firsthand.training.visual_rft.running import load_model
from firsthand.training.visual_rft.tiny_llava import tiny_llava
from tests.training.verbs_for_tests import caller

call = caller(app)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    import matplotlib
    import sklearn

    folder = tmp_path_factory.mktemp("fit")
    samples = Path(sklearn.__file__).parent / "datasets" / "images"
    for source in (samples / "china.jpg", samples / "flower.jpg"):
        shutil.copy(source, folder)
    shutil.copy(Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg", folder)
    boxes = [
        {"image": "china.jpg", "boxes": [[60, 110, 610, 340]], "label": "temple"},
        {"image": "flower.jpg", "boxes": [[110, 20, 470, 420]], "label": "flower"},
        {"image": "grace_hopper.jpg", "boxes": [[120, 20, 400, 400]], "label": "person"},
    ]
    (folder / "boxes.json").write_text(json.dumps(boxes))
    call("convert", folder / "boxes.json", "--output", folder / "rows.jsonl")
    model, processor = tiny_llava()
    model.save_pretrained(folder / "model")
    processor.save_pretrained(folder / "model")
    return folder


def settings(folder, **changes):
    given = {
        "model": str(folder / "model"), "rows": str(folder / "rows.jsonl"), "output": str(folder / "out"),
        "tests": str(folder / "rows.jsonl"), "remember": str(folder / "rows.jsonl"), "steps": 2,
        "prompts-per-step": 3, "group-size": 2, "max-new-tokens": 6, "device": "cpu", **changes,
    }  # fmt: skip
    path = folder / "fit.toml"
    path.write_text("\n".join(f"{name} = {json.dumps(value)}" for name, value in given.items()))
    return path


@pytest.mark.parametrize(
    "changes",
    [{}, {"method": "supervised", "accumulate": 3}, {"lora-rank": 2, "beta": 0.0, "freeze-vision": True}],
    ids=["rewards", "supervised", "LoRA, frozen vision"],
)
def test_end_to_end(folder, changes):
    shutil.rmtree(folder / "out", ignore_errors=True)
    text = call("fit", settings(folder, **changes))
    assert "tests     AP" in text
    assert "remember  AP50" in text
    report = json.loads((folder / "out" / "report.json").read_text())
    assert set(report["before"]) == set(report["after"]) == {"tests", "remember"}
    assert (folder / "out" / "model").is_dir()
    if changes.get("method") != "supervised":
        lines = list(read_rollouts(folder / "out" / "rollouts.jsonl"))
        assert len(lines) == 2 * 3 * 2
        assert set(lines[0]["rewards"]) == {"iou", "confidence", "format"}
        assert "step 2: 6 answers" in call("rollouts", folder / "out" / "rollouts.jsonl")
        assert "Find every" in lines[0]["prompt"]


def test_eval(folder):
    arguments = ("eval", "--model", folder / "model", "--rows", folder / "rows.jsonl", "--max-new-tokens", 4)
    assert "AP50" in call(*arguments, "--device", "cpu")
    assert json.loads(call(*arguments, "--device", "cpu", "--json"))["AP"]["n"] == 3


def test_a_settings_file_can_be_printed_and_read(tmp_path):
    text = call("fit", "--print-config")
    (tmp_path / "fit.toml").write_text(text)
    read = read_settings(tmp_path / "fit.toml", FitSettings)
    assert read == FitSettings(model="models/llava", rows="rows.jsonl", output="fitted")
    assert text == commented_toml(
        FitSettings,
        "firsthand visual-rft fit",
        {"model": "models/llava", "rows": "rows.jsonl", "output": "fitted"},
    )


def test_errors_say_what_to_do(folder, tmp_path, monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    shutil.rmtree(folder / "out", ignore_errors=True)
    for act, error, message in (
        (lambda: call("fit"), InputError, "--print-config"),
        (lambda: call("fit", tmp_path / "none.toml"), NotFoundError, "no such file"),
        (lambda: call("fit", settings(folder, stpes=1)), InputError, "stpes: unknown key"),
        (lambda: call("fit", settings(folder, steps=0)), InputError, "steps"),
        (lambda: call("fit", settings(folder, rows=str(tmp_path / "no"))), NotFoundError, "convert"),
        (
            lambda: call("fit", settings(folder, method="supervised", accumulate=2)),
            InputError,
            "does not divide",
        ),
        (
            lambda: call("eval", "--model", tmp_path, "--rows", folder / "rows.jsonl"),
            InputError,
            "cannot be loaded",
        ),
        (lambda: load_model("no/such-model"), ModelNotFoundError, "cannot be loaded"),
        (lambda: call("fit", settings(folder, model="m")), ModelNotFoundError, "'m'; accepted are a folder"),
        (
            lambda: call("eval", "--model", "x", "--rows", folder / "rows.jsonl", "--task", "draw"),
            InputError,
            "choose",
        ),
    ):
        with pytest.raises(error, match=message):
            act()
    assert not (folder / "out").exists()
    call("fit", settings(folder, **{"save-every": 2}))
    with pytest.raises(InputError, match="another steps"):
        call("fit", settings(folder, **{"save-every": 2, "steps": 3}))
    shutil.rmtree(folder / "out")
    (tmp_path / "bad.toml").write_text("steps = ")
    with pytest.raises(InputError, match="not TOML"):
        read_settings(tmp_path / "bad.toml", FitSettings)
    (tmp_path / "rows.jsonl").write_text('{"picture": 1}\n')
    with pytest.raises(InputError, match="line 1 is no row"):
        call("fit", settings(folder, rows=str(tmp_path / "rows.jsonl")))
    (tmp_path / "rows.jsonl").write_text("\n")
    with pytest.raises(InputError, match="holds no rows"):
        call("fit", settings(folder, rows=str(tmp_path / "rows.jsonl")))
