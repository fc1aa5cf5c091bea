"""The torch trainer: sampling, probabilities, learning, pieces, resume, and TRL's loss on the same answers."""

from __future__ import annotations

import json
import math

import pytest
import torch

from firsthand.errors import InputError
from firsthand.lm import tiny_llama, train_tokenizer
from firsthand.rl import GroupSizeError, Rewards, group_advantages, grpo_loss
from firsthand.rl import trainer as torch_trainer
from firsthand.rl.policy import CausalPolicy, Samples
from firsthand.rl.rollouts import read_rollouts
from firsthand.rl.trainer import (
    GRPOConfig,
    SupervisedConfig,
    row_numbers,
    train_grpo,
    train_supervised,
)
from tests.lm.models import digest

TEXTS = ["one two three four five six seven\n" * 20, "def add(left, right): return left + right\n" * 20]


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(TEXTS, 300)


@pytest.fixture
def policy(tokenizer, one_thread):
    return CausalPolicy(tiny_llama(len(tokenizer), width=16, layers=2, heads=2, context=64), tokenizer)


ROWS = [
    {"prompt": "one two", "want": "e"},
    {"prompt": "def add(left, right):", "want": "e"},
    {"prompt": "s", "want": "e"},
]


def vowels(completions, want, **_):
    return [text.count(w) / (1 + len(text)) for text, w in zip(completions, want, strict=True)]


def sampled(policy, group=3, tokens=8, seed=0, rows=ROWS, temperature=1.0):
    return policy.sample(
        rows, group_size=group, max_new_tokens=tokens, temperature=temperature,
        generator=torch.Generator().manual_seed(seed),
    )  # fmt: skip


def test_answers_are_drawn_by_the_seed_and_end_where_they_end(policy):
    one, two, other = sampled(policy), sampled(policy), sampled(policy, seed=1)
    assert torch.equal(one.tokens, two.tokens)
    assert not torch.equal(one.tokens, other.tokens)
    assert one.tokens.shape[0] == 9
    first_end = (one.tokens == policy.stop_ids[0]).int().cumsum(1) - (one.tokens == policy.stop_ids[0]).int()
    assert torch.equal(one.mask.bool(), first_end == 0)
    assert len(policy.texts(one)) == 9


