"""Things that wait for their turn: in order within a line, lines independent of one another."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from live777py.aio.backoff import Backoff

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class Line(Generic[K, T]):
    """What waits for one turn after the other.

    Attributes:
        backoff: how long to wait after a failure, kept by whoever works.
        is_under_way: somebody works on its head.
    """

    def __init__(self, key: K, backoff: Backoff) -> None:
        self.key = key
        self.backoff = backoff
        self.is_under_way = False
        self.timer: asyncio.TimerHandle | None = None
        self.items: deque[tuple[int, T]] = deque()

    @property
    def head(self) -> T:
        """Whose turn it is."""
        return self.items[0][1]


class Lines(Generic[K, T]):
    """Lines that share one bound.

    Workers call `take`, and then either `done` or `postpone` for the line that they got, which
    nobody else gets before. So of a line one thing at a time is under way, and while it fails
    and waits, workers are free for other lines.
    """

    def __init__(
        self, limit: int, new_backoff: Callable[[], Backoff] = Backoff
    ) -> None:
        """Begin without any.

        Args:
            limit: how much may wait in all lines together.
            new_backoff: makes that of a line.
        """
        self._limit = limit
        self._new_backoff = new_backoff
        self._count = 0
        self._lines: dict[K, Line[K, T]] = {}
        self._ready: OrderedDict[K, Line[K, T]] = OrderedDict()
        self._order: OrderedDict[int, Line[K, T]] = OrderedDict()
        self._wake = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        """How many things wait or are under way."""
        return len(self._order)

    def put(self, key: K, item: T) -> T | None:
        """Put something at the end of a line; what had to go for it, the oldest, if anything."""
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = Line(key, self._new_backoff())
            self._make_ready(line)
        self._count += 1
        line.items.append((self._count, item))
        self._order[self._count] = line
        self._empty.clear()
        return self._drop_oldest() if len(self._order) > self._limit else None

    async def take(self) -> Line[K, T]:
        """Wait for a line whose turn it is."""
        while not self._ready:
            self._wake.clear()
            await self._wake.wait()
        _, line = self._ready.popitem(last=False)
        line.is_under_way = True
        return line

    def done(self, line: Line[K, T]) -> None:
        """The head of a line is finished with."""
        line.is_under_way = False
        number, _ = line.items.popleft()
        self._remove(number)
        if line.items:
            self._make_ready(line)
        else:
            del self._lines[line.key]

    def postpone(self, line: Line[K, T], delay: float) -> None:
        """The head of a line is to be tried again after some seconds."""
        line.is_under_way = False
        loop = asyncio.get_running_loop()
        line.timer = loop.call_later(delay, self._make_ready, line)

    async def emptied(self) -> None:
        """Wait until nothing waits or is under way."""
        await self._empty.wait()

    def close(self) -> int:
        """Forget everything; how much it was."""
        for line in self._lines.values():
            if line.timer is not None:
                line.timer.cancel()
        left = len(self._order)
        self._lines.clear()
        self._ready.clear()
        self._order.clear()
        self._empty.set()
        return left

    def _make_ready(self, line: Line[K, T]) -> None:
        line.timer = None
        self._ready[line.key] = line
        self._wake.set()

    def _drop_oldest(self) -> T:
        # What is under way may be arriving just now; there are only as many as workers.
        number, line = next(
            (number, line)
            for number, line in self._order.items()
            if not (line.is_under_way and line.items[0][0] == number)
        )
        # The oldest of a line is its head, or follows the one that is under way.
        index = 1 if line.is_under_way else 0
        _, item = line.items[index]
        del line.items[index]
        self._remove(number)
        if not line.items:
            self._forget(line)
        return item

    def _forget(self, line: Line[K, T]) -> None:
        if line.timer is not None:
            line.timer.cancel()
        self._ready.pop(line.key, None)
        del self._lines[line.key]

    def _remove(self, number: int) -> None:
        del self._order[number]
        if not self._order:
            self._empty.set()
