"""Says what goes wrong at most once a second, and how often it did."""

from __future__ import annotations

import asyncio
import logging

#: Seconds between two lines.
PAUSE = 1.0


class Complaints:
    """Warnings about one thing; those that come too fast are counted and told together.

    `close` tells what is left; it may be called more than once.
    """

    def __init__(self, logger: logging.Logger, about: str) -> None:
        self._logger = logger
        self._about = about
        self._latest = ""
        self._count = 0
        self._timer: asyncio.TimerHandle | None = None

    def add(self, text: str) -> None:
        """Something went wrong."""
        self._count += 1
        self._latest = text
        if self._timer is None:
            self._tell()

    def close(self) -> None:
        """Nothing more will come."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._count:
            self._log()

    def _tell(self) -> None:
        self._log()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(PAUSE, self._pause_over)

    def _pause_over(self) -> None:
        self._timer = None
        if self._count:
            self._tell()

    def _log(self) -> None:
        others = f" (and {self._count - 1} more)" if self._count > 1 else ""
        self._logger.warning("%s: %s%s", self._about, self._latest, others)
        self._count = 0
