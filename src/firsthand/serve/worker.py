"""One thread that runs generators one after another, and hands what they yield to an event loop.

Knows threads and event loops; knows nothing of what is generated. A generator is made, run and closed in
the worker's thread, so nothing in it needs a lock, and the loop answers other requests meanwhile.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

__all__ = ["Feed", "Worker"]

Item = TypeVar("Item")
Result = TypeVar("Result")


class Feed(Generic[Item, Result]):
    """What one generator yields, for `async for`; then `result` is what it returned.

    `cancel` (from any thread) closes the generator at its next yield, or keeps it from being started, and
    ends the loop that reads the feed. An error of the generator is raised where the feed is read.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._items: asyncio.Queue[Callable[[], Item]] = asyncio.Queue()
        self._cancelled = threading.Event()
        self._result: list[Result] = []
        self.job: Future[None] | None = None

    @property
    def cancelled(self) -> bool:
        """Whether nobody wants the rest."""
        return self._cancelled.is_set()

    @property
    def result(self) -> Result:
        """What the generator returned; only once the feed was read to its end and not cancelled."""
        return self._result[0]

    def cancel(self) -> None:
        """Ask for the end; it has come once the generator is closed, in the worker's thread."""
        self._cancelled.set()
        if self.job is not None:
            self.job.cancel()
        self._put(_end)

    def __aiter__(self) -> Feed[Item, Result]:
        return self

    async def __anext__(self) -> Item:
        make = await self._items.get()
        if self.cancelled:
            raise StopAsyncIteration
        return make()

    def _put(self, make: Callable[[], Item]) -> None:
        try:
            self._loop.call_soon_threadsafe(self._items.put_nowait, make)
        except RuntimeError:  # the loop is closed: nobody reads any more
            self._cancelled.set()

    def run(self, work: Callable[[], Generator[Item, None, Result]]) -> None:
        """Run the generator of `work` to its end, in the calling thread."""
        if self.cancelled:
            return
        try:
            items = work()
            try:
                while not self.cancelled:
                    item = next(items)
                    self._put(lambda item=item: item)  # type: ignore[misc]
            except StopIteration as end:
                self._result.append(end.value)
            finally:
                items.close()
        except BaseException as error:
            self._put(lambda error=error: _fail(error))  # type: ignore[misc]
        else:
            self._put(_end)


def _end() -> Item:  # type: ignore[type-var]
    raise StopAsyncIteration


def _fail(error: BaseException) -> Item:  # type: ignore[type-var]
    raise error


class Worker:
    """Runs one generator at a time, in the order of asking."""

    def __init__(self, name: str = "firsthand-worker") -> None:
        self._name = name
        self._pool: ThreadPoolExecutor | None = None
        self._feeds: set[Feed[object, object]] = set()

    def start(self, work: Callable[[], Generator[Item, None, Result]]) -> Feed[Item, Result]:
        """Queue the generator that `work` makes; to be called in a running event loop, which reads the feed."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, thread_name_prefix=self._name)
        feed: Feed[Item, Result] = Feed(asyncio.get_running_loop())
        self._feeds.add(feed)  # type: ignore[arg-type]
        feed.job = self._pool.submit(feed.run, work)
        feed.job.add_done_callback(lambda _: self._feeds.discard(feed))
        return feed

    def close(self) -> None:
        """Cancel what runs and what waits, and wait until the thread has ended; `start` begins anew."""
        for feed in list(self._feeds):
            feed.cancel()
        if self._pool is not None:
            self._pool.shutdown(wait=True)
            self._pool = None
