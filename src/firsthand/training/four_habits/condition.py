"""One condition of a study: prime a model, let it learn from rewards, and look at its accuracy and habits on the way.

A condition is a set of examples that the model imitates first; without examples it learns from rewards as it is. What
it learns is the task's business (`task`), what several conditions say together that of `comparison`.
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from firsthand.errors import InputError
from firsthand.launch import this_rank
from firsthand.launch.cache import write_atomically
from firsthand.lm.backend import require
from firsthand.rl.rows import answer_columns, column_names, seeded_generator
from firsthand.rl.trainer import GRPOConfig, SupervisedConfig, train_grpo, train_supervised
from firsthand.training.four_habits.habits import BEHAVIOURS, profile
from firsthand.training.four_habits.task import StudyTask, problem_of

__all__ = ["Look", "Stage", "StudyConfig", "run_condition"]

Stage = Literal["start", "primed", "learnt"]


@dataclass(frozen=True)
class StudyConfig:
    """How long a model is primed and learns, and how it is looked at.

    Attributes:
        priming, learning: of both stages.
        every: steps of learning between looks (the last step is always looked at).
        samples: answers to each test prompt at a look, drawn at the temperature of learning.
        samples_at_the_ends: the same before learning and after it; 0 is `samples`.
        choose_every: steps of priming between looks at the rows held back, the best of which is taken (of equal ones
            the first); 0 takes the last.
        batch: prompts that a look answers at once.
        backend: "torch" (this process) or "trl" (TRL's GRPOTrainer: accelerate, torchrun, vLLM).
    """

    priming: SupervisedConfig = field(
        default_factory=lambda: SupervisedConfig(steps=60, batch=64, learning_rate=1e-5)
    )
    learning: GRPOConfig = field(default_factory=GRPOConfig)
    every: int = 50
    samples: int = 1
    samples_at_the_ends: int = 0
    choose_every: int = 0
    batch: int = 64
    backend: Literal["torch", "trl"] = "torch"

    def __post_init__(self) -> None:
        if (
            min(self.every, self.samples, self.batch) < 1
            or min(self.choose_every, self.samples_at_the_ends) < 0
        ):
            raise InputError("every, samples and batch are at least 1")
        if self.backend not in ("torch", "trl"):
            raise InputError(f"a backend is torch or trl, got {self.backend!r}")


@dataclass(frozen=True)
class Look:
    """A model at one moment.

    Attributes:
        stage, step: "start", "primed", or "learnt" with the steps of learning so far.
        correct: of each test prompt, the share of its answers that are right.
        habits: counts an answer, by habit.
        tokens: words, numbers and signs an answer.
    """

    stage: Stage
    step: int
    correct: tuple[float, ...]
    habits: dict[str, float]
    tokens: float

    @property
    def accuracy(self) -> float:
        """Mean over test prompts."""
        return sum(self.correct) / len(self.correct)


def run_condition(
    policy: Any,
    task: StudyTask,
    examples: Sequence[Mapping[str, Any]],
    config: StudyConfig | None = None,
    *,
    folder: Path | None = None,
    on_look: Callable[[Look], None] | None = None,
) -> list[Look]:
    """Prime `policy` on `examples` (rows with `prompt` and `answer`; none for no priming), let it learn, in place.

    Looks are taken at the start, after priming, and every `config.every` steps of learning. With `folder` the state is
    kept there, and a run that was cut off goes on from it, to the same weights.
    """
    config = config or StudyConfig()
    # Of several processes the first one alone keeps states; the others get to the same ones.
    kept = _Kept(folder if this_rank().first else None, policy, task, examples, config)
    looks = kept.looks

    def look(stage: Stage, step: int) -> None:
        if any((one.stage, one.step) == (stage, step) for one in looks):
            return
        ends = stage != "learnt" or step == config.learning.steps
        looks.append(
            _look(policy, task, config, stage, step, (ends and config.samples_at_the_ends) or config.samples)
        )
        kept.write()
        if on_look is not None:
            on_look(looks[-1])

    if not kept.primed:
        look("start", 0)
        if examples:
            _prime(policy, task, examples, config)
        kept.write_primed()
    look("primed", 0)

    def learnt(step: int) -> None:
        if step % config.every == 0 or step == config.learning.steps:
            look("learnt", step)

    if config.backend == "trl":
        _learn_with_trl(policy, task, config, folder, learnt)
    else:
        train_grpo(
            policy, task.rows, task.rewards, config.learning,
            checkpoint=None if folder is None else folder / "learning.pt", every=config.every,
            rollouts=None if folder is None else folder / "rollouts.jsonl",
            on_step=lambda step, _: learnt(step),
        )  # fmt: skip
    return looks


def _prime(policy: Any, task: StudyTask, examples: Sequence[Mapping[str, Any]], config: StudyConfig) -> None:
    best: tuple[float, Any] | None = None

    def choose(step: int, _: Mapping[str, float]) -> None:
        nonlocal best
        if step % config.choose_every and step != config.priming.steps:
            return
        found = _answers(policy, task.held_back, config, 0, step, config.samples)
        rate = float(_right(task, task.held_back, found, config.samples).mean())
        if best is None or rate > best[0]:
            best = rate, copy.deepcopy(policy.module.state_dict())

    if config.choose_every and not task.held_back:
        raise InputError("choose_every takes the best state on rows held back: give some")
    train_supervised(policy, examples, config.priming, on_step=choose if config.choose_every else None)
    if best is not None:
        policy.module.load_state_dict(best[1])


def _learn_with_trl(
    policy: Any, task: StudyTask, config: StudyConfig, folder: Path | None, learnt: Callable[[int], None]
) -> None:
    require("trl")
    import tempfile

    from transformers import TrainerCallback

    from firsthand.rl.trl_backend import trl_trainer

    class Watch(TrainerCallback):  # type: ignore[misc, unused-ignore]
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            del args, control, kwargs
            learnt(int(state.global_step))

    with tempfile.TemporaryDirectory() as scratch:
        trainer = trl_trainer(
            policy.model, policy.tokenizer, list(task.rows), task.rewards, config.learning,
            Path(scratch) if folder is None else folder / "trl", processes=this_rank().world,
            rollouts=None if folder is None else folder / "rollouts.jsonl",
        )  # fmt: skip
        trainer.add_callback(Watch())
        trainer.train()


# --- looking --------------------------------------------------------------------------------------------------------


def _look(policy: Any, task: StudyTask, config: StudyConfig, stage: Stage, step: int, samples: int) -> Look:
    texts = _answers(policy, task.tests, config, 1 + (stage == "learnt"), step, samples)
    right = _right(task, task.tests, texts, samples)
    problems = [problem_of(row) for row in task.tests for _ in range(samples)]
    found = profile(texts, cast(Any, problems), task.counter)
    return Look(
        stage, step, tuple(float(value) for value in right.mean(axis=1)),
        {name: found.means[name][0] for name in BEHAVIOURS}, found.tokens,
    )  # fmt: skip


def _answers(
    policy: Any, rows: Sequence[Mapping[str, Any]], config: StudyConfig, stream: int, step: int, samples: int
) -> list[str]:
    """`samples` answers to each row's prompt, in a row; they depend on the seed, the stage and the step alone."""
    was_training = policy.module.training
    policy.module.eval()
    generator = seeded_generator(config.learning.seed, 1_000 + stream, step)
    texts: list[str] = []
    for start in range(0, len(rows), config.batch):
        drawn = policy.sample(
            rows[start : start + config.batch], group_size=samples, max_new_tokens=config.learning.max_new_tokens,
            temperature=config.learning.temperature, generator=generator,
        )  # fmt: skip
        texts += policy.texts(drawn)
    policy.module.train(was_training)
    return texts


def _right(task: StudyTask, rows: Sequence[Mapping[str, Any]], texts: Sequence[str], samples: int) -> Any:
    """Which of `samples` answers to each row are right, (N, samples)."""
    found = task.correct(texts, **answer_columns(rows, column_names(rows), samples))
    return np.array(found, dtype=float).reshape(-1, samples)


class _Kept:
    """What a run that was cut off goes on from: its looks, and the weights as priming left them."""

    def __init__(
        self,
        folder: Path | None,
        policy: Any,
        task: StudyTask,
        examples: Sequence[Mapping[str, Any]],
        config: StudyConfig,
    ) -> None:
        self.folder, self.policy, self.looks = folder, policy, list[Look]()
        self.settings = json.dumps(
            [asdict(config), len(task.rows), len(task.tests), len(examples)], sort_keys=True
        )
        self.primed = False
        if folder is not None and (folder / "looks.json").is_file():
            self._read(folder)

    def _read(self, folder: Path) -> None:
        import torch

        try:
            found = json.loads((folder / "looks.json").read_text(encoding="utf-8"))
            looks = [Look(**{**one, "correct": tuple(one["correct"])}) for one in found["looks"]]
            same = found["settings"] == self.settings
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{folder / 'looks.json'} cannot be read ({error!r}); delete {folder}"
            ) from error
        if not same:
            raise InputError(
                f"{folder} belongs to a run with other settings; use another folder, or delete it"
            )
        self.looks = looks
        if (folder / "primed.pt").is_file():
            self.policy.module.load_state_dict(
                torch.load(folder / "primed.pt", map_location="cpu", weights_only=True)
            )
            self.primed = True

    def write(self) -> None:
        if self.folder is not None:
            text = json.dumps(
                {"settings": self.settings, "looks": [asdict(one) for one in self.looks]}, indent=1
            )
            write_atomically(self.folder / "looks.json", text)

    def write_primed(self) -> None:
        import torch

        if self.folder is not None:
            beside = self.folder / f".primed.pt.{os.getpid()}.part"
            torch.save(self.policy.module.state_dict(), beside)
            beside.replace(self.folder / "primed.pt")
