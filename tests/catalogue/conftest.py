"""Cards, rooms and records small enough to read, made on the spot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from firsthand.catalogue.card import Card, read_card
from firsthand.catalogue.rooms import Room
from firsthand.claims.model import (
    Claim,
    ClaimResult,
    Clause,
    ClauseResult,
    Environment,
    Interval,
    Observation,
    Record,
)

CARD = '''
slug = "sock-sorter"
name = "SockSorter"
title = "Sorting Socks by Moonlight"
arxiv = "3105.00001"
domain = "data"
summary = """
Finds the pairs in a heap of socks.
You get a drawer in order.
"""
bibtex = "@misc{socks, title = {Sorting Socks by Moonlight}}"
'''

CLAIMS = """
[[claims]]
id = "pairs"
sentence = "More pairs are found by moonlight than by hand."
primary = true
[[claims.clauses]]
id = "pairs"
kind = "greater"
unit = "pairs"

[[claims]]
id = "joy"
sentence = "People like the drawer."
measured = false
reason = "no people here"
"""


@pytest.fixture
def make_room(tmp_path: Path) -> Callable[..., Room]:
    """A room of another distribution in a folder of its own, whose `__init__.py` is `source`."""

    def make(source: str = '"""Socks."""\n', *, claims: bool = False) -> Room:
        folder = tmp_path / "acme" / "socks"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "card.toml").write_text(CARD + (CLAIMS if claims else ""), encoding="utf-8")
        (folder / "__init__.py").write_text(source, encoding="utf-8")
        return Room(read_card(folder / "card.toml"), "acme_for_tests.socks", folder, "acme")

    return make


def record_for(room: Room, *, source_hash: str, exploratory: bool = False, evidence: str = "real") -> Record:
    """A laptop record in which the primary claim holds and the other one cannot be measured."""
    results = tuple(_result(claim, evidence) for claim in room.card.claims)
    return Record(
        room=room.slug,
        title=room.card.title,
        domain=room.domain,
        scale="laptop",
        exploratory=exploratory,
        seeds=(0, 1, 2),
        results=results,
        observations=(Observation(clause="pairs", arm="treatment", seed=0, value=3.0),),
        started="2031-05-06T07:08:09Z",
        wall_seconds=1.0,
        cpu_seconds=1.0,
        peak_memory_mib=1.0,
        load_average=0.0,
        source_hash=source_hash,
        environment=Environment(python="3.11", platform="x", processor="x", cores=2, memory_gib=4.0),
    )


def write_record(room: Room, record: Record) -> None:
    """Put a record where the room looks for it."""
    room.results_folder.mkdir(parents=True, exist_ok=True)
    room.record_path(record.scale).write_text(record.model_dump_json(), encoding="utf-8")


def card_with(**changes: object) -> dict[str, object]:
    """The fields of a valid card, some of them changed."""
    fields: dict[str, object] = {
        "slug": "sock-sorter",
        "name": "SockSorter",
        "title": "Sorting Socks by Moonlight",
        "arxiv": "3105.00001",
        "domain": "data",
        "summary": "Finds the pairs in a heap of socks.",
        "bibtex": "@misc{socks}",
    }
    Card.model_validate(fields)
    return {**fields, **changes}


def _result(claim: Claim, evidence: str) -> ClaimResult:
    if not claim.measured:
        return ClaimResult(claim=claim, verdict=None, reason=claim.reason)
    clause: Clause = claim.clauses[0]
    interval = Interval(estimate=2.5, low=2.0, high=3.0, n=3)
    judged = ClauseResult(clause=clause, interval=interval, verdict="holds")
    claim = claim.model_copy(update={"evidence": evidence})
    return ClaimResult(claim=claim, verdict="holds", clauses=(judged,))
