"""RTP packets as values, and the arithmetic of their numbers (RFC 3550).

The relay handles packets in place, in tables; this module is for everything that is not
the fast path: parameter sets, reports, tests. It reads bytes that it is given and owns
nothing.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

#: The modulus of sequence numbers and of timestamps.
SEQUENCES = 1 << 16
TIMESTAMPS = 1 << 32

_NANOSECONDS = 1_000_000_000
#: Seconds from the NTP era (1900) to the Unix epoch (1970), RFC 868.
_NTP_EPOCH = 2_208_988_800

#: "defined by profile" values of the two forms of RFC 8285 section 4.
_ONE_BYTE = 0xBEDE
_TWO_BYTE = 0x1000


class Malformed(ValueError):
    """Bytes that are not the RTP or RTCP that they claim to be.

    Not a `LiveError`: it comes from a connection and never becomes anybody's HTTP
    status. Whoever reads a connection counts it and drops the packet.
    """


@dataclass(frozen=True, slots=True)
class RtpPacket:
    """One RTP packet (RFC 3550 section 5.1), padding removed.

    Attributes:
        extensions: header extensions by their id (RFC 8285); other kinds of extension
            headers are dropped.
    """

    payload_type: int
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes
    marker: bool = False
    csrcs: tuple[int, ...] = ()
    extensions: dict[int, bytes] = field(default_factory=dict)

    def __bytes__(self) -> bytes:
        head = struct.pack(
            "!BBHII",
            0x80 | bool(self.extensions) << 4 | len(self.csrcs),
            self.marker << 7 | self.payload_type,
            self.sequence,
            self.timestamp,
            self.ssrc,
        )
        csrcs = struct.pack(f"!{len(self.csrcs)}I", *self.csrcs)
        return head + csrcs + _build_extensions(self.extensions) + self.payload


def is_rtcp(data: bytes) -> bool:
    """Tell RTCP from RTP on a shared port (RFC 5761 section 4)."""
    return len(data) >= 2 and 192 <= data[1] <= 223


def parse(data: bytes) -> RtpPacket:
    """Read one RTP packet.

    Raises:
        Malformed: for anything that is not a whole RTP packet.
    """
    if len(data) < 12 or data[0] >> 6 != 2:
        raise Malformed("not an RTP packet: no header of version 2")
    first, second, sequence, timestamp, ssrc = struct.unpack_from("!BBHII", data)
    position = 12 + 4 * (first & 0x0F)
    if position > len(data):
        raise Malformed("RTP packet ends within its CSRC list")
    csrcs = struct.unpack_from(f"!{first & 0x0F}I", data, 12)
    extensions: dict[int, bytes] = {}
    if first & 0x10:
        extensions, position = _parse_extensions(data, position)
    end = len(data)
    if first & 0x20:
        if not 1 <= data[-1] <= end - position:
            raise Malformed("RTP packet with more padding than payload")
        end -= data[-1]
    return RtpPacket(
        payload_type=second & 0x7F,
        sequence=sequence,
        timestamp=timestamp,
        ssrc=ssrc,
        payload=data[position:end],
        marker=bool(second & 0x80),
        csrcs=csrcs,
        extensions=extensions,
    )


def payload_of(data: bytes) -> bytes:
    """What an RTP packet carries; nothing if it is malformed."""
    try:
        return parse(data).payload
    except Malformed:
        return b""


def _parse_extensions(data: bytes, position: int) -> tuple[dict[int, bytes], int]:
    """Read an extension header; the second value is where the payload begins."""
    if position + 4 > len(data):
        raise Malformed("RTP packet ends within its extension header")
    profile, words = struct.unpack_from("!HH", data, position)
    position += 4
    end = position + 4 * words
    if end > len(data):
        raise Malformed("RTP packet ends within its extensions")
    two_byte = profile & 0xFFF0 == _TWO_BYTE
    extensions: dict[int, bytes] = {}
    if not two_byte and profile != _ONE_BYTE:
        return extensions, end
    while position < end:
        if data[position] == 0:  # padding between elements, RFC 8285 section 4.1.2
            position += 1
            continue
        if two_byte:
            if position + 2 > end:
                raise Malformed("RTP packet ends within an extension")
            identifier, length = data[position], data[position + 1]
            position += 2
        else:
            identifier, length = data[position] >> 4, (data[position] & 0x0F) + 1
            position += 1
            if identifier == 15:  # reserved: stop, RFC 8285 section 4.2
                break
        if position + length > end:
            raise Malformed("RTP packet ends within an extension")
        if identifier:
            extensions[identifier] = data[position : position + length]
        position += length
    return extensions, end


def _build_extensions(extensions: dict[int, bytes]) -> bytes:
    if not extensions:
        return b""
    one_byte = all(
        1 <= identifier <= 14 and 1 <= len(value) <= 16
        for identifier, value in extensions.items()
    )
    body = b"".join(
        (
            bytes([identifier << 4 | len(value) - 1])
            if one_byte
            else bytes([identifier, len(value)])
        )
        + value
        for identifier, value in extensions.items()
    )
    body += bytes(-len(body) % 4)
    return struct.pack("!HH", _ONE_BYTE if one_byte else _TWO_BYTE, len(body) // 4) + (
        body
    )


def sequence_delta(later: int, earlier: int) -> int:
    """How far `later` is ahead of `earlier`, −2^15 to 2^15 − 1, over the wrap."""
    return (later - earlier + 0x8000) % SEQUENCES - 0x8000


def timestamp_delta(later: int, earlier: int) -> int:
    """How far timestamp `later` is ahead of `earlier`, over the wrap."""
    return (later - earlier + 0x80000000) % TIMESTAMPS - 0x80000000


def extend_sequence(sequence: int, near: int) -> int:
    """The extended number (cycles << 16 | number) of `sequence` that is nearest `near`.

    May be negative for a packet that was reordered before the very first one.
    """
    return near + sequence_delta(sequence, near % SEQUENCES)


def ntp_from_unix_ns(nanoseconds: int) -> int:
    """Unix time to a 64-bit NTP timestamp (RFC 3550 section 4, RFC 5905 section 6)."""
    seconds, fraction = divmod(nanoseconds, _NANOSECONDS)
    # Modulo 2^64: era 1 begins in 2036.
    return ((seconds + _NTP_EPOCH) << 32 | (fraction << 32) // _NANOSECONDS) % (1 << 64)


def ntp_difference_ns(later: int, earlier: int) -> int:
    """Nanoseconds from one 64-bit NTP timestamp to another, over the era's end."""
    delta = (later - earlier + (1 << 63)) % (1 << 64) - (1 << 63)
    return delta * _NANOSECONDS >> 32


def ntp_middle(ntp: int) -> int:
    """The middle 32 of the 64 bits, as LSR carries them (RFC 3550 section 6.4.1)."""
    return ntp >> 16 & 0xFFFFFFFF
