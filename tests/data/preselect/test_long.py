"""Slower than a room's 30 seconds (`make long`): the committed record can be made again, bit for bit."""

import pytest

from firsthand.catalogue.rooms import find_room
from firsthand.claims.record import describe_environment, read_record
from firsthand.data.preselect import check
from firsthand.launch import single_thread


@pytest.mark.long
def test_seed_0_of_the_laptop_record_repeats():
    room = find_room("preselect")
    record = read_record(room.record_path("laptop"))
    here = describe_environment()
    if room.is_stale(record):
        pytest.skip("the record is stale: other sources made it")
    if (record.environment.packages, record.environment.processor) != (here.packages, here.processor):
        pytest.skip("another processor or other package versions made the record")
    with single_thread():
        measured = check.measure(0, "laptop")
    assert measured.observations == tuple(o for o in record.observations if o.seed == 0)
