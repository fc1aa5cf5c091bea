"""What a user without the packages, or with packages that do not fit, is told."""

from __future__ import annotations

import subprocess
import sys
import types

import pytest

from firsthand.errors import MissingDependencyError
from firsthand.lm import backend


def test_a_missing_package_names_what_to_install():
    with pytest.raises(MissingDependencyError, match=r"pip install 'firsthand\[lm\]'"):
        backend.require("firsthand_no_such_package")


def test_a_missing_package_of_a_package_is_not_blamed_on_it(tmp_path, monkeypatch):
    (tmp_path / "fh_outer.py").write_text("import fh_inner_missing\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModuleNotFoundError, match="fh_inner_missing"):
        backend.require("fh_outer")


def test_a_broken_neighbour_is_named(monkeypatch):
    pytest.importorskip("torch")
    broken = types.ModuleType("transformers")
    broken.__version__ = "0"

    def fail(name):
        try:
            raise RuntimeError("operator torchvision::nms does not exist")
        except RuntimeError as cause:
            raise ModuleNotFoundError(f"Could not import {name}") from cause

    broken.__getattr__ = fail
    monkeypatch.setitem(sys.modules, "transformers", broken)
    with pytest.raises(MissingDependencyError, match=r"torchvision::nms.*pip uninstall torchvision"):
        backend.transformers_class("AutoModelForCausalLM")


def test_importing_the_engines_is_light():
    heavy = "torch", "transformers", "tokenizers", "pandas", "matplotlib", "ray", "scipy.stats"
    program = f"import sys, firsthand.lm, firsthand.corpora; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
