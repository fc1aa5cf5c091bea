"""What the experiment costs at each scale: weights, tokens, FLOPs, memory, hours. Nothing is trained or read.

Models are built on torch's meta device, which has shapes and no memory, so the weights are counted on the
very architectures that a run would make. The paper's own sizes are here and only here. What rests on an
assumption and not on a count stands under "assumptions".

A token costs 2·P FLOPs to score and 6·P to train on, P being all weights (Kaplan et al. 2020, arXiv
2001.08361); the products of attention itself come on top and grow with the length of the text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from firsthand.data.preselect.scales import CHARACTERS_A_TOKEN, DEVICE, SEEDS, SIZES, Shape, Size

__all__ = [
    "ABILITY",
    "PEAK",
    "REFERENCES",
    "STUDENT",
    "UTILISATION",
    "Architecture",
    "gpu",
    "laptop",
    "paper",
    "smoke",
]

# An H100 SXM multiplies bfloat16 at most so fast (dense, FLOPs a second); large models reach some 40 % of it,
# models of tens of millions of weights far less.
PEAK, UTILISATION, SMALL_UTILISATION = 989e12, 0.40, 0.10
_BYTES_TRAINED = {
    "float32": 16,
    "bfloat16": 16,
}  # float32 weights, gradients, two moments; autocast keeps them
_BYTES_WEIGHT = {"float32": 4, "bfloat16": 2}


@dataclass(frozen=True)
class Architecture:
    """A Llama by its sizes, as `transformers.LlamaConfig` takes them."""

    name: str
    vocabulary: int
    width: int
    feed_forward: int
    layers: int
    heads: int
    key_value_heads: int
    context: int
    tied: bool = False

    def config(self) -> Any:
        """The same as a `LlamaConfig`."""
        from firsthand.lm.backend import transformers_class

        return transformers_class("LlamaConfig")(
            vocab_size=self.vocabulary,
            hidden_size=self.width,
            intermediate_size=self.feed_forward,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            num_key_value_heads=self.key_value_heads,
            max_position_embeddings=self.context,
            tie_word_embeddings=self.tied,
        )

    def on_meta(self) -> Any:
        """The model with every weight on the meta device."""
        import torch

        from firsthand.lm.backend import transformers_class

        with torch.device("meta"):
            return transformers_class("LlamaForCausalLM")(self.config())


# Section 3 of LLaMA (arXiv 2302.13971) and of Llama 2 (2307.09288); abilities as in the released script.
REFERENCES = (
    Architecture("LLaMA-1 7B", 32_000, 4_096, 11_008, 32, 32, 32, 2_048),
    Architecture("LLaMA-1 13B", 32_000, 5_120, 13_824, 40, 40, 40, 2_048),
    Architecture("LLaMA-1 30B", 32_000, 6_656, 17_920, 60, 52, 52, 2_048),
    Architecture("LLaMA-1 65B", 32_000, 8_192, 22_016, 80, 64, 64, 2_048),
    Architecture("Llama-2 7B", 32_000, 4_096, 11_008, 32, 32, 32, 4_096),
    Architecture("Llama-2 13B", 32_000, 5_120, 13_824, 40, 40, 40, 4_096),
)
ABILITY = (75.38, 77.27, 80.47, 81.19, 76.30, 79.46)
# The released training script; its tokenizer has 64 000 entries.
STUDENT = Architecture("student 1B", 64_000, 1_536, 12_288, 12, 8, 1, 4_096)
STUDENT_BATCH, STUDENT_STEPS = 256, 29_000
SEED_DOCUMENTS, SEED_TOKENS = 900_000, 1_000  # the latter a document, on average
FASTTEXT_BUCKETS, FASTTEXT_WIDTH = 2_000_000, 100
POOL_TOKENS = 300_000_000_000


def _weights(model: Any) -> int:
    from firsthand.lm import parameters

    return parameters(model)


def _row(
    name: str, weights: int, work: str, tokens: float, *, runs: int = 1, small: bool = False
) -> dict[str, Any]:
    """One line of work: `runs` times the same over `tokens`, its FLOPs and what holds the model in memory.

    `small` is one of our own models: float32 when it scores as well, and little of the peak.
    """
    flops = float((6 if work == "training" else 2) * weights * tokens * runs)
    bytes_a_weight = 16 if work == "training" else 4 if small else 2
    return {
        "model": name,
        "weights": weights,
        "work": work,
        "runs": runs,
        "tokens a run": round(tokens),
        "FLOPs": flops,
        "GB": round(weights * bytes_a_weight / 1e9, 3),
        "hours": round(flops / (PEAK * (SMALL_UTILISATION if small else UTILISATION)) / 3600, 4),
    }


def _total(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {
        "FLOPs": sum(row["FLOPs"] for row in rows),
        "accelerator hours": round(sum(row["hours"] for row in rows), 3),
        "largest in memory, GB": max(row["GB"] for row in rows),
    }


def paper() -> dict[str, Any]:
    """The paper's main experiment: six reference models, one classifier, a 1B student for each arm."""
    read = SEED_DOCUMENTS * SEED_TOKENS
    counted = {model.name: _weights(model.on_meta()) for model in (*REFERENCES, STUDENT)}
    rows = [_row(model.name, counted[model.name], "scoring", read) for model in REFERENCES]
    student, taught = counted[STUDENT.name], STUDENT_BATCH * STUDENT.context * STUDENT_STEPS
    for arm in ("PreSelect's tenth", "random tenth"):
        rows.append(_row(f"{STUDENT.name}, {arm}", student, "training", taught))
    beyond = [
        _row(f"{STUDENT.name}, whole pool (a-tenth-of-the-compute)", student, "training", POOL_TOKENS),
        _row(
            "LLaMA-1 65B, pool (control of lowest perplexity)", counted["LLaMA-1 65B"], "scoring", POOL_TOKENS
        ),
    ]
    return {
        "seed sample": {"documents": SEED_DOCUMENTS, "tokens": read},
        "student": {
            "layers": STUDENT.layers, "width": STUDENT.width, "feed-forward (SwiGLU)": STUDENT.feed_forward,
            "heads": STUDENT.heads, "key-value heads": STUDENT.key_value_heads, "context": STUDENT.context,
            "vocabulary": STUDENT.vocabulary, "batch": STUDENT_BATCH, "steps": STUDENT_STEPS, "tokens": taught,
            "optimiser": "AdamW 0.9, 0.95, 1e-8; 2e-4 to 2e-5, cosine, 50 steps of warm-up; decay 0.1; clip 1.0",
        },
        "scorer": {
            "kind": "fastText", "buckets": FASTTEXT_BUCKETS, "width": FASTTEXT_WIDTH,
            "GB": FASTTEXT_BUCKETS * FASTTEXT_WIDTH * 4 / 1e9,
        },
        "work": rows,
        "total": _total(rows),
        "not in the total": beyond,
        "assumptions": [
            f"an accelerator's peak is {PEAK / 1e12:.0f} TFLOPs in bfloat16 (H100 SXM, dense), of which "
            f"{UTILISATION:.0%} is reached; both are assumed, neither is measured",
            f"a seed document has {SEED_TOKENS} tokens on average; those longer than the window of 1 900 cost more, "
            "for each further window reads up to 1 388 tokens again",
            "memory: bfloat16 weights while scoring; 16 bytes a weight while training (float32 weights, "
            "gradients, two moments); activations come on top",
            "LLaMA-1 65B fits one accelerator of 141 GB and none of 80 GB",
            "the fastText pass over the pool and the reading of files take processors, which are not counted",
        ],
        "commands": _paper_commands(),
    }  # fmt: skip


