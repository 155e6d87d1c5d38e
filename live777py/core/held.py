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
    """One of them: to whom its media would go, why it is refused, and how it is woken."""

    path: Path
    loop: Loop | None = None
    timeout: asyncio.Timeout | None = None


class HeldRequests:
    """Those of one stream."""

    def __init__(self) -> None:
        self._requests: list[_Request] = []

    @property
    def path(self) -> Path:
        """For whom the stream is pulled: those who wait stand one after the other."""
        return tuple(entry for request in self._waiting for entry in request.path)

    @property
    def _waiting(self) -> list[_Request]:
        return [request for request in self._requests if request.loop is None]

    async def hold(self, path: Path, found: Awaitable[None]) -> None:
        """Wait until it is known whether there is anything.

        Args:
            path: to whom the media would go; () for whoever is no node.
            found: returns when there is something, and raises why there is not.

        Raises:
            Loop: it would come from one of those.
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

    def refuse(self, loop: Loop) -> bool:
        """Refuse those through which a loop leads, and no other; whether there were any.

        Who says to be a node without being one has its own request refused, nobody else's.
        """
        entries = set(parse(loop.via))
        led = [request for request in self._waiting if entries & {*request.path}]
        for request in led:
            # Each has an error of its own to raise.
            request.loop = type(loop)(loop.path, loop.via)
            if request.timeout is not None and not request.timeout.expired():
                request.timeout.reschedule(asyncio.get_running_loop().time())
        return bool(led)
