"""What came of one RTP source, by its sequence numbers; nothing is decrypted."""

from __future__ import annotations

from live777py.protocol.rtp import sequence_delta

#: Numbers within which a duplicate is recognised.
_REMEMBERED = 1024
_SEEN = (1 << _REMEMBERED) - 1


class Received:
    """Counts the packets of one SSRC; duplicates count once.

    Attributes:
        first, highest: extended sequence numbers.
        packets: how many different ones came.
        bytes: of all that came, also of duplicates.
        duplicates: how many came again.
    """

    __slots__ = ("bytes", "duplicates", "first", "highest", "packets", "seen")

    def __init__(self, sequence: int) -> None:
        self.first = sequence
        self.highest = sequence - 1
        self.packets = 0
        self.bytes = 0
        self.duplicates = 0
        #: A bit for each of the latest numbers up to the highest.
        self.seen = 0

    def take(self, sequence: int, size: int) -> None:
        """A packet with this number has come."""
        self.bytes += size
        ahead = (sequence - self.highest + 0x8000 & 0xFFFF) - 0x8000
        if ahead > 0:
            self.highest += ahead
            self.seen = (self.seen << ahead | 1) & _SEEN
            self.packets += 1
        elif self.seen >> -ahead & 1:
            self.duplicates += 1
        else:
            if -ahead < _REMEMBERED:
                self.seen |= 1 << -ahead
            self.packets += 1
            self.first = min(self.first, self.highest + ahead)

    def has(self, sequence: int) -> bool:
        """Whether a recent number has come."""
        behind = -sequence_delta(sequence, self.highest & 0xFFFF)
        return 0 <= behind < _REMEMBERED and bool(self.seen >> behind & 1)

    @property
    def lost(self) -> int:
        """Numbers between the first and the highest that have not come."""
        return self.highest - self.first + 1 - self.packets