def test_a_text_has_the_probability_that_it_has_alone(policy):
    """Padding, groups and other prompts in the batch make no difference."""
    samples = sampled(policy)
    logp, entropy = policy.logprobs(samples)
    for number, answer in enumerate(samples.answers()):
        prompt = policy.encode(ROWS[number // 3]["prompt"])
        logits = policy.model(torch.tensor([prompt + answer])).logits[0].log_softmax(-1)
        for place, token in enumerate(answer):
            row = logits[len(prompt) + place - 1]
            assert float(logp[number, place].detach()) == pytest.approx(float(row[token].detach()), abs=1e-4)
            assert float(entropy[number, place]) == pytest.approx(
                float(-(row.exp() * row).sum().detach()), abs=1e-3
            )


def test_temperature_0_takes_the_most_probable(policy):
    samples = sampled(policy, group=1, temperature=0)
    prompt = policy.encode(ROWS[0]["prompt"])
    logits = policy.model(torch.tensor([prompt])).logits[0, -1]
    assert int(samples.tokens[0, 0]) == int(logits.argmax())


def test_banned_tokens_never_come(tokenizer, one_thread):
    model = tiny_llama(len(tokenizer), width=16, layers=1, heads=2, context=64)
    policy = CausalPolicy(model, tokenizer, banned_ids=range(250))
    assert int(sampled(policy, group=8).tokens[:, 0].min()) >= 250


def test_chats_and_ids_are_prompts_too(policy):
    assert policy.encode([1, 2, 3]) == [1, 2, 3]
    policy.tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    try:
        assert policy.encode([{"role": "user", "content": "one two"}]) == policy.encode("one two")
    finally:
        policy.tokenizer.chat_template = None


def quick(**changes):
    settings = {
        "steps": 40, "prompts_per_step": 3, "group_size": 8, "learning_rate": 1e-2, "beta": 0.0,
        "max_new_tokens": 8, "schedule": "constant",
    }  # fmt: skip
    return GRPOConfig(**{**settings, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"algorithm": "rloo"},
        {"algorithm": "expert_iteration", "keep_reward": 0.15, "steps": 60},
        {"loss_type": "dr_grpo", "scale": "none", "learning_rate": 1e-2},
        {"loss_type": "dapo", "updates": 2, "beta": 0.01, "entropy_bonus": 0.001},
    ],
    ids=["grpo", "rloo", "expert iteration", "dr_grpo", "dapo, twice, KL"],
)
def test_what_is_rewarded_comes_more_often(policy, changes):
    result = train_grpo(policy, ROWS, Rewards([vowels]), quick(**changes))
    rewards = [line["reward"] for line in result.history]
    assert sum(rewards[-8:]) / 8 > 2 * sum(rewards[:8]) / 8
    assert result.tokens > 0
    assert result.history[0]["reward/vowels"] == pytest.approx(rewards[0])


def test_kl_keeps_the_policy_near_where_it_began(policy, tokenizer):
    twin = CausalPolicy(tiny_llama(len(tokenizer), width=16, layers=2, heads=2, context=64), tokenizer)
    loose = train_grpo(policy, ROWS, Rewards([vowels]), quick())
    tight = train_grpo(twin, ROWS, Rewards([vowels]), quick(beta=20.0))
    assert tight.history[0]["kl"] == pytest.approx(0, abs=1e-5)
    assert loose.history[-1]["reward"] > 1.5 * tight.history[-1]["reward"]


@pytest.mark.parametrize("loss_type", ["grpo", "bnpo", "dapo", "dr_grpo"])
def test_pieces_add_up_to_the_whole(tokenizer, loss_type, one_thread):
    digests = []
    for micro in (0, 4):
        model = tiny_llama(len(tokenizer), width=16, layers=2, heads=2, context=64).double()
        policy = CausalPolicy(model, tokenizer)
        config = quick(steps=2, micro_batch=micro, loss_type=loss_type, beta=0.1, entropy_bonus=0.01)
        result = train_grpo(policy, ROWS, Rewards([vowels]), config)
        digests.append([result.history[-1]["loss"], *(float(w.detach().sum()) for w in model.parameters())])
    assert digests[0] == pytest.approx(digests[1], rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("loss_type", ["grpo", "bnpo", "dapo", "dr_grpo"])
@pytest.mark.parametrize("algorithm", ["grpo", "expert_iteration"])
def test_pieces_by_length_have_the_gradient_of_the_whole(
    policy, monkeypatch, loss_type, algorithm, one_thread
):
    """Answers of 1 to 40 tokens: four pieces of unequal width, and one of all."""
    generator = torch.Generator().manual_seed(5)
    lengths = torch.tensor([1, 2, 2, 3, 5, 8, 13, 40] * 20)[torch.randperm(160, generator=generator)]
    tokens = torch.randint(1, 200, (160, 40), generator=generator)
    mask = (torch.arange(40) < lengths[:, None]).long()
    drawn = sampled(policy, group=1, tokens=1)
    samples = Samples(
        drawn.prompts, drawn.prompt_mask, tokens[:159], mask[:159], torch.arange(3).repeat_interleave(53)
    )
    total = torch.arange(159) % 4 / 3.0
    config = quick(
        loss_type=loss_type, algorithm=algorithm, group_size=53, max_new_tokens=40, learning_rate=1e-9
    )
    found, counts = [], []
    for most in (1, 4):
        monkeypatch.setattr(torch_trainer, "MOST", most)
        counts.append(len(torch_trainer._parts(samples, torch.arange(159), 0)))
        run = torch_trainer._Run(policy, config, 3, None, 1)
        monkeypatch.setattr(run, "apply", lambda loss: loss)
        figures, spent = torch_trainer._learn(policy, None, samples, total, config, run)
        found.append((figures, spent, [weight.grad.clone() for weight in policy.model.parameters()]))
    assert counts == [1, 4]
    (whole, tokens_whole, gradients), (pieces, tokens_pieces, others) = found
    assert pieces == pytest.approx(whole, rel=1e-4, abs=1e-6)
    assert tokens_pieces == tokens_whole
    for one, other in zip(gradients, others, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_answers_of_one_length_stay_together(policy):
    samples = sampled(policy, group=40, tokens=1)
    [(numbers, part)] = torch_trainer._parts(samples, torch.arange(120), 0)
    assert torch.equal(numbers, torch.arange(120))
    assert torch.equal(part.tokens, samples.tokens)


def test_cut_off_and_resumed(tokenizer, tmp_path, one_thread):
    def fresh():
        return CausalPolicy(tiny_llama(len(tokenizer), width=16, layers=2, heads=2, context=64), tokenizer)

    config = quick(steps=6, beta=0.05, schedule="linear")
    whole = train_grpo(fresh(), ROWS, Rewards([vowels]), config, rollouts=tmp_path / "whole.jsonl")

    class Stop(Exception):
        pass

    def stop(step, figures):
        if step == 5:
            raise Stop

    state, lines = tmp_path / "state.pt", tmp_path / "cut.jsonl"
    with pytest.raises(Stop):
        train_grpo(
            fresh(), ROWS, Rewards([vowels]), config, checkpoint=state, every=2, rollouts=lines, on_step=stop
        )
    steps = []
    found = train_grpo(
        fresh(), ROWS, Rewards([vowels]), config, checkpoint=state, every=2, rollouts=lines,
        on_step=lambda step, figures: steps.append(step),
    )  # fmt: skip
    assert steps == [5, 6]
    assert digest(found.policy.model) == digest(whole.policy.model)
    assert found.history == whole.history
    assert lines.read_text() == (tmp_path / "whole.jsonl").read_text()
    with pytest.raises(InputError, match="another run"):
        train_grpo(fresh(), ROWS, Rewards([vowels]), quick(steps=7), checkpoint=state)
    state.write_bytes(b"nothing")
    with pytest.raises(InputError, match="cannot be read"):
        train_grpo(fresh(), ROWS, Rewards([vowels]), config, checkpoint=state)


def test_rollouts_are_lines_that_people_read(policy, tmp_path):
    path = tmp_path / "rollouts.jsonl"
    train_grpo(policy, ROWS, Rewards([vowels]), quick(steps=2), rollouts=path)
    lines = list(read_rollouts(path))
    assert len(lines) == 2 * 3 * 8
    assert lines[0]["step"] == 1
    assert lines[-1]["answer"] == 7
    assert lines[0]["want"] == "e"
    assert lines[0]["total"] == pytest.approx(lines[0]["rewards"]["vowels"])
    with path.open("a") as file:
        file.write('{"step": 3, "completion"')  # cut off
    assert len(list(read_rollouts(path))) == 48
    path.write_text('{"a": 1}\n')
    with pytest.raises(InputError, match="line 1 is no rollout"):
        list(read_rollouts(path))


def test_the_supervised_control(policy, tmp_path):
    rows = [{**row, "answer": " three four"} for row in ROWS]
    result = train_supervised(policy, rows, SupervisedConfig(steps=60, batch=3, learning_rate=1e-2))
    assert result.history[-1]["loss"] < 0.1 < result.history[0]["loss"]
    assert set(policy.texts(sampled(policy, group=1, temperature=0))) == {" three four"}
    with pytest.raises(InputError, match="no column 'answer'"):
        train_supervised(policy, ROWS)


def test_every_row_comes_once_a_pass():
    drawn = [n for step in range(6) for n in row_numbers(9, 3, step, 0)]
    assert sorted(drawn[:9]) == sorted(drawn[9:]) == list(range(9))
    assert drawn[:9] != drawn[9:]


@pytest.mark.parametrize(
    ("act", "error", "message"),
    [
        (lambda p: GRPOConfig(group_size=1), GroupSizeError, "at least 2"),
        (lambda p: GRPOConfig(steps=0), InputError, "at least 1"),
        (lambda p: GRPOConfig(temperature=0), InputError, "above 0"),
        (lambda p: GRPOConfig(algorithm="ppo"), InputError, "expert_iteration"),
        (lambda p: train_grpo(p, [], Rewards([vowels])), InputError, "one row"),
        (
            lambda p: train_grpo(p, [{"text": "x"}], Rewards([vowels]), quick()),
            InputError,
            "no column 'prompt'",
        ),
        (lambda p: sampled(p, rows=[{"prompt": "one " * 200}]), InputError, "no room"),
        (lambda p: sampled(p, rows=[{"prompt": []}]), InputError, "at least one token"),
        (lambda p: sampled(p, tokens=0), InputError, "at least 1"),
    ],
)
def test_what_does_not_fit(policy, act, error, message):
    with pytest.raises(error, match=message):
        act(policy)


# --- TRL ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss_type", ["grpo", "bnpo", "dr_grpo", "dapo"])
@pytest.mark.parametrize("beta", [0.0, 0.3])
def test_trls_loss_on_the_same_answers(policy, tmp_path, loss_type, beta):
    from firsthand.rl.trl_backend import trl_trainer

    policy.tokenizer.pad_token = policy.tokenizer.eos_token
    config = quick(loss_type=loss_type, beta=beta, prompts_per_step=3, group_size=4)
    trainer = trl_trainer(
        policy.model, policy.tokenizer, ROWS, Rewards([vowels]), config, tmp_path, use_cpu=True, bf16=False
    )
    trainer.current_gradient_accumulation_steps = 1
    samples = sampled(policy, group=4)
    rewards = torch.tensor(vowels(policy.texts(samples), ["e"] * 12))
    gain = group_advantages(rewards, 4)
    with torch.no_grad():
        now, _ = policy.logprobs(samples)
    old, ref = now + 0.3 * torch.randn_like(now), now + 0.2 * torch.randn_like(now)
    inputs = {
        "prompt_ids": samples.prompts.repeat_interleave(4, 0),
        "prompt_mask": samples.prompt_mask.repeat_interleave(4, 0),
        "completion_ids": samples.tokens,
        "completion_mask": samples.mask,
        "advantages": gain,
        "num_items_in_batch": samples.mask.sum(),
        "old_per_token_logps": old,
        "ref_per_token_logps": ref,
    }
    trainer.model.train()
    theirs = float(trainer._compute_loss(trainer.model, inputs).detach())
    ours, _ = grpo_loss(
        policy.logprobs(samples)[0], gain, samples.mask, old_logp=old, ref_logp=ref, beta=beta, loss_type=loss_type,
        max_len=8,
    )  # fmt: skip
    assert float(ours.detach()) == pytest.approx(theirs, abs=1e-5)


def test_trl_trains_on_the_same_rows_and_rewards(policy, tmp_path):
    from firsthand.rl.trl_backend import trl_trainer

    async def length(completions, **_):
        return [None if i % 2 else 0.1 for i, _ in enumerate(completions)]

    policy.tokenizer.pad_token = policy.tokenizer.eos_token
    before = digest(policy.model)
    trainer = trl_trainer(
        policy.model, policy.tokenizer, ROWS, Rewards({"vowels": vowels, "length": length}, [1.0, 0.5]),
        quick(steps=2), tmp_path, use_cpu=True,
    )  # fmt: skip
    trainer.train()
    log = next(line for line in trainer.state.log_history if "reward" in line)
    assert {"rewards/vowels/mean", "rewards/length/mean"} <= set(log)
    assert digest(trainer.model) != before


def test_what_trl_does_not_do(tmp_path):
    from firsthand.rl.trl_backend import trl_arguments

    for config, message in (
        (quick(algorithm="rloo"), "does no rloo"),
        (quick(ddof=0), "unbiased"),
    ):
        with pytest.raises(InputError, match=message):
            trl_arguments(config, tmp_path)
    with pytest.raises(InputError, match="do not divide"):
        trl_arguments(quick(), tmp_path, processes=5)
    assert math.isclose(trl_arguments(quick(), tmp_path, use_cpu=True).learning_rate, 1e-2)
    assert json.dumps(trl_arguments(quick(clip=(0.1, 0.4)), tmp_path, use_cpu=True).epsilon_high) == "0.4"


def test_samples_taken_apart(policy):
    samples = sampled(policy)
    part = samples.part(torch.tensor([4, 0]))
    assert torch.equal(part.tokens[0], samples.tokens[4])
    assert torch.equal(part.prompts[part.rows[0]], samples.prompts[1])
    assert torch.equal(part.prompts[part.rows[1]], samples.prompts[0])
    assert len(part.prompts) == 2
    assert isinstance(part, Samples)
    assert len(part) == 2
