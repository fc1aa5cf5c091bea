"""The small trainer: GRPO and its variants, RLOO, expert iteration, and the supervised control, in plain torch.

Knows a policy, rows, rewards and a configuration; knows nothing of what the rows are about. Everything random in a
step depends on the seed and on the step's number, so that a run that was cut off and resumed is the unbroken run.

A step: draw rows; sample a group of answers to each; score them; turn scores into advantages; take one or more
gradient steps on the loss. The supervised control takes as many steps on as many rows, with the row's own answer.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from firsthand.errors import InputError, OutputError
from firsthand.lm.training import DivergedError
from firsthand.rl.advantages import GroupSizeError, group_advantages, leave_one_out
from firsthand.rl.losses import LossType, grpo_loss
from firsthand.rl.policy import Policy, Samples
from firsthand.rl.rewards import Rewards
from firsthand.rl.rollouts import RolloutFile
from firsthand.rl.rows import answer_columns, column_names, seeded_generator

__all__ = [
    "GRPOConfig",
    "SupervisedConfig",
    "TrainResult",
    "row_numbers",
    "train_grpo",
    "train_supervised",
]

Algorithm = Literal["grpo", "rloo", "expert_iteration"]
# A gradient step on answers of unequal length goes in pieces where that leaves at most this share of positions.
MOST, FEWEST, WORTHWHILE = 4, 32, 0.8


@dataclass(frozen=True)
class GRPOConfig:
    """How a policy learns from rewards.

    Attributes:
        steps: updates of sampled batches. prompts_per_step, group_size: B rows, and G answers to each.
        algorithm: "grpo"; "rloo" (each answer against the mean of the others); "expert_iteration" (imitate the
            answers whose reward is at least `keep_reward`).
        learning_rate, warmup, schedule: of AdamW; "linear" falls to 0 at the end, "constant" stays.
        weight_decay, grad_clip: of AdamW; the norm that gradients are cut to.
        beta: weight of the KL (k3) to the policy as it was at the start; 0 keeps no copy.
        temperature, max_new_tokens: of sampling.
        loss_type, clip, scale, ddof, entropy_bonus: of `grpo_loss` and `group_advantages`.
        updates: gradient steps on each sampled batch; from the second on the ratio leaves 1 and is clipped.
        micro_batch: answers that go through the model at once; 0 is all, unless lengths make pieces cheaper.
        seed: of everything random.
    """

    steps: int = 200
    prompts_per_step: int = 16
    group_size: int = 8
    algorithm: Algorithm = "grpo"
    learning_rate: float = 1e-6
    warmup: int = 0
    schedule: Literal["linear", "constant"] = "linear"
    weight_decay: float = 0.0
    grad_clip: float = 1.0
    beta: float = 0.04
    temperature: float = 1.0
    max_new_tokens: int = 256
    loss_type: LossType = "grpo"
    clip: tuple[float, float] = (0.2, 0.2)
    scale: Literal["group", "batch", "none"] = "group"
    ddof: int = 1
    entropy_bonus: float = 0.0
    updates: int = 1
    micro_batch: int = 0
    keep_reward: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.group_size < 2 and self.algorithm != "expert_iteration":
            raise GroupSizeError(
                f"a group needs at least 2 answers to compare, got group_size {self.group_size}"
            )
        if min(self.steps, self.prompts_per_step, self.group_size, self.max_new_tokens, self.updates) < 1:
            raise InputError("steps, prompts_per_step, group_size, max_new_tokens and updates are at least 1")
        if self.learning_rate <= 0 or self.beta < 0 or self.temperature <= 0 or self.micro_batch < 0:
            raise InputError(
                "learning_rate and temperature are above 0, beta and micro_batch at least 0; got "
                f"{self.learning_rate}, {self.temperature}, {self.beta}, {self.micro_batch}"
            )
        if self.algorithm not in ("grpo", "rloo", "expert_iteration"):
            raise InputError(f"an algorithm is grpo, rloo or expert_iteration, got {self.algorithm!r}")


@dataclass(frozen=True)
class SupervisedConfig:
    """How a policy imitates the rows' own answers: the control of learning from rewards."""

    steps: int = 200
    batch: int = 16
    learning_rate: float = 1e-6
    warmup: int = 0
    schedule: Literal["linear", "constant"] = "linear"
    weight_decay: float = 0.0
    grad_clip: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.steps, self.batch) < 1 or self.learning_rate <= 0:
            raise InputError("steps and batch are at least 1, learning_rate above 0")