def _paper_commands() -> list[str]:
    folders = [model.name.lower().replace(" ", "-") for model in REFERENCES]
    models = " ".join(f"--model {folder}" for folder in folders)
    abilities = " ".join(
        f"--ability {folder}={ability:.2f}" for folder, ability in zip(folders, ABILITY, strict=True)
    )
    return [
        f"torchrun --nproc-per-node 8 -m firsthand preselect losses pool {models} --output paper "
        f"--seed-docs {SEED_DOCUMENTS} --device cuda --dtype bfloat16",
        f"firsthand preselect strength paper/losses --output paper/strength.parquet {abilities}",
        "firsthand preselect train paper/seed.jsonl --strength paper/strength.parquet --output paper/scorer "
        f"--positives exact --scorer fasttext --bucket {FASTTEXT_BUCKETS}",
        "firsthand preselect score pool --scorer paper/scorer --output paper/scores",
        "firsthand preselect select pool --scores paper/scores --output paper/kept --fraction 0.1",
    ]


def smoke() -> dict[str, Any]:
    """What `--scale smoke` computes."""
    return _own_scale("smoke")


def laptop() -> dict[str, Any]:
    """What `--scale laptop` computes."""
    return _own_scale("laptop")


def gpu() -> dict[str, Any]:
    """What `--scale gpu` computes."""
    return _own_scale("gpu")


