"""What `firsthand visual-rft fit` is told."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from firsthand.errors import InputError
from firsthand.launch.lines import read_json_lines
from firsthand.launch.settings import Settings

__all__ = ["FitSettings", "read_rows"]


class FitSettings(Settings):
    """A model, rows, a task, and how long to learn which way."""

    model: str = Field(min_length=1, description="a vision-language model: folder or hub name")
    rows: str = Field(min_length=1, description="rows to learn from: JSONL of `firsthand visual-rft convert`")
    output: str = Field(
        min_length=1, description="folder for the model that comes out, its log and its rollouts"
    )
    task: Literal["detect", "classify", "ground"] = Field("detect", description="what the rows ask for")
    method: Literal["rewards", "supervised"] = Field(
        "rewards", description="learn from rewards, or imitate the same rows for as many steps: the control"
    )
    tests: str | None = Field(None, description="rows to be measured on before and after, JSONL")
    remember: str | None = Field(
        None, description="rows of what the model could do before: measured too, to see what is forgotten"
    )

    steps: int = Field(200, ge=1, description="updates")
    prompts_per_step: int = Field(16, ge=1, description="rows an update")
    group_size: int = Field(8, ge=2, description="answers to each row")
    learning_rate: float = Field(1e-6, gt=0, description="of AdamW, falling to 0")
    beta: float = Field(0.04, ge=0, description="weight of the KL to the model as it was")
    temperature: float = Field(1.0, gt=0, description="of sampling")
    max_new_tokens: int = Field(256, ge=1, description="longest answer")
    loss_type: Literal["grpo", "dr_grpo", "dapo", "bnpo"] = Field(
        "grpo", description="how tokens are averaged"
    )
    earned_confidence: bool = Field(
        True,
        description="a box's confidence counts only where it hits; false is the paper's rule, which can be fooled",
    )

    lora_rank: int = Field(0, ge=0, description="train LoRA adapters of this rank; 0 trains all weights")
    freeze_vision: bool = Field(False, description="leave the vision tower as it is")
    dtype: str = Field("auto", description="precision of the weights: auto, float32, bfloat16")
    device: str = Field("auto", description="auto, cpu, cuda")
    accumulate: int = Field(1, ge=1, description="parts that an update's answers are split into")
    save_every: int = Field(
        50, ge=0, description="steps between states written to output; run again to go on"
    )
    vllm: bool = Field(False, description="sample with vLLM, where it is installed")
    seed: int = Field(0, ge=0, description="of rows and draws")

    @model_validator(mode="after")
    def _divides(self) -> FitSettings:
        answers = self.prompts_per_step * (self.group_size if self.method == "rewards" else 1)
        if answers % self.accumulate:
            raise ValueError(f"an update of {answers} answers does not divide into {self.accumulate} parts")
        return self


def read_rows(path: Path) -> list[dict[str, object]]:
    """Rows of a JSONL file; a relative picture lies beside the file. Raises `InputError` naming the line."""
    rows = []
    for number, row in read_json_lines(path, hint="firsthand visual-rft convert writes rows"):
        try:
            pictures = row["image"] if isinstance(row["image"], list) else [row["image"]]
            places = [str(path.parent / picture) for picture in pictures]  # an absolute one stays as it is
            rows.append({**row, "image": places if isinstance(row["image"], list) else places[0]})
        except (KeyError, TypeError) as error:
            raise InputError(f"{path}, line {number} is no row: {error!r}") from error
    if not rows:
        raise InputError(f"{path} holds no rows")
    return rows