@dataclass
class TrainResult:
    """What a run leaves: the policy, which learnt in place, and one mapping of figures a step.

    `tokens` counts tokens that went forward and backward through the model in learning, padding left out: what
    another arm of a comparison should spend too.
    """

    policy: Policy
    history: list[dict[str, float]] = field(default_factory=list)
    tokens: int = 0
    seconds: float = 0.0


def train_grpo(
    policy: Policy,
    rows: Sequence[Mapping[str, Any]],
    rewards: Rewards,
    config: GRPOConfig | None = None,
    *,
    checkpoint: Path | None = None,
    every: int = 50,
    rollouts: Path | None = None,
    on_step: Callable[[int, dict[str, float]], None] | None = None,
) -> TrainResult:
    """Let `policy` learn from `rewards` on `rows`, in place.

    A row has a `prompt` and whatever columns the rewards read. `on_step(step, figures)` is called after each step,
    from 1. With `checkpoint` the state is written there every `every` steps, and a run that finds the file goes on
    from it, bit for bit on one thread of the same machine. With `rollouts`, every answer and its rewards are added to
    that JSONL file.

    Raises `InputError` for rows or settings that do not fit or a checkpoint of another run, `DivergedError` for a
    loss that is not finite.
    """
    config = config or GRPOConfig()
    if not rows:
        raise InputError("give at least one row")
    reference = _copy(policy) if config.beta else None  # before a checkpoint takes its place
    run = _Run(policy, config, len(rows), checkpoint, every)
    columns = column_names(rows)
    written = RolloutFile(rollouts, run.done) if rollouts is not None else None

    def step(number: int) -> tuple[dict[str, float], int]:
        drawn = [rows[n] for n in row_numbers(len(rows), config.prompts_per_step, number, config.seed)]
        samples = policy.sample(
            drawn, group_size=config.group_size, max_new_tokens=config.max_new_tokens,
            temperature=config.temperature, generator=seeded_generator(config.seed, number),
        )  # fmt: skip
        texts = policy.texts(samples)
        table = rewards(texts, **answer_columns(drawn, columns, config.group_size))
        if written is not None:
            written.add(number + 1, drawn, texts, table, config.group_size)
        total = torch.from_numpy(table.total)
        known = table.total[~np.isnan(table.total)]
        figures = {
            "reward": float(known.mean()) if len(known) else math.nan,
            "reward_std": float(known.std()) if len(known) else math.nan,
            "length": float(samples.mask.sum(1).float().mean()),
            **{f"reward/{name}": value for name, value in table.means().items()},
        }
        seen, tokens = _learn(policy, reference, samples, total, config, run)
        return {**figures, **seen}, tokens

    return run.go(step, config.steps, on_step)


def train_supervised(
    policy: Policy,
    rows: Sequence[Mapping[str, Any]],
    config: SupervisedConfig | None = None,
    *,
    column: str = "answer",
    checkpoint: Path | None = None,
    every: int = 50,
    on_step: Callable[[int, dict[str, float]], None] | None = None,
) -> TrainResult:
    """Let `policy` imitate `rows[i][column]`, in place: mean cross-entropy of the answer's tokens, end included."""
    config = config or SupervisedConfig()
    if not rows:
        raise InputError("give at least one row")
    missing = [place for place, row in enumerate(rows) if column not in row]
    if missing:
        raise InputError(f"row {missing[0]} has no column {column!r}; it has {', '.join(rows[missing[0]])}")
    run = _Run(policy, config, len(rows), checkpoint, every)

    def step(number: int) -> tuple[dict[str, float], int]:
        drawn = [rows[n] for n in row_numbers(len(rows), config.batch, number, config.seed)]
        samples = policy.teach(drawn, [row[column] for row in drawn])
        logp, _ = policy.logprobs(samples)
        mask = samples.mask.to(logp.dtype)
        loss = -(logp * mask).sum() / mask.sum()
        run.update(loss)
        return {"loss": float(loss.detach())}, int(samples.mask.sum())

    return run.go(step, config.steps, on_step)


