"""Go, Haskell, Java and Rust, where their compilers are; CI has none of them (`tests/allowed_skips.txt`)."""

from __future__ import annotations

import pytest

from .test_languages import every_verdict


@pytest.mark.parametrize("verdict", ["AC", "WA", "CE", "RTE", "TLE", "MLE"])
@pytest.mark.parametrize("slug", ["go", "haskell", "java", "rust"])
def test_a_language_gives_every_verdict(sandbox, slug, verdict):
    every_verdict(sandbox, slug, verdict)
