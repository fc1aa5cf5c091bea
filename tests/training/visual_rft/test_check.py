"""The check's world: scenes and their boxes, the small model as a policy, and what is measured."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from firsthand.errors import InputError
from firsthand.rl import Rewards
from firsthand.rl.trainer import GRPOConfig, train_grpo
from firsthand.training.visual_rft import check, trl_reward
from firsthand.training.visual_rft.scenes import SIDE, draw_scenes
from firsthand.training.visual_rft.tiny_vlm import BoxPolicy, TinyVLM


@pytest.fixture(scope="module")
def measured():
    return check.measure(1000, "smoke")


def small():
    return TinyVLM(width=32, layers=2, heads=4)


@pytest.mark.parametrize("domain", ["base", "new"])
def test_scenes_show_their_shape_where_the_box_is(domain):
    scenes = draw_scenes(200, domain, seed=0)
    assert scenes.pictures.shape == (200, SIDE, SIDE)
    assert scenes.boxes.min() >= 0
    assert scenes.boxes.max() <= SIDE
    for picture, (x1, y1, x2, y2) in zip(scenes.pictures, scenes.boxes, strict=True):
        middle = picture[y1:y2, x1:x2].mean()
        outside = (picture.sum() - picture[y1:y2, x1:x2].sum()) / (SIDE * SIDE - (x2 - x1) * (y2 - y1))
        assert middle > outside
    assert set(scenes.shapes) == {0, 1, 2, 3}
    again = draw_scenes(200, domain, seed=0)
    assert np.array_equal(again.pictures, scenes.pictures)
    assert not np.array_equal(draw_scenes(200, domain, seed=0, stream=1).boxes, scenes.boxes)


def test_sampled_tokens_have_the_probability_of_one_pass(one_thread):
    """Read token by token with kept keys, and in one pass: the same distribution."""
    policy = BoxPolicy(small())
    rows = check.rows_of(draw_scenes(3, "new", seed=1))
    drawn = policy.sample(rows, group_size=400, generator=torch.Generator().manual_seed(0))
    logp, entropy = policy.logprobs(drawn)
    assert logp.shape == entropy.shape == (1200, 4)
    first = drawn.tokens[:400, 0]
    logits = policy.model(torch.from_numpy(rows[0]["picture"])[None], drawn.tokens[:1])[0, 0]
    shares = torch.bincount(first, minlength=25) / 400
    assert float((shares - logits.softmax(0)).abs().max().detach()) < 0.07
    greedy = policy.sample(rows, group_size=1, temperature=0.0, generator=torch.Generator())
    every = policy.model(torch.stack([torch.from_numpy(row["picture"]) for row in rows]), greedy.tokens)
    assert torch.equal(every.argmax(-1), greedy.tokens)


def test_the_picture_is_seen_and_later_tokens_are_not():
    model = small()
    pictures = torch.rand(2, SIDE, SIDE)
    tokens = torch.tensor([[1, 2, 3, 4], [1, 2, 3, 4]])
    changed = tokens.clone()
    changed[:, 2] = 20
    one, other = model(pictures, tokens), model(pictures, changed)
    assert torch.allclose(one[:, :3], other[:, :3], atol=1e-6)
    assert not torch.allclose(one[:, 3], other[:, 3])
    assert not torch.allclose(one[0], one[1])


def test_a_picture_read_once_is_as_one_read_for_each_answer(one_thread):
    """Logits and gradients, whatever answers there are to each picture and in whatever order."""
    generator = torch.Generator().manual_seed(0)
    model = small()
    pictures = torch.rand(3, SIDE, SIDE, generator=generator)
    tokens = torch.randint(0, SIDE + 1, (7, 4), generator=generator)
    rows = torch.tensor([2, 0, 2, 2, 0, 0, 2])  # none to the picture in the middle
    found = []
    for logits in (model(pictures, tokens, rows), model(pictures[rows], tokens)):
        model.zero_grad()
        logits.square().sum().backward()
        found.append((logits, [weight.grad.clone() for weight in model.parameters()]))
    (once, gradients), (each, others) = found
    torch.testing.assert_close(once, each, rtol=1e-5, atol=1e-5)
    for one, other in zip(gradients, others, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_answers_are_text_and_taught_as_text():
    policy = BoxPolicy(small())
    rows = check.rows_of(draw_scenes(2, "new", seed=1))
    samples = policy.teach(rows, ["<answer>(1,2),(3,4)</answer>", "(5,6),(7,24)"])
    assert policy.texts(samples) == ["<answer>(1,2),(3,4)</answer>", "<answer>(5,6),(7,24)</answer>"]
    for answer in ("nothing", "(1,2),(3,99)", "(1.5,2),(3,4)"):
        with pytest.raises(InputError, match="no box of pixels"):
            policy.teach(rows[:1], [answer])
    with pytest.raises(InputError, match="no picture"):
        policy.sample([{"prompt": "x"}], group_size=1, generator=torch.Generator())
    with pytest.raises(InputError, match="multiple of heads"):
        TinyVLM(width=10, heads=4)


def test_reward_learning_goes_through_the_rooms_own_reward(one_thread):
    rows = check.rows_of(draw_scenes(4, "new", seed=1))
    result = train_grpo(
        BoxPolicy(small()), rows, Rewards([trl_reward("grounding", kind="iou", scale=SIDE)]),
        GRPOConfig(steps=40, prompts_per_step=4, group_size=16, learning_rate=3e-3, beta=0.0, max_new_tokens=4),
    )  # fmt: skip
    rewards = [line["reward"] for line in result.history]
    assert np.mean(rewards[-5:]) > 2 * np.mean(rewards[:5])


def test_jittered_boxes_stay_boxes():
    boxes = np.array([[0, 0, 1, 1], [23, 23, 24, 24], [-1, 5, 0, 5]])
    found = check._whole(boxes)
    assert (found[:, 2:] > found[:, :2]).all()
    assert found.min() >= 0
    assert found.max() <= SIDE


def test_every_clause_of_the_card_is_measured(measured):
    from firsthand.catalogue.rooms import find_room

    wanted = {
        (clause.id, arm)
        for claim in find_room("visual-rft").card.claims
        for clause in claim.clauses
        for arm in (clause.treatment, clause.control)
    }
    assert wanted == {(o.clause, o.arm) for o in measured.observations}


def test_both_sides_choose_among_equally_many(measured):
    assert measured.candidates["rewarded"] == measured.candidates["supervised"] == 6
    keys = {tuple(c[:2]) for side in measured.details["candidates"].values() for c in side}
    assert len(keys) == 12


def test_charts_are_over_all_seeds(measured):
    from firsthand.claims.chart import Chart

    charts = [Chart.model_validate(chart) for chart in check.charts([measured.details] * 2)]
    assert [len(chart.series) for chart in charts] == [6, 6]