def _learn(
    policy: Policy, reference: Policy | None, samples: Samples, total: Tensor, config: GRPOConfig, run: _Run
) -> tuple[dict[str, float], int]:
    """The gradient steps of one sampled batch; figures, and tokens that were learnt from."""
    device = samples.tokens.device
    if config.algorithm == "expert_iteration":
        gain = (total.nan_to_num(-math.inf) >= config.keep_reward).to(torch.float32)
    elif config.algorithm == "rloo":
        gain = leave_one_out(total, config.group_size)
    else:
        gain = group_advantages(total, config.group_size, scale=config.scale, ddof=config.ddof)
    gain = gain.to(device, torch.float32)
    # An answer without advantage has no gradient, unless something else pulls at it.
    pulled = bool(config.beta or config.entropy_bonus)
    chosen = torch.arange(len(samples), device=device) if pulled else gain.nonzero()[:, 0]
    figures = {"learnt_from": len(chosen) / len(samples)}
    if not len(chosen):
        return {**figures, "loss": 0.0}, 0
    parts = _parts(samples, chosen, config.micro_batch)
    tokens = samples.mask[chosen].sum()
    old: list[Tensor | None] = [None] * len(parts)
    references: list[Tensor | None] = [None] * len(parts)
    with torch.no_grad():
        if config.updates > 1:
            old = [policy.logprobs(part, temperature=config.temperature)[0] for _, part in parts]
        if reference is not None:
            references = [reference.logprobs(part, temperature=config.temperature)[0] for _, part in parts]
    spent = 0
    for _ in range(config.updates):
        run.optimizer.zero_grad(set_to_none=True)
        loss_sum, seen = 0.0, dict[str, float]()
        for (numbers, part), before, ref in zip(parts, old, references, strict=True):
            logp, entropy = policy.logprobs(
                part, temperature=config.temperature, entropy_grad=config.entropy_bonus > 0
            )
            loss, about = grpo_loss(
                logp, gain[numbers], part.mask, old_logp=before, ref_logp=ref, beta=config.beta, clip=config.clip,
                loss_type=config.loss_type, max_len=config.max_new_tokens, entropy=entropy,
            )  # fmt: skip
            share = _share(part, samples, gain, config)
            loss = loss * share
            if config.entropy_bonus:
                loss = loss - config.entropy_bonus * (entropy * part.mask).sum() / samples.mask.sum()
            torch.autograd.backward(loss)
            loss_sum += float(loss.detach())
            spent += int(part.mask.sum())
            weight = float(part.mask.sum() / tokens)  # figures are means over tokens
            seen = {name: seen.get(name, 0.0) + value * weight for name, value in about.items()}
        norm = run.apply(loss_sum)
    return {**figures, **seen, "loss": loss_sum, "grad_norm": norm}, spent


