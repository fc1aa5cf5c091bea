"""The training loop: it learns, repeats bit for bit, and resumes as if it had not stopped."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firsthand.errors import InputError, OutputError
from firsthand.lm import DivergedError, tiny_llama, train
from firsthand.lm.training import learning_rate_at, window_starts

from .models import SETTINGS, digest, make, small, text_ids, trained_hash

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")


def test_learns_a_pattern_and_counts_its_tokens():
    model, seen = small(), []
    result = train(
        model, text_ids(vocabulary=11) % 11, steps=80, batch=4, context=16, learning_rate=1e-2, device="cpu",
        on_step=lambda step, loss: seen.append((step, loss)),
    )  # fmt: skip
    assert result.losses[0] == pytest.approx(np.log(64), abs=0.6)
    assert result.losses[-5:].mean() < 1.5
    assert result.tokens == 80 * 4 * 16
    assert result.seconds > 0
    assert [step for step, _ in seen] == list(range(1, 81))
    assert [loss for _, loss in seen] == list(result.losses)
    assert not model.training


def test_another_dtype_is_that_of_the_forward_pass_and_not_of_the_weights():
    model, seen = small(), []
    model.model.layers[0].mlp.register_forward_hook(lambda module, given, out: seen.append(out.dtype))
    result = train(
        model, text_ids(vocabulary=11) % 11, steps=80, batch=4, context=16, learning_rate=1e-2, device="cpu",
        dtype="bfloat16",
    )  # fmt: skip
    assert set(seen) == {torch.bfloat16}
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    assert result.losses[-5:].mean() < 1.5
    exact = small()
    train(exact, text_ids(), **SETTINGS)
    same, rough = small(), small()
    train(same, text_ids(), dtype="float32", **SETTINGS)
    train(rough, text_ids(), dtype="bfloat16", **SETTINGS)
    assert digest(same) == digest(exact) != digest(rough)


def test_same_seed_same_weights_here_and_in_another_process(one_thread, elsewhere):
    torch.manual_seed(1)
    one = trained_hash()
    torch.manual_seed(2)
    assert trained_hash() == one
    assert trained_hash(seed=5) != one
    assert elsewhere["trained"] == one


def test_global_generator_is_left_alone():
    torch.manual_seed(9)
    expected = torch.rand(3)
    torch.manual_seed(9)
    train(small(), text_ids(), **SETTINGS)
    assert torch.equal(torch.rand(3), expected)


class Interrupt(Exception):
    pass


@pytest.mark.parametrize("kind", ["llama", "gpt2"])  # GPT-2 has dropout
def test_resumed_run_is_the_unbroken_run(kind, tmp_path):
    def stop(step, loss):
        if step == 7:
            raise Interrupt

    unbroken, cut = make(kind, 64), make(kind, 64)
    whole = train(unbroken, text_ids(), seed=2, **SETTINGS)
    path = tmp_path / "deep" / "run.pt"
    with pytest.raises(Interrupt):
        train(cut, text_ids(), seed=2, checkpoint=path, every=5, on_step=stop, **SETTINGS)
    fresh, steps = make(kind, 64), []
    resumed = train(
        fresh,
        text_ids(),
        seed=2,
        checkpoint=path,
        every=5,
        on_step=lambda step, loss: steps.append(step),
        **SETTINGS,
    )
    assert steps == list(range(6, 13))
    assert digest(fresh) == digest(unbroken)
    np.testing.assert_array_equal(resumed.losses, whole.losses)
    assert [entry.name for entry in path.parent.iterdir()] == ["run.pt"]
    again = make(kind, 64)
    done = train(again, text_ids(), seed=2, checkpoint=path, on_step=stop, **SETTINGS)  # nothing left to do
    assert digest(again) == digest(unbroken)
    np.testing.assert_array_equal(done.losses, whole.losses)


def test_checkpoint_of_another_run_or_damaged(tmp_path):
    path = tmp_path / "run.pt"
    train(small(), text_ids(), checkpoint=path, **SETTINGS)
    with pytest.raises(InputError, match="another run"):
        train(small(), text_ids(), checkpoint=path, seed=1, **SETTINGS)
    with pytest.raises(InputError, match="another run"):
        train(small(), text_ids(401), checkpoint=path, **SETTINGS)
    with pytest.raises(InputError, match="another run"):
        train(small(), text_ids(), checkpoint=path, dtype="bfloat16", **SETTINGS)
    with pytest.raises(InputError, match="other sizes"):
        train(
            tiny_llama(64, width=32, layers=1, heads=2, context=32), text_ids(), checkpoint=path, **SETTINGS
        )
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match="delete it"):
        train(small(), text_ids(), checkpoint=path, **SETTINGS)


def test_failed_write_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "run.pt"

    def full_disk(state, target):
        target.write_bytes(b"half")
        raise RuntimeError("No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(OutputError, match="No space"):
        train(small(), text_ids(), checkpoint=path, **SETTINGS)
    assert list(tmp_path.iterdir()) == []


def test_divergence_is_an_error():
    model = small()
    model.model.norm.weight.data.fill_(float("nan"))
    with pytest.raises(DivergedError, match="step 1 of 12"):
        train(model, text_ids(), **SETTINGS)


@pytest.mark.parametrize(
    ("ids", "changes", "message"),
    [
        (text_ids() / 2, {}, "whole numbers"),
        (text_ids().reshape(2, -1), {}, "one row"),
        (text_ids() + 60, {}, "vocabulary"),
        (text_ids(10), {}, "too few"),
        (text_ids(), {"context": 33}, "33 exceeds the model's 32"),
        (text_ids(), {"steps": 0}, "at least 1"),
        (text_ids(), {"dtype": "int8"}, "not a floating type"),
    ],
)
def test_bad_input(ids, changes, message):
    with pytest.raises(InputError, match=message):
        train(small(), ids, **{**SETTINGS, **changes})


def test_schedule():
    rates = [learning_rate_at(step, steps=100, peak=2.0, warmup=10) for step in range(100)]
    assert rates[0] == pytest.approx(0.2)
    assert rates[9] == rates[10] == 2.0
    assert rates[-1] == pytest.approx(0.2)
    assert all(later <= earlier for earlier, later in pairwise(rates[10:]))
    assert learning_rate_at(0, steps=1, peak=2.0, warmup=0) == 2.0


@given(length=st.integers(12, 200), batch=st.integers(1, 9), seed=st.integers(0, 5))
def test_a_pass_visits_windows_that_do_not_overlap(length, batch, seed):
    context = 10
    per_pass = max(1, (length - 1 - context) // context)
    steps = -(-3 * per_pass // batch)
    starts = np.concatenate(
        [window_starts(length, n, batch=batch, context=context, seed=seed) for n in range(steps)]
    )
    assert starts.min() >= 0
    assert starts.max() + context + 1 <= length
    for number in range(3):
        one = np.sort(starts[number * per_pass : (number + 1) * per_pass])
        assert len(one) == per_pass
        assert np.all(np.diff(one) == context)
