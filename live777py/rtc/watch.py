"""Tells the operator of packets that were lost on this machine, and what to do about it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

logger = logging.getLogger(__name__)

#: Seconds between two looks, and so between two lines of the same kind.
INTERVAL = 10.0

#: Counters that should stand still, with a sentence for when they do not.
COMPLAINTS = {
    "kernel_dropped": (
        "the kernel dropped %d datagrams that came in: raise [webrtc] receive_buffer, "
        "and net.core.rmem_max if it is the smaller one"
    ),
    "send_dropped": (
        "%d packets to viewers were dropped, since the kernel did not take them: raise "
        "[webrtc] send_buffer, and net.core.wmem_max if it is the smaller one"
    ),
    "lane_dropped": "a thread that sends had no time for %d packets: use more CPUs",
    "lane_overtaken": "a thread that sends came too late for %d packets: use more CPUs",
    "control_dropped_stun": "%d STUN packets were dropped: more came than are handled",
    "control_dropped_dtls": "%d DTLS packets were dropped: more came than are handled",
    "control_dropped_rtcp": "%d RTCP packets were dropped: more came than are handled",
}


class Watch:
    """Looks at counters now and then, and logs a warning for each that has grown.

    Use it as `with Watch(read) as watch:` in a running event loop. It has one timer and no task.
    """

    def __init__(
        self, read: Callable[[], Mapping[str, int]], interval: float = INTERVAL
    ) -> None:
        self._read = read
        self._interval = interval
        self._seen: dict[str, int] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> Self:
        self._schedule()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def look(self) -> None:
        """Compare the counters with what they were at the look before."""
        counters = self._read()
        for name, complaint in COMPLAINTS.items():
            grown = counters[name] - self._seen.get(name, 0)
            if grown > 0:
                logger.warning(complaint, grown)
            self._seen[name] = counters[name]

    def _schedule(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._interval, self._due)

    def _due(self) -> None:
        self.look()
        self._schedule()