def _parts(samples: Samples, chosen: Tensor, size: int) -> list[tuple[Tensor, Samples]]:
    """The chosen answers from short to long in pieces of `size`, each as wide as its longest, with their numbers.

    With `size` 0 it is one piece, or as many as `MOST` of `FEWEST` answers or more where they spare enough padding.
    """
    lengths = samples.mask[chosen].sum(1)
    order = lengths.argsort(stable=True)
    pieces = torch.split(order, size or len(order))
    if not size:
        several = order.tensor_split(max(1, min(MOST, len(order) // FEWEST)))
        positions = [
            sum(len(piece) * (samples.prompts.shape[1] + int(lengths[piece[-1]])) for piece in found)
            for found in (pieces, several)
        ]
        if positions[1] <= WORTHWHILE * positions[0]:
            pieces = several
    found = []
    for piece in pieces:
        part, width = samples.part(chosen[piece]), max(1, int(lengths[piece[-1]]))
        found.append((chosen[piece], replace(part, tokens=part.tokens[:, :width], mask=part.mask[:, :width])))
    return found


def _share(part: Samples, whole: Samples, gain: Tensor, config: GRPOConfig) -> float:
    """What a piece's loss counts in the batch's: pieces added up are the loss of all answers at once."""
    if config.algorithm == "expert_iteration":
        kept = int((gain > 0).sum())
        if config.loss_type in ("grpo", "dr_grpo"):
            return len(part) / kept
        return float(part.mask.sum() / whole.mask[gain > 0].sum())
    if config.loss_type in ("grpo", "dr_grpo"):
        return len(part) / len(whole)
    return float(part.mask.sum() / whole.mask.sum())


def row_numbers(count: int, batch: int, step: int, seed: int) -> list[int]:
    """Which rows step `step` (from 0) draws: all rows in a fresh order, again and again, `batch` a step."""
    places = range(step * batch, (step + 1) * batch)
    return [int(_order(count, place // count, seed)[place % count]) for place in places]


@lru_cache(maxsize=4)
def _order(count: int, number: int, seed: int) -> NDArray[np.int64]:
    """The order of `count` rows in pass `number`; a pass is many steps long."""
    return np.random.default_rng([seed, number, 17]).permutation(count)


def _copy(policy: Policy) -> Policy:
    """The policy as it is now, for good: its module is copied, the rest shared."""
    import copy

    twin = copy.copy(policy)
    module = copy.deepcopy(policy.module).requires_grad_(False).eval()
    name = next((n for n, value in vars(policy).items() if value is policy.module), None)
    if name is None:
        raise InputError(
            f"{type(policy).__name__} does not hold its module as an attribute; beta needs a copy of it"
        )
    setattr(twin, name, module)
    return twin


class _Run:
    """What both kinds of learning share: the optimizer, its rate, checkpoints, the loop."""

    def __init__(
        self,
        policy: Policy,
        config: GRPOConfig | SupervisedConfig,
        rows: int,
        checkpoint: Path | None,
        every: int,
    ) -> None:
        if every < 1:
            raise InputError("every must be at least 1")
        self.policy, self.config, self.checkpoint, self.every = policy, config, checkpoint, every
        self.weights = [weight for weight in policy.module.parameters() if weight.requires_grad]
        if not self.weights:
            raise InputError("the policy has no weights that learn")
        self.optimizer = torch.optim.AdamW(
            self.weights, lr=config.learning_rate, weight_decay=config.weight_decay, betas=(0.9, 0.999), fused=True
        )  # fmt: skip
        self.settings = json.dumps([type(config).__name__, asdict(config), rows], sort_keys=True)
        self.result = TrainResult(policy)
        self.done = self._resume() if checkpoint is not None else 0

    def go(
        self,
        step: Callable[[int], tuple[dict[str, float], int]],
        steps: int,
        on_step: Callable[[int, dict[str, float]], None] | None,
    ) -> TrainResult:
        started, before = time.perf_counter(), self.result.seconds
        was_training = self.policy.module.training
        self.policy.module.eval()  # dropout off: probabilities are those that were sampled from
        try:
            for number in range(self.done, steps):
                self._set_rate(number, steps)
                figures, tokens = step(number)
                self.result.history.append({"step": number + 1, **figures})
                self.result.tokens += tokens
                self.result.seconds = before + time.perf_counter() - started
                if on_step is not None:
                    on_step(number + 1, figures)
                if self.checkpoint is not None and ((number + 1) % self.every == 0 or number + 1 == steps):
                    self._save(self.checkpoint, number + 1)
        finally:
            self.policy.module.train(was_training)
        return self.result

    def update(self, loss: Tensor) -> float:
        """One gradient step on `loss`."""
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        return self.apply(float(loss.detach()))

    def apply(self, loss: float) -> float:
        """One step on the gradients that are there; their norm before it was cut."""
        norm = float(torch.nn.utils.clip_grad_norm_(self.weights, self.config.grad_clip))
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise DivergedError(
                f"the loss is {loss} and its gradient {norm} at step {len(self.result.history) + 1}; lower "
                f"learning_rate ({self.config.learning_rate})"
            )
        self.optimizer.step()
        return norm

    def _set_rate(self, number: int, steps: int) -> None:
        warm = min(1.0, (number + 1) / self.config.warmup) if self.config.warmup else 1.0
        fall = 1 - number / steps if self.config.schedule == "linear" else 1.0
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate * min(warm, fall)

    def _save(self, path: Path, done: int) -> None:
        state = {
            "settings": self.settings, "module": self.policy.module.state_dict(),
            "optimizer": self.optimizer.state_dict(), "done": done, "history": self.result.history,
            "tokens": self.result.tokens, "seconds": self.result.seconds,
        }  # fmt: skip
        beside = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.save(state, beside)
            beside.replace(path)
        except (OSError, RuntimeError) as error:
            raise OutputError(f"cannot write the checkpoint {path}: {error}") from error
        finally:
            with contextlib.suppress(OSError):
                beside.unlink(missing_ok=True)

    def _resume(self) -> int:
        path = self.checkpoint
        if path is None or not path.exists():
            return 0
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            found = state["settings"]
        except Exception as error:  # torch raises many kinds for a damaged file
            raise InputError(
                f"the checkpoint {path} cannot be read ({type(error).__name__}); delete it to train anew"
            ) from error
        if found != self.settings:
            raise InputError(f"the checkpoint {path} belongs to another run; use another path, or delete it")
        self.policy.module.load_state_dict(state["module"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.result.history = list(state["history"])
        self.result.tokens, self.result.seconds = int(state["tokens"]), float(state["seconds"])
        return int(state["done"])
