"""What a run may use is finite and above 0, whoever asks."""

from __future__ import annotations

import math
from dataclasses import FrozenInstanceError, fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firsthand.errors import InputError
from firsthand.evaluation.codearena.sandbox.limits import Limits

NAMES = [one.name for one in fields(Limits)]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [0, -1, math.inf, -math.inf, math.nan])
def test_what_is_no_limit_is_refused(name, value):
    with pytest.raises(InputError, match=f"limit {name}"):
        Limits(**{name: value})


@given(st.sampled_from(NAMES), st.integers(1, 10**9))
def test_any_finite_number_above_0_is_a_limit(name, value):
    assert getattr(Limits(**{name: value}), name) == value


def test_the_defaults_are_the_documented_ones():
    assert Limits() == Limits(
        cpu_s=2.0, wall_s=6.0, memory_mb=256, processes=64, output_kb=16384, file_mb=16, open_files=128
    )


def test_limits_do_not_change():
    with pytest.raises(FrozenInstanceError):
        Limits().cpu_s = 100
