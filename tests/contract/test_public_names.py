"""Public names do not change by accident: what is exported is what the snapshot says.

A change that is meant: renew the snapshot with `python tests/contract/test_public_names.py` and say so in
the changelog.
"""

import importlib
import json
from pathlib import Path

from firsthand.catalogue.rooms import all_rooms

SNAPSHOT = Path(__file__).with_name("public_names.json")
ENGINES = (
    "firsthand.claims",
    "firsthand.corpora",
    "firsthand.errors",
    "firsthand.launch",
    "firsthand.lm",
    "firsthand.lm.decoding",
    "firsthand.testing",
)


def public_names() -> dict[str, list[str]]:
    own = [room.package for room in all_rooms() if room.has_check and room.origin == "firsthand"]
    return {name: sorted(importlib.import_module(name).__all__) for name in (*ENGINES, *own)}


def test_public_names_are_those_of_the_snapshot():
    assert public_names() == json.loads(SNAPSHOT.read_text())


def test_every_public_name_exists():
    for name, exported in public_names().items():
        module = importlib.import_module(name)
        assert [entry for entry in exported if not hasattr(module, entry)] == []


if __name__ == "__main__":
    SNAPSHOT.write_text(json.dumps(public_names(), indent=1) + "\n")
