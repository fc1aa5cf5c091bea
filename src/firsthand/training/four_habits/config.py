"""What `firsthand four-habits study` is told."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from firsthand.launch.settings import Settings
from firsthand.training.four_habits.priming import KINDS

__all__ = ["StudySettings"]


class StudySettings(Settings):
    """A model, conditions, a task, and how long it is primed and learns."""

    model: str = Field(
        min_length=1, description="a causal language model: folder, GGUF file or installed name"
    )
    output: str = Field(min_length=1, description="folder for the report, the curves and every run's state")
    conditions: tuple[str, ...] = Field(
        ("none", "all_strategies", "dots"),
        min_length=1,
        description=f"what it is primed on: none, {', '.join(KINDS)}, or files of your own: name=FILE.jsonl "
        "(prompt and completion a line)",
    )
    seeds: int = Field(1, ge=1, description="runs of each condition; intervals are over seeds from 3 on")

    # Countdown, unless rows are given
    problems: int = Field(2000, ge=1, description="Countdown problems to learn from")
    priming_problems: int = Field(1000, ge=1, description="problems that priming traces are written for")
    test_problems: int = Field(256, ge=1, description="problems to be measured on")
    sizes: tuple[int, ...] = Field((3, 4), min_length=1, description="how many numbers a problem has")
    numbers: tuple[int, int] = Field((1, 24), description="range of the numbers")
    targets: tuple[int, int] = Field((10, 25), description="range of the targets")
    format_score: float = Field(
        0.1, ge=0, lt=1, description="what an answer that is not right earns for its form"
    )

    # a task of one's own
    rows: str | None = Field(
        None, description="JSONL of rows to learn from instead: a prompt, and columns for reward"
    )
    tests: str | None = Field(None, description="JSONL of rows to be measured on (with rows)")
    reward: str | None = Field(
        None,
        description="FILE.py:function or package.module:function from (completions, **columns) to numbers",
    )
    correct: str | None = Field(
        None, description="the same for what counts as right; without it, a reward of 1 or more does"
    )
    rules: str | None = Field(
        None, description="a TOML file of patterns that mark habits, instead of the package's"
    )

    priming_steps: int = Field(60, ge=1, description="updates of priming (the paper takes step 60 of 78)")
    priming_batch: int = Field(64, ge=1, description="examples an update")
    priming_learning_rate: float = Field(1e-5, gt=0, description="of AdamW, falling to 0")
    choose_every: int = Field(
        0,
        ge=0,
        description="updates between looks at a fifth of the priming problems, the best of which is taken; 0: last",
    )

    algorithm: Literal["grpo", "rloo", "expert_iteration"] = Field(
        "grpo", description="how rewards are learnt from"
    )
    steps: int = Field(250, ge=1, description="updates of learning")
    prompts_per_step: int = Field(16, ge=1, description="rows an update")
    group_size: int = Field(8, ge=2, description="answers to each row")
    learning_rate: float = Field(1e-6, gt=0, description="of AdamW")
    schedule: Literal["constant", "linear"] = Field("constant", description="of the learning rate")
    beta: float = Field(0.0, ge=0, description="weight of the KL to the primed model")
    loss_type: Literal["grpo", "dr_grpo", "dapo", "bnpo"] = Field(
        "grpo", description="how tokens are averaged"
    )
    temperature: float = Field(1.0, gt=0, description="of sampling")
    max_new_tokens: int = Field(1024, ge=1, description="longest answer")
    micro_batch: int = Field(0, ge=0, description="answers that go through the model at once; 0 is all")

    every: int = Field(10, ge=1, description="updates between looks")
    samples: int = Field(1, ge=1, description="answers to each test prompt at a look")
    backend: Literal["torch", "trl"] = Field("torch", description="who learns from rewards")
    dtype: str = Field("auto", description="precision of the weights: auto, float32, bfloat16")
    device: str = Field("auto", description="auto, cpu, cuda")
    engine: Literal["inline", "local", "ray"] = Field(
        "inline", description="where runs go: one after another here, processes of this machine, Ray"
    )
    jobs: int = Field(1, ge=1, description="runs at once (local, ray)")
    address: str | None = Field(None, description="of a Ray cluster")
    seed: int = Field(0, ge=0, description="of the first run; problems are the same in all")

    @model_validator(mode="after")
    def _fits(self) -> StudySettings:
        if (self.rows is None) != (self.tests is None) or (self.rows is None) != (self.reward is None):
            raise ValueError("a task of your own needs rows, tests and reward together")
        names = [name.partition("=")[0] for name in self.conditions]
        if len(set(names)) < len(names):
            raise ValueError("two conditions have one name")
        for name in self.conditions:
            own = "=" in name
            if not own and name != "none" and name not in KINDS:
                raise ValueError(f"{name!r} is no condition: none, {', '.join(KINDS)}, or name=FILE.jsonl")
            if not own and name != "none" and self.rows is not None:
                raise ValueError(
                    f"{name} is written for Countdown; with rows of your own give name=FILE.jsonl"
                )
        if self.backend == "trl" and self.algorithm != "grpo":
            raise ValueError(f'TRL\'s trainer does no {self.algorithm}; backend = "torch" does')
        return self
