"""Where media comes from, told by one node to the next beside the media: RTCP APP packets.

A packet (RFC 3550 section 6.7) of subtype 0 and name `L7Vi` has the path as `core/lineage.py`
writes it, padded with spaces to whole words. Values in, values out: this module owns no timer.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable

from live777py.core import lineage
from live777py.protocol import rtcp

NAME = b"L7Vi"
SUBTYPE = 0

NANOSECONDS = 1_000_000_000

#: Characters of a path, so that a datagram fits every network (IPv6: 1,280 bytes).
LENGTH = 1100

#: Between two messages at least, however often the path changes.
INTERVAL = NANOSECONDS // 5

#: Between two messages while the path stays the same.
REPEAT = 3 * NANOSECONDS

#: Repetitions that come sooner, a tick apart, when the path has changed.
SOON = 2

#: Changes that are believed at once, and how many more a second: each is passed on to many.
#: What comes too soon comes again.
CHANGES = 8
CHANGES_PER_SECOND = 2


class PathTelling:
    """When to tell another node, and what; times are of the monotonic clock.

    Send what `due` returns whenever it returns something; ask after `tell`, and once a second.
    """

    def __init__(self, cname: str) -> None:
        """Begin with nothing to tell.

        Args:
            cname: our canonical name (RFC 3550 section 6.5.1).
        """
        self._ssrc = secrets.randbits(32)
        self._description = rtcp.SourceDescription.named(cname, self._ssrc)
        self._data = b""
        self._soon = 0
        self._next = 0
        self._sent: int | None = None

    def tell(self, path: lineage.Path, now: int) -> None:
        """This is the path from now on."""
        data = lineage.encode(path, LENGTH).encode()
        self._data = data + b" " * (-len(data) % 4)
        self._soon = SOON
        self._next = now if self._sent is None else max(now, self._sent + INTERVAL)

    def due(self, now: int) -> list[rtcp.Packet]:
        """A compound packet to be sent now, if it is time."""
        if not self._data or now < self._next:
            return []
        self._sent = now
        # Any tick of those soon will do.
        self._next = now + (INTERVAL if self._soon else REPEAT)
        self._soon = max(0, self._soon - 1)
        return [
            rtcp.ReceiverReport(self._ssrc),
            self._description,
            rtcp.App(self._ssrc, NAME, self._data, SUBTYPE),
        ]


class PathHearing:
    """What another node tells; whatever it sends costs little."""

    def __init__(self, heard: Callable[[lineage.Path], None]) -> None:
        """Begin.

        Args:
            heard: called with each new path.
        """
        self._heard = heard
        self._last = b""
        self._credit = float(CHANGES)
        self._at: int | None = None

    def receive(self, packet: rtcp.App, now: int) -> None:
        """Take in a packet; what is malformed, or another application's, is passed over."""
        if (packet.name, packet.subtype) != (NAME, SUBTYPE):
            return
        if packet.data == self._last:
            return
        if self._at is not None:
            earned = (now - self._at) * CHANGES_PER_SECOND / NANOSECONDS
            self._credit = min(float(CHANGES), self._credit + earned)
        self._at = now
        if self._credit < 1:
            return
        self._credit -= 1
        path = lineage.parse(packet.data.decode("ascii", "replace"))
        if path:
            self._last = packet.data
            self._heard(path)
