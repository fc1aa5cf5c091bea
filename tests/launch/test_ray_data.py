"""Items through Ray Data's actors: one object a process, the killed ones made again, errors as themselves."""

import json
import logging
import math
import os
import types

import pytest

from firsthand.errors import CheckError, InputError
from firsthand.launch.ray_data import _failure, _Held, _pickled, _share, map_with_actors
from firsthand.launch.ray_session import ray_session

from .actors_for_tests import Numbers

HERE = "tests.launch.actors_for_tests"


@pytest.fixture(scope="module")
def ray():
    """One Ray of two processors for the whole file: it takes seconds to start."""
    pytest.importorskip("ray")
    with ray_session(2) as started:
        yield started


def items(count):
    return [{"seed": seed} for seed in range(count)]


def test_two_processes_one_killed_and_the_same_results(ray, tmp_path):
    """The way up is real."""
    alone = Numbers(2.0)
    inline = [alone(item)["number"] for item in items(8)]
    seen = []
    arguments = {"scale": 2.0, "folder": str(tmp_path)}
    there = map_with_actors(
        items(8), f"{HERE}:Numbers", arguments, workers=2, on_finished=lambda *done: seen.append(done)
    )
    assert (tmp_path / "died").exists(), "no worker was killed"
    processes = {int(path.name.partition("-")[2]) for path in tmp_path.glob("process-*")}
    assert len(processes) >= 3  # two at once, and the one that took the dead one's place
    assert os.getpid() not in processes
    assert [result["number"] for result in there] == inline
    assert all(math.isnan(result["nothing"]) for result in there)
    assert sorted(place for place, _ in seen) == list(range(8))
    assert all(there[place] is result for place, result in seen)
    calls = {}
    for result in there:  # one object in each process, on one thread
        assert (result["made"], result["blas"], result["variable"]) == (1, [1], "1")
        calls.setdefault(result["process"], []).append(result["calls"])
    assert all(sorted(numbers) == list(range(1, len(numbers) + 1)) for numbers in calls.values())


def test_an_item_that_kills_its_worker_is_given_up_after_three_attempts(ray, tmp_path):
    tries = tmp_path / "tries"
    with pytest.raises(CheckError, match="died 3 times"):
        map_with_actors([{"tries": str(tries)}], f"{HERE}:Dying", {})
    assert tries.read_text() == "xxx"


def test_a_users_error_is_itself_nothing_is_printed_and_settings_come_back(ray, capfd):
    from ray.data import DataContext

    logger = logging.getLogger("ray.data")
    before = (logger.level, DataContext.get_current().enable_progress_bars)
    with pytest.raises(InputError, match="on purpose, when called"):
        map_with_actors(items(4), f"{HERE}:Mistaken", {"when": "called"}, workers=2)
    assert (logger.level, DataContext.get_current().enable_progress_bars) == before
    assert capfd.readouterr() == ("", "")


def failure(actor, arguments, item):
    result, error = _Held(f"{HERE}:{actor}", arguments, None).answer(json.dumps(item))
    assert result is None
    return _failure(actor, 7, _pickled(error), f"{type(error).__name__}: {error}")


def test_what_comes_of_an_error():
    mistake = failure("Mistaken", {"when": "made"}, {"seed": 0})
    assert isinstance(mistake, InputError)
    assert "on purpose, when made" in str(mistake)
    other = failure("Failing", {}, {"seed": 0})
    assert isinstance(other, CheckError)
    assert str(other) == "Failing failed on item 7: ZeroDivisionError: division by zero"
    assert isinstance(other.__cause__, ZeroDivisionError)
    assert str(failure("Failing", {}, {"seed": 1})) == "Failing failed on item 7: Own: what happened"
    assert "AttributeError" in str(failure("NoSuchClass", {}, {}))
    assert "not JSON serializable" in str(failure("Failing", {}, {"seed": 2}))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"workers": 0}, "at least 1"),
        ({"actor": "no_colon"}, "package.module:Class"),
        ({"items": [{"what": object()}]}, "plain JSON"),
        ({"arguments": {"what": {1}}}, "plain JSON"),
    ],
)
def test_bad_arguments(arguments, message):
    good = {"items": items(1), "actor": f"{HERE}:Numbers", "arguments": {}}
    with pytest.raises(InputError, match=message):
        map_with_actors(**{**good, **arguments})


def test_no_items_need_no_ray():
    assert map_with_actors([], f"{HERE}:Numbers", {}) == []


@pytest.mark.parametrize(
    ("there", "workers", "share"),
    [({}, 4, 0.0), ({"GPU": 8.0}, 3, 1.0), ({"GPU": 3.0}, 4, 0.5), ({"GPU": 1.0}, 2, 0.5)],
)
def test_gpus_are_shared_so_that_every_worker_has_a_place(there, workers, share):
    assert _share(types.SimpleNamespace(cluster_resources=lambda: there), workers) == share
    assert not share or int(1 / share) * there["GPU"] >= workers
