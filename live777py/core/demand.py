"""Whether somebody watches what is pulled for viewers alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from live777py.core.stream import Stream


class Demand:
    """Those who want a stream: its viewers, and guests who have no place in it yet.

    Attributes:
        close_after: seconds for which it is wanted without them; None for always.
        is_wanted: whether it is now.
    """

    def __init__(
        self, stream: Stream, close_after: float | None, closed: Callable[[], None]
    ) -> None:
        """Begin.

        Args:
            stream: that is watched.
            close_after: see above.
            closed: called when it is wanted no more.
        """
        self.close_after = close_after
        self.is_wanted = close_after is None
        self._stream = stream
        self._closed = closed
        self._guests = 0
        self._wanted = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_about_to_end(self) -> bool:
        """Whether nobody watches, and it is wanted for a little longer only."""
        return self._timer is not None

    def watch(self) -> None:
        """See whether somebody still watches, or does again."""
        if self._guests or self._stream.has_audience:
            self.cancel()
            self.is_wanted = True
            self._wanted.set()
        elif self.is_wanted and self._timer is None:
            if self.close_after and self._stream.relay.codecs:
                loop = asyncio.get_running_loop()
                self._timer = loop.call_later(self.close_after, self.close)
            else:
                # Nothing comes that the next viewer could have at once.
                self.close()

    @contextmanager
    def guest(self) -> Iterator[None]:
        """One more for the time of a block; `watch` is to be called in it, and after it."""
        self._guests += 1
        try:
            yield
        finally:
            self._guests -= 1

    def close(self) -> None:
        """Nobody watches any more."""
        self.cancel()
        self.is_wanted = False
        self._closed()

    def cancel(self) -> None:
        """Do not close by itself."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def come(self) -> None:
        """Wait until somebody watches, or `release`."""
        self._wanted.clear()
        await self._wanted.wait()

    def release(self) -> None:
        """Let nobody wait."""
        self._wanted.set()
