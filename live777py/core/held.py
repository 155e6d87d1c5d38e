"""Requests of nodes that are answered only when it is known whether there is anything to watch.

None of them has a session yet that could be told of a loop. So whoever is asked for the stream
meanwhile is told for whom it is (`core/lineage.py`), and refuses it on behalf of one of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass

from live777py.core.lineage import Path, parse
from live777py.errors import Loop


@dataclass(eq=False, slots=True)
class _Request:
    """One of them: to whom its media would go, through which loop, and how it is woken."""

    path: Path
    loop: Loop | None = None
    is_refused: bool = False
    timeout: asyncio.Timeout | None = None


class HeldRequests:
    """Those of one stream; their number is how many still wait."""

    def __init__(self) -> None:
        self._requests: list[_Request] = []

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def path(self) -> Path:
        """For whom the stream is pulled: those who wait stand one after the other."""
        return tuple(entry for request in self._waiting for entry in request.path)

    @property
    def _waiting(self) -> list[_Request]:
        return [request for request in self._requests if not request.is_refused]

    async def hold(self, path: Path, found: Awaitable[None]) -> None:
        """Wait until it is known whether there is anything.

        Args:
            path: to whom the media would go; () for whoever is no node.
            found: returns when there is something, and raises why there is not.

        Raises:
            Loop: it would come from one of those, and from nowhere else.
        """
        request = _Request(path)
        self._requests.append(request)
        try:
            # `refuse` lets this "time out" at once.
            async with asyncio.timeout(None) as request.timeout:
                await found
        except TimeoutError:
            if request.loop is None:
                raise
            raise request.loop from None
        finally:
            self._requests.remove(request)

    def suspect(self, loop: Loop) -> None:
        """One who was asked for the stream refuses, since a loop would lead through it."""
        entries = set(parse(loop.via))
        for request in self._waiting:
            if entries & {*request.path}:
                # Each has an error of its own to raise.
                request.loop = type(loop)(loop.path, loop.via)

    def refuse(self) -> bool:
        """Nobody else has it: refuse those through which loops lead; whether there were any.

        Who says to be a node without being one has its own request refused, nobody else's.
        """
        led = [request for request in self._waiting if request.loop is not None]
        for request in led:
            request.is_refused = True
            if request.timeout is not None and not request.timeout.expired():
                request.timeout.reschedule(asyncio.get_running_loop().time())
        return bool(led)