def _own_scale(scale: str) -> dict[str, Any]:
    """The account of one of `SIZES`, all seeds together."""
    size, seeds = SIZES[scale], SEEDS[scale]
    device, dtype = DEVICE.get(scale, ("cpu", "float32"))
    rows = _rows(size, seeds)
    if device == "cpu":  # hours of an accelerator that is not used
        rows = [{key: value for key, value in row.items() if key != "hours"} for row in rows]
    total = {
        "FLOPs": sum(row["FLOPs"] for row in rows),
        "largest in memory, GB": max(row["GB"] for row in rows),
    }
    assumptions = [
        f"documents are as long as they may be ({size.chars} characters) and {CHARACTERS_A_TOKEN} characters make a "
        "token; most are shorter",
        "memory: 16 bytes a weight while training (float32 weights, gradients, two moments); activations come "
        "on top",
        "harvesting the corpus, training the scorer and scoring the pool with it take processors, which are not "
        "counted",
    ]
    if device != "cpu":
        total["accelerator hours"] = round(sum(row["hours"] for row in rows), 3)
        assumptions.insert(
            0,
            f"an accelerator's peak is {PEAK / 1e12:.0f} TFLOPs in bfloat16 (H100 SXM, dense), of which models "
            f"this small reach {SMALL_UTILISATION:.0%}; both are assumed, neither is measured: this scale has run on "
            "processors only, at a miniature size",
        )
    return {
        "seeds": seeds,
        "device": device,
        "dtype": dtype,
        "pool": {"documents": size.pool, "characters": size.pool * size.chars},
        "seed sample": {"documents": size.seed_sample},
        "scorer": {"kind": "fastText", "buckets": size.bucket, "GB": size.bucket * FASTTEXT_WIDTH * 4 / 1e9},
        "work": rows,
        "total": total,
        "assumptions": assumptions,
        "commands": [f"firsthand check preselect --scale {scale} --resume"],
    }


def _rows(size: Size, seeds: int) -> list[dict[str, Any]]:
    """All training and scoring of `seeds` seeds, model by model."""
    a_document = size.chars / CHARACTERS_A_TOKEN
    abilities, report = (4 * items * _CLOZE_TOKENS for items in (size.ability_items, size.report_items))
    rows = []

    def add(name: str, shape: Shape, runs: int, *, reads: float = 0, scores: float = 0) -> None:
        weights = _tiny_weights(size, shape)
        if reads:  # characters
            tokens = size.steps(reads) * size.batch * size.context
            rows.append(_row(name, weights, "training", tokens, runs=runs, small=True))
        if scores:  # tokens
            rows.append(_row(name, weights, "scoring", scores, runs=runs, small=True))

    sample = size.seed_sample * a_document + abilities
    a_pass = size.reference_passes * size.chars
    for number, shape in enumerate(size.reference_shapes):
        runs = seeds * len(range(number, size.references, len(size.reference_shapes)))
        add(f"reference {_named(shape)}", shape, runs, reads=a_pass * size.reference_documents, scores=sample)
    for documents in size.nested:
        add(f"nested, {documents} documents", size.nested_shape, seeds, reads=a_pass * documents)
    add("nested", size.nested_shape, seeds * len(size.nested), scores=sample)
    largest = max(size.reference_shapes, key=lambda shape: _tiny_weights(size, shape))
    add("best reference on the pool, at most", largest, seeds, scores=size.pool * a_document)
    add(
        f"student {_named(size.student_shape)}", size.student_shape, seeds * _STUDENTS,
        reads=size.student_characters, scores=size.benchmark * a_document + report,
    )  # fmt: skip
    return rows


_CLOZE_TOKENS = 36  # context and continuation of an item
_STUDENTS = 6  # four arms, and two on the boilerplate pool


def _named(shape: Shape) -> str:
    return f"{shape.width} × {shape.layers}"


def _tiny_weights(size: Size, shape: Shape) -> int:
    import torch

    from firsthand.lm import tiny_llama

    with torch.device("meta"):
        return _weights(tiny_llama(size.vocabulary, **shape._asdict(), context=size.context))
