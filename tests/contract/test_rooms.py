"""The contract, over every room that has a check: one test a promise, so that a report names it."""

from pathlib import Path

import pytest

from firsthand.catalogue.rooms import all_rooms
from firsthand.testing import PROMISES, features_are_proven

CHECKOUT = Path(__file__).parents[2]
ROOMS = [room for room in all_rooms() if room.has_check and room.origin == "firsthand"]


@pytest.mark.parametrize("promise", PROMISES, ids=lambda p: p.__name__)
@pytest.mark.parametrize("room", ROOMS, ids=lambda r: r.slug)
def test_room_keeps(room, promise):
    if promise is features_are_proven:
        features_are_proven(room, CHECKOUT)
    else:
        promise(room)


@pytest.mark.parametrize("room", ROOMS, ids=lambda r: r.slug)
def test_room_has_its_page(room):
    page = (CHECKOUT / "docs" / "systems" / f"{room.slug}.md").read_text(encoding="utf-8")
    for heading in ("## Five minutes", "## When not to use it"):
        assert heading in page, f"docs/systems/{room.slug}.md lacks {heading!r}"


@pytest.mark.parametrize("room", ROOMS, ids=lambda r: r.slug)
def test_record_is_of_these_sources(room):
    """A laptop record that has gone stale is shown as stale on the board; on main it should not be."""
    from firsthand.claims.record import read_record

    record = read_record(room.record_path("laptop"))
    assert record.scale == "laptop"
    assert not record.exploratory
    measured = [result for result in record.results if result.claim.measured]
    for clause in (clause for result in measured for clause in result.clauses):
        assert clause.interval is not None or clause.mismatch_bound is not None, clause.clause.id
