"""What a run is told: the keys of its TOML file, which are the names of the command's flags.

An unknown key is an error. `commented_toml` writes a file with every key, its default and what it means.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from firsthand.corpora.files import Layout
from firsthand.launch.settings import Settings, read_settings
from firsthand.launch.settings import commented_toml as settings_toml

__all__ = ["ReferenceModel", "RunConfig", "commented_toml", "read_config"]


class ReferenceModel(BaseModel):
    """A model whose ability is known."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    ability: float = Field(allow_inf_nan=False)


class RunConfig(Settings):
    """All that `firsthand preselect run` needs."""

    inputs: list[str] = Field(
        min_length=1, description="files or folders: .txt, .jsonl, .jsonl.gz, .jsonl.zst, .parquet"
    )
    output: str = Field(min_length=1, description="folder for all results; run again to resume")
    models: list[ReferenceModel] = Field(
        description="at least 3 of distinct ability (benchmark accuracy, higher is better); a name is an "
        "installed model, a folder, a .gguf file or a hub name"
    )

    text_field: str = Field("text", description="the field that holds the text")
    id_field: str = Field(
        "id", description="the field that holds a unique id; absent: documents are numbered"
    )
    source_field: str | None = Field(
        None, description="the field to count by in histograms; absent: the file"
    )
    text_unit: Literal["file", "paragraph", "line"] = Field(
        "file", description="what one document is in a .txt: the file, a paragraph, or a line"
    )

    seed: int = Field(0, description="seeds sample, ties, hold-out, training and selection")
    seed_docs: int = Field(2000, ge=2, description="size of the seed sample that the models read, at most")
    min_chars: int = Field(200, ge=1, description="shorter documents are not sampled")
    max_chars: int = Field(4000, ge=1, description="sampled documents are cut here, the same for all models")
    stratify_by: Literal["source", "domain"] | None = Field(
        None,
        description="draw as many documents from each source, or from each web domain where source-field "
        "holds an address (the paper, as far as is known: domain, with seed-docs = 900000); absent: from the "
        "corpus as a whole",
    )
    per_group: int = Field(
        300, ge=1, description="documents of each group of a stratified sample; seed-docs limits their sum"
    )
    max_groups: int = Field(3000, ge=1, description="groups of a stratified sample: the most frequent")
    near_duplicates: Literal["drop", "warn", "ignore"] = Field(
        "drop", description="sampled documents that nearly repeat another one; ignore: do not look for them"
    )

    block: int = Field(1900, ge=2, description="longest window of tokens that a model reads")
    stride: int = Field(512, ge=1, description="new tokens in each further window")
    device: str = Field("auto", description="where models run: auto, cpu, cuda, mps")
    dtype: str | None = Field(
        None, description="precision of the models, such as bfloat16; absent: their own"
    )

    ties: Literal["zero", "half"] = Field("zero", description="what equal losses are worth in S")
    min_gap: float = Field(0.0, ge=0, description="pairs of models closer than this in ability do not count")
    compare: bool = Field(
        False,
        description="also rank the documents by two other estimators, to see whether the choice matters",
    )
    positives: Literal["exact", "quantile", "auto"] = Field(
        "auto",
        description="exact: S = 1; quantile: the top q; auto: exact where enough documents reach S = 1",
    )
    q: float = Field(0.25, gt=0, le=0.5, description="the quantile")
    max_per_class: int = Field(200_000, ge=1, description="at most this many documents a class")
    min_per_class: int = Field(50, ge=1, description="fewer in a class is an error")

    scorer: Literal["auto", "fasttext", "hashed"] = Field(
        "auto", description="auto: fastText, and hashed bigrams only where fastText is not installed"
    )
    epoch: int = Field(3, ge=1, description="fastText: passes over the training set")
    lr: float = Field(0.1, gt=0, description="fastText: learning rate")
    word_ngrams: int = Field(2, ge=1, description="longest n-gram of words")
    dim: int = Field(100, ge=1, description="fastText: width of the vectors")
    bucket: int = Field(200_000, ge=1, description="fastText: n-gram buckets; officially 2000000 (800 MB)")
    holdout: float = Field(0.1, ge=0, lt=1, description="share of the labels kept for the report")

    fraction: float | None = Field(
        None, gt=0, le=1, description="how much of the corpus to keep; absent: 0.1, or the amount"
    )
    amount: int | None = Field(None, ge=1, description="or how many characters, tokens or documents to keep")
    max_share: float | None = Field(
        None, ge=0, le=1, description="no source fills more than this share of what is kept"
    )
    measure: Literal["chars", "tokens", "docs"] = Field("chars", description="what the fraction is of")
    tokenizer: str | None = Field(
        None, description="tokenizer.json, its folder or a hub name, to count tokens"
    )

    engine: Literal["inline", "local", "ray"] = Field(
        "inline",
        description="where losses and scores are computed: here, scores in several processes, or Ray",
    )
    workers: int = Field(1, ge=1, description="processes or Ray actors; with engine inline, one")
    address: str | None = Field(None, description="of a Ray cluster; absent: Ray starts here")

    @property
    def layout(self) -> Layout:
        """Where text, id and source stand in a record."""
        return Layout(self.text_field, self.id_field, self.source_field, self.text_unit)

    def scorer_parameters(self) -> dict[str, Any]:
        """What the chosen kind of scorer takes."""
        shared: dict[str, Any] = {"word_ngrams": self.word_ngrams, "seed": self.seed}
        if self.scorer == "hashed":
            return shared
        return {**shared, "epoch": self.epoch, "lr": self.lr, "dim": self.dim, "bucket": self.bucket}


def read_config(path: Path) -> RunConfig:
    """Read a run's TOML file; raises `InputError` naming file, key and cause."""
    return read_settings(path, RunConfig)


def commented_toml() -> str:
    """A config file with every key, what it means, and its default."""
    examples = {"inputs": ["corpus"], "output": "selected"}
    lines = [settings_toml(RunConfig, "firsthand preselect run", examples, leave_out=("models",))]
    lines += [f"# {RunConfig.model_fields['models'].description}"]
    for example_name, ability in (("models/weak", 31.0), ("models/middle", 38.5), ("gemma-3-270m", 41.2)):
        lines += ["[[models]]", f'name = "{example_name}"', f"ability = {ability}", ""]
    return "\n".join(lines)
