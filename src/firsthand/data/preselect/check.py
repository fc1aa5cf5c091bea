"""Claim: data that predicts is data that teaches. Does PreSelect's tenth of a pool teach more than another?

Treatment: a student model trained on the tenth of a pool that PreSelect selects. Controls: the same student
trained on a random tenth, on the tenth of lowest perplexity, and on the tenth that PreSelect puts last; at
the same number of characters and of training tokens. Measurement: bits per character of held-out prose
(fewer is better) and accuracy on a 4-way cloze made from it.

A negative control is a claim of its own. Where the reference models differ only in how much of one data
mix they have read, and the pool holds boilerplate, every better model compresses boilerplate better, so
PreSelect takes boilerplate and loses to a random tenth. Diverse models and a deduplicated pool are the
method's precondition, shown to matter.

Texts, pool and trained models all differ from seed to seed: the seed is the unit of analysis. Sizes are in
`scales`, texts and models in `world`. The gpu scale is the same code on CUDA in bfloat16; that code has run
on processors only so far, at a miniature size, in the tests. The paper's own sizes are counted and not
run (`dry_run`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from firsthand.claims import Gate, Measurement, Observation
from firsthand.corpora.documents import Document
from firsthand.data.preselect.estimator import PreSelect
from firsthand.data.preselect.scales import DEVICE, FRACTION, SEEDS, SIZES, Size
from firsthand.data.preselect.selection import lowest_loss_selection, random_selection, select_by_score
from firsthand.data.preselect.text import bits_per_char
from firsthand.data.preselect.world import BOILERPLATE_POOL, POOL, Reference, Student, World, repeatable

__all__ = ["DEVICE", "DRY_RUN", "SEEDS", "measure"]

# By name: what an account says of costs is no part of what a record was made with.
DRY_RUN = {
    scale: f"firsthand.data.preselect.dry_run:{scale}" for scale in ("smoke", "laptop", "gpu", "paper")
}

CONTROLS = ("random", "lowest-perplexity", "inverse")
CLAIMS = (
    "beats-random", "answers-better-than-random", "beats-lowest-perplexity", "beats-inverse", "needs-diverse-models",
)  # fmt: skip


def measure(seed: int, scale: str, *, null: bool = False) -> Measurement:
    """One seed: its texts, reference models, selections and students.

    With `null` each control's student meets another one of the same texts, with first weights and an order
    of reading of its own, in the place of PreSelect's.
    """
    device, dtype = DEVICE.get(scale, ("cpu", "float32"))
    return _measure_at(seed, SIZES[scale], device, dtype, null=null)


def _measure_at(seed: int, size: Size, device: str, dtype: str, *, null: bool = False) -> Measurement:
    from firsthand.lm.backend import resolve_device

    resolve_device(device)  # a missing one is found before any work
    with repeatable(device):
        return _measure_in(World(seed, size, device, dtype), null)


def _measure_in(world: World, null: bool) -> Measurement:
    # Treatment and controls: what each arm's student reads.
    references = world.diverse_references()
    arms, details = _selections(world, world.pool(POOL), references, ("preselect", *CONTROLS))
    nested = world.nested_references()
    nested_arms, nested_details = _selections(
        world, world.pool(BOILERPLATE_POOL), nested, ("preselect", "random")
    )
    # Measurement.
    students = {arm: world.student(texts) for arm, texts in arms.items()}
    nested_students = {arm: world.student(texts) for arm, texts in nested_arms.items()}
    observations = []
    for clause, texts, found, control, quantity in (
        ("bits-beat-random", arms, students, "random", "bits"),
        ("accuracy-beats-random", arms, students, "random", "accuracy"),
        ("bits-beat-lowest-perplexity", arms, students, "lowest-perplexity", "bits"),
        ("bits-beat-inverse", arms, students, "inverse", "bits"),
        ("nested-lose-to-random", nested_arms, nested_students, "random", "bits"),
    ):
        treated = world.student(texts[control], number=1) if null else found["preselect"]
        for arm, student in (("preselect", treated), (control, found[control])):
            value = float(getattr(student, quantity))
            observations.append(Observation(clause=clause, arm=arm, seed=world.seed, value=value))
    least = world.size.least_ability
    diverse_claims = tuple(claim for claim in CLAIMS if claim != "needs-diverse-models")
    return Measurement(
        observations=tuple(observations),
        gates=(
            _learned(references, least, "the diverse", diverse_claims),
            _learned(nested, least, "the nested", ("needs-diverse-models",)),
        ),
        candidates=dict.fromkeys(arms, world.size.pool),
        details={
            "corpus, SHA-256": world.harvested,
            "students": {arm: student.row() for arm, student in students.items()},
            "students on the boilerplate pool": {
                arm: student.row() for arm, student in nested_students.items()
            },
            "mixes of the diverse models": world.mixes(),
            "selection": details,
            "selection by nested models": nested_details,
            "charts": _charts(details, nested_details, students),
        },
    )


def _learned(models: Sequence[Reference], least: float, which: str, claims: tuple[str, ...]) -> Gate:
    """Abilities that are all near chance order the models by luck, and strength with them."""
    best = max(model.ability for model in models)
    return Gate(
        name=f"{which} reference models learn",
        passed=best > least,
        detail=f"the best gives the right answer {best:.1%} on average; chance is 25 %, {least:.0%} is wanted",
        claims=claims,
    )


# --- treatment and controls ---------------------------------------------------------------------------


def _selections(
    world: World, pool: Sequence[Document], references: Sequence[Reference], arms: Sequence[str]
) -> tuple[dict[str, list[str]], dict[str, Any]]:
    """The texts of each of `arms` out of one pool, and what was selected, by kind."""
    documents = [Document(id=text.id, text=text.text, source=text.kind) for text in pool]
    sizes = [len(document.text) for document in documents]
    ids = [document.id for document in documents]
    rng = np.random.default_rng([world.seed, 11])
    sample = [documents[i] for i in sorted(rng.choice(len(documents), world.size.seed_sample, replace=False))]
    losses = np.stack([world.nats(model.model, [d.text for d in sample]) for model in references], axis=1)
    ability = [model.ability for model in references]
    method = PreSelect(
        positives="quantile", min_per_class=world.size.min_per_class, scorer="fasttext",
        bucket=world.size.bucket, seed=world.seed,
    ).fit(sample, losses, ability)  # fmt: skip
    scores = np.fromiter(method.score(documents), dtype=np.float32, count=len(documents))
    budget: dict[str, Any] = {"sizes": sizes, "fraction": FRACTION, "ids": ids, "seed": world.seed}
    chosen = {
        "preselect": select_by_score(scores, **budget),
        "random": random_selection(**budget),
        "inverse": select_by_score(-scores, **budget),
    }
    if "lowest-perplexity" in arms:
        best = references[int(np.argmax(ability))]
        texts = [document.text for document in documents]
        chosen["lowest-perplexity"] = lowest_loss_selection(
            bits_per_char(world.nats(best.model, texts), texts), **budget
        )
    chosen = {arm: chosen[arm] for arm in arms}
    kinds = np.array([document.source for document in documents])
    shares = {
        arm: {kind: float(np.mean(kinds[selection.indices] == kind)) for kind in sorted(set(kinds))}
        for arm, selection in chosen.items()
    }
    strength = method.strength_
    of_sample = np.array([document.source for document in sample])
    details = {
        "share of kinds": shares,
        "strength by kind": {k: float(np.nanmean(strength[of_sample == k])) for k in sorted(set(of_sample))},
        "share at strength 1": {
            k: float(np.mean(strength[of_sample == k] == 1)) for k in sorted(set(of_sample))
        },
        "ability": ability,
        "scorer, held out": method.report_.as_dict() if method.report_ else {},
    }
    return {arm: [documents[i].text for i in s.indices] for arm, s in chosen.items()}, details


# --- for the system's page ------------------------------------------------------------------------------


def _charts(
    diverse: Mapping[str, Any], nested: Mapping[str, Any], results: Mapping[str, Student]
) -> list[dict[str, Any]]:
    def kinds(details: Mapping[str, Any], title: str) -> dict[str, Any]:
        shares = details["share of kinds"]
        return {
            "kind": "bar",
            "title": title,
            "y_label": "share of the selected documents",
            "series": [
                {"name": arm, "x": list(shares[arm]), "y": list(shares[arm].values())}
                for arm in ("preselect", "random")
            ],
        }

    strengths = [
        ("diverse models", diverse["strength by kind"]),
        ("nested models", nested["strength by kind"]),
    ]
    return [
        kinds(diverse, "What is selected, diverse reference models"),
        {
            "kind": "bar",
            "title": "Bits per character of held-out prose after training on each arm",
            "y_label": "bits per character (fewer is better)",
            "series": [{"name": "student", "x": list(results), "y": [r.bits for r in results.values()]}],
        },
        kinds(nested, "What is selected, nested reference models on a pool with boilerplate"),
        {
            "kind": "bar",
            "title": "Mean predictive strength by kind of document",
            "y_label": "strength S",
            "series": [{"name": name, "x": list(by), "y": list(by.values())} for name, by in strengths],
        },
    ]
