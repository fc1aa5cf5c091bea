from __future__ import annotations

import pytest

from firsthand.query.speql.errors import BudgetExceeded
from firsthand.query.speql.pool import Pool
from firsthand.query.speql.views import Text, View


def view(number: int, rows: int = 1) -> View:
    return View(number, Text(str(number), ("a",), ""), f"v_{number}", ("INTEGER",), rows, (4.0,))


def ids(pool: Pool) -> list[int]:
    return [one.id for one in pool.views()]


def test_reference_10_the_least_recently_used_goes() -> None:
    dropped: list[View] = []
    pool = Pool(2, 1e9, dropped.append)
    a, b, c = view(1), view(2), view(3)
    pool.add(a)
    pool.add(b)
    with pool.reading([a]) as there:
        assert there
    pool.add(c)
    assert ids(pool) == [1, 3]
    assert dropped == [b]


def test_what_is_being_read_stays() -> None:
    dropped: list[View] = []
    pool = Pool(2, 1e9, dropped.append)
    a, b, c = view(1), view(2), view(3)
    pool.add(a)
    pool.add(b)
    with pool.reading([a]):  # c is made from a: b goes, although a was used before it
        with pool.reading([b]):
            pass
        pool.add(c)
        assert ids(pool) == [1, 3]
        pool.clear()
        assert a not in dropped
    assert a in dropped
    assert c in dropped


def test_bytes_have_a_budget() -> None:
    dropped: list[View] = []
    pool = Pool(10, 100, dropped.append)
    pool.add(view(1, 20))
    pool.add(view(2, 20))
    assert ids(pool) == [2]
    with pytest.raises(BudgetExceeded, match="do not fit"):
        pool.add(view(3, 26))
    assert ids(pool) == [2]
    assert [one.id for one in dropped] == [1, 3]


def test_nothing_is_given_up_for_what_does_not_fit() -> None:
    pool = Pool(2, 1e9, lambda one: None)
    a, b = view(1), view(2)
    pool.add(a)
    pool.add(b)
    with pool.reading([a, b]), pytest.raises(BudgetExceeded):
        pool.add(view(3))
    assert sorted(ids(pool)) == [1, 2]


def test_a_view_that_has_gone() -> None:
    pool = Pool(1, 1e9, lambda one: None)
    pool.add(view(1))
    pool.add(view(2))
    with pool.reading([view(1)]) as there:
        assert not there
