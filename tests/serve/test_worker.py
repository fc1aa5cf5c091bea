"""The worker: one generator at a time, in order, each ended where nobody wants the rest."""

from __future__ import annotations

import asyncio
import threading

import pytest

from firsthand.serve.worker import Worker


async def read(feed):
    return [item async for item in feed]


def test_items_result_and_order():
    events = []

    def work(name):
        events.append(f"{name} begins")
        yield from (1, 2)
        events.append(f"{name} ends")
        return name

    async def main():
        worker = Worker()
        feeds = [worker.start(lambda name=name: work(name)) for name in "abc"]
        items = await asyncio.gather(*map(read, feeds))
        await asyncio.to_thread(worker.close)
        return items, [feed.result for feed in feeds]

    assert asyncio.run(main()) == ([[1, 2]] * 3, ["a", "b", "c"])
    assert events == [f"{name} {what}" for name in "abc" for what in ("begins", "ends")]


def test_all_of_a_generator_happens_in_one_other_thread():
    seen = set()

    def work():
        seen.add(threading.current_thread())
        try:
            yield 1
        finally:
            seen.add(threading.current_thread())

    async def main():
        worker = Worker("a-name")
        await read(worker.start(work))
        await read(worker.start(work))
        await asyncio.to_thread(worker.close)

    asyncio.run(main())
    (thread,) = seen
    assert thread.name.startswith("a-name")
    assert not thread.is_alive()


def test_an_error_is_raised_after_what_came_before_it():
    def work():
        yield 1
        raise ValueError("wrong")

    async def main():
        worker = Worker()
        feed = aiter(worker.start(work))
        items = [await anext(feed)]
        with pytest.raises(ValueError, match="wrong"):
            await anext(feed)
        assert await read(worker.start(lambda: iter_of(7))) == [7]  # the thread goes on
        worker.close()
        return items

    assert asyncio.run(main()) == [1]


def iter_of(item):
    yield item


def test_a_cancelled_generator_is_closed_and_a_waiting_one_never_begins():
    go, closed, begun = threading.Semaphore(0), threading.Event(), []

    def endless():
        try:
            while True:
                go.acquire()
                yield 1
        finally:
            closed.set()

    def second():
        begun.append(1)
        yield 2

    async def main():
        worker = Worker()
        running, waiting = worker.start(endless), worker.start(second)
        go.release()
        assert await anext(aiter(running)) == 1
        waiting.cancel()
        running.cancel()
        assert await read(running) == []
        assert await read(waiting) == []
        assert not closed.is_set()  # it is in the middle of a step
        go.release()
        assert await asyncio.to_thread(closed.wait, 10)
        assert await read(worker.start(lambda: iter_of(3))) == [3]
        worker.close()

    asyncio.run(main())
    assert not begun


def test_closing_ends_what_runs():
    go, closed = threading.Semaphore(0), []

    def endless():
        try:
            while True:
                go.acquire()
                yield 1
        finally:
            closed.append(1)

    async def main():
        worker = Worker()
        feed = worker.start(endless)
        go.release()
        await anext(aiter(feed))
        closing = asyncio.ensure_future(asyncio.to_thread(worker.close))
        assert await read(feed) == []
        go.release()
        await closing
        assert closed
        assert await read(worker.start(lambda: iter_of(3))) == [3]  # and it can be used again
        worker.close()

    asyncio.run(main())


def test_a_loop_that_is_gone_ends_its_generator():
    go, closed = threading.Semaphore(0), threading.Event()

    def endless():
        try:
            while True:
                go.acquire()
                yield 1
        finally:
            closed.set()

    async def main():
        worker = Worker()
        worker.start(endless)
        return worker

    worker = asyncio.run(main())
    go.release()
    go.release()
    assert closed.wait(10)
    worker.close()
