"""Losses: the sheets' values, each variant's average spelt out, gradients, and shapes that do not fit."""

from __future__ import annotations

import math

import pytest
import torch

from firsthand.errors import InputError
from firsthand.rl import grpo_loss, kl_estimate, ppo_policy_loss, ppo_value_loss, rewards_with_kl

MASK = torch.tensor([[1, 1], [1, 0]])


def case():
    """Two answers of two tokens and one; k3 against the reference is [.0187308, 0] and .05."""
    logp = torch.tensor([[-1.0, -1.0], [-1.0, -9.0]], dtype=torch.float64, requires_grad=True)
    gap = next(x / 1e6 for x in range(1, 10**6) if math.exp(x / 1e6) - x / 1e6 - 1 >= 0.05)
    return logp, torch.tensor([[-1.2, -1.0], [-1.0 + gap, -2.0]], dtype=torch.float64)


def test_estimates_of_kl():
    logp, ref = torch.tensor([-1.0]), torch.tensor([-1.2])
    for kind, value in (("k1", 0.2), ("abs", 0.2), ("k2", 0.02), ("k3", 0.0187308)):
        assert float(kl_estimate(logp, ref, kind)) == pytest.approx(value, abs=1e-6)
        assert float(kl_estimate(logp, logp, kind)) == 0
    spread = torch.linspace(-3, 3, 61)
    assert float(kl_estimate(spread, torch.zeros(61)).min()) >= 0
    with pytest.raises(InputError, match="k1, abs, k2 or k3"):
        kl_estimate(logp, ref, "k4")


def test_the_papers_loss_and_its_variants():
    logp, ref = case()
    gain = torch.tensor([1.0, -1.0])
    values = {"grpo": 0.00118731, "dapo": -0.332417, "bnpo": -0.332417}
    for kind, value in values.items():
        loss, seen = grpo_loss(logp, gain, MASK, ref_logp=ref, beta=0.04, loss_type=kind)
        assert float(loss.detach()) == pytest.approx(value, abs=1e-6)
        assert seen["kl"] == pytest.approx((0.0187308 + 0.05) / 3, abs=1e-5)
    loss, _ = grpo_loss(logp, gain, MASK, ref_logp=ref, beta=0.04, loss_type="dr_grpo", max_len=5)
    assert float(loss.detach()) == pytest.approx(-0.332417 * 3 / (2 * 5), abs=1e-6)


def test_gradients_push_good_answers_up_and_leave_padding_alone():
    logp, _ = case()
    loss, _ = grpo_loss(logp, torch.tensor([1.0, -1.0]), MASK)
    loss.backward()
    assert logp.grad.tolist() == [[-0.25, -0.25], [0.5, 0.0]]


def test_clipping():
    old = torch.full((1, 1), -1.0, dtype=torch.float64)
    one = torch.ones((1, 1))
    for gain, value, share in ((1.0, -1.2, 1.0), (-1.0, 1.3, 0.0)):
        logp = old + math.log(1.3)
        loss, seen = grpo_loss(logp, torch.tensor([gain]), one, old_logp=old)
        assert float(loss) == pytest.approx(value)
        assert float(ppo_policy_loss(logp, old, torch.tensor([[gain]]), one)) == pytest.approx(value)
        assert seen["clipped"] == share
    loose, seen = grpo_loss(old + math.log(1.3), torch.tensor([1.0]), one, old_logp=old, clip=(0.2, 0.4))
    assert float(loose) == pytest.approx(-1.3)
    assert seen["clipped"] == 0


def test_entropy_bonus():
    logp, _ = case()
    entropy = torch.tensor([[1.0, 2.0], [3.0, 99.0]])
    plain, _ = grpo_loss(logp, torch.tensor([1.0, -1.0]), MASK)
    loss, seen = grpo_loss(logp, torch.tensor([1.0, -1.0]), MASK, entropy=entropy, entropy_bonus=0.5)
    assert seen["entropy"] == pytest.approx(2.0)
    assert float((plain - loss).detach()) == pytest.approx(1.0)


def test_ppos_value_loss_and_rewards():
    one = torch.ones((1, 1))
    loss = ppo_value_loss(torch.tensor([[0.9]]), torch.tensor([[0.2]]), torch.tensor([[1.0]]), one)
    assert float(loss) == pytest.approx(0.045)
    rewards = rewards_with_kl(
        torch.tensor([1.0, 5.0]),
        torch.tensor([[-1.0, -1.0], [-1.0, -7.0]]),
        torch.tensor([[-1.2, -1.0], [-1.0, -1.0]]),
        torch.tensor([[1, 1], [1, 0]]),
    )
    assert rewards[0].tolist() == pytest.approx([-0.0002, 1.0])
    assert rewards[1].tolist() == pytest.approx([5.0, 0.0])


def test_what_does_not_fit():
    logp, _ref = case()
    gain = torch.tensor([1.0, -1.0])
    for act, message in (
        (lambda: grpo_loss(logp, gain, MASK[:, :1]), r"\(N, T\) each"),
        (lambda: grpo_loss(logp, gain[:1], MASK), "advantages are"),
        (lambda: grpo_loss(logp, gain, MASK, beta=0.1), "needs ref_logp"),
        (lambda: grpo_loss(logp, gain, MASK, loss_type="dr_grpo"), "max_len"),
        (lambda: grpo_loss(logp, gain, MASK, loss_type="ppo"), "loss_type is"),
        (lambda: grpo_loss(logp, gain, MASK, entropy_bonus=0.1), "entropy"),
    ):
        with pytest.raises(InputError, match=message):
            act()
