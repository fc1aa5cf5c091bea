"""Claim: the treatment's value is higher. Truth: both arms are the same normal distribution."""

import numpy as np

from firsthand.claims import Measurement, Observation

SEEDS = {"smoke": 2, "laptop": 8}
EFFECT = 0.0


def measure(seed: int, scale: str, *, null: bool = False) -> Measurement:
    """Two arms of ten items, the treatment `EFFECT` higher."""
    rng = np.random.default_rng([seed, 7])
    effect = 0.0 if null else EFFECT
    return Measurement(
        observations=tuple(
            Observation(clause="difference", arm=arm, seed=seed, item=str(item), value=rng.normal() + shift)
            for arm, shift in (("treatment", effect), ("control", 0.0))
            for item in range(10)
        )
    )
