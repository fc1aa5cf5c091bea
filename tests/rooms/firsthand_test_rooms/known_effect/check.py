"""Claim: the treatment's value is higher. Truth: by 2 standard deviations of an item."""

import os
import time

import numpy as np

from firsthand.claims import Measurement, Observation
from firsthand.errors import CheckError

SEEDS = {"smoke": 2, "laptop": 8}
EFFECT = 2.0


def measure(seed: int, scale: str, *, null: bool = False) -> Measurement:
    """Two arms of ten items, the treatment `EFFECT` higher."""
    _misbehave(seed)
    rng = np.random.default_rng([seed, 7])
    effect = 0.0 if null else EFFECT
    return Measurement(
        observations=tuple(
            Observation(clause="difference", arm=arm, seed=seed, item=str(item), value=rng.normal() + shift)
            for arm, shift in (("treatment", effect), ("control", 0.0))
            for item in range(10)
        )
    )


def _misbehave(seed: int) -> None:
    """What tests ask for: a seed that fails, one that is slow, one that kills its worker once."""
    if os.environ.get("TEST_ROOM_FAILS") == str(seed):
        raise CheckError(f"seed {seed} fails on purpose")
    if os.environ.get("TEST_ROOM_SLOW"):
        time.sleep(float(os.environ["TEST_ROOM_SLOW"]))
    marker = os.environ.get("TEST_ROOM_DIES_ONCE")
    if marker and seed == 1 and not os.path.exists(marker):
        with open(marker, "w", encoding="utf-8") as file:
            file.write(str(os.getpid()))
        os.kill(os.getpid(), 9)
