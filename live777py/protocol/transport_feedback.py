"""Transport-wide congestion control feedback (draft-holmer-rmcat-transport-wide-cc-01).

A part of `rtcp` that is long enough for a module of its own.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from .rtp import Malformed, sequence_delta

_TRANSPORT_LAYER_FEEDBACK = 205
_FORMAT = 15
_MISSING, _SMALL, _LARGE = 0, 1, 2
_MAX_RUN = 0x1FFF
_ONE_BIT_SYMBOLS = 14
_TWO_BIT_SYMBOLS = 7


@dataclass(frozen=True, slots=True)
class TransportFeedback:
    """When packets of one transport arrived (section 3.1).

    Attributes:
        base_sequence: the transport-wide number of the first packet that this tells of.
        count: how many packets it tells of, received or not.
        reference_time: in 64 ms, a signed 24-bit number with an arbitrary origin.
        feedback_count: 8 bits, one more for each feedback sent.
        received: pairs of a sequence number and the arrival since the one before (or
            since the reference time), in 250 µs. What is missing is not listed, so a
            small packet cannot ask for a large value.
    """

    sender_ssrc: int
    media_ssrc: int
    base_sequence: int
    count: int
    reference_time: int
    feedback_count: int
    received: tuple[tuple[int, int], ...]

    @classmethod
    def from_body(
        cls, sender_ssrc: int, media_ssrc: int, body: bytes
    ) -> TransportFeedback:
        """Read what follows the SSRCs.

        Raises:
            Malformed: when it is broken or ends too soon.
        """
        if len(body) < 8:
            raise Malformed("transport feedback is too short")
        base, count, times = struct.unpack_from("!HHI", body)
        symbols, position = _parse_chunks(body, count)
        received = []
        for offset, symbol in symbols:
            size = 1 if symbol == _SMALL else 2
            if position + size > len(body):
                raise Malformed("transport feedback ends within its deltas")
            delta = int.from_bytes(
                body[position : position + size], signed=symbol == _LARGE
            )
            received.append((base + offset & 0xFFFF, delta))
            position += size
        reference = times >> 8
        if reference & 0x800000:
            reference -= 0x1000000
        return cls(
            sender_ssrc=sender_ssrc,
            media_ssrc=media_ssrc,
            base_sequence=base,
            count=count,
            reference_time=reference,
            feedback_count=times & 0xFF,
            received=tuple(received),
        )

    def __bytes__(self) -> bytes:
        """The whole RTCP packet.

        Raises:
            ValueError: when a received packet is outside of the range or a delta does
                not fit 16 bits: then a new feedback has to begin.
        """
        body = self._body()
        padding = -len(body) % 4
        if padding:
            body += bytes(padding - 1) + bytes([padding])
        head = struct.pack(
            "!BBHII",
            0x80 | bool(padding) << 5 | _FORMAT,
            _TRANSPORT_LAYER_FEEDBACK,
            2 + len(body) // 4,
            self.sender_ssrc,
            self.media_ssrc,
        )
        return head + body

    def _body(self) -> bytes:
        symbols = [_MISSING] * self.count
        deltas = b""
        for number, delta in self.received:
            offset = sequence_delta(number, self.base_sequence) & 0xFFFF
            if offset >= self.count or not -0x8000 <= delta <= 0x7FFF:
                raise ValueError(f"packet {number} does not fit this feedback")
            small = 0 <= delta <= 0xFF
            symbols[offset] = _SMALL if small else _LARGE
            deltas += delta.to_bytes(1 if small else 2, signed=not small)
        times = (self.reference_time & 0xFFFFFF) << 8 | self.feedback_count
        head = struct.pack("!HHI", self.base_sequence, self.count, times)
        return head + b"".join(_build_chunks(symbols)) + deltas


def _parse_chunks(body: bytes, count: int) -> tuple[list[tuple[int, int]], int]:
    """Offsets and symbols of received packets; and where the deltas begin."""
    symbols: list[tuple[int, int]] = []
    position, offset = 8, 0
    while offset < count:
        if position + 2 > len(body):
            raise Malformed("transport feedback ends within its status chunks")
        (chunk,) = struct.unpack_from("!H", body, position)
        position += 2
        if chunk >> 15 == 0:  # run length, section 3.1.3
            symbol, run = chunk >> 13, min(chunk & _MAX_RUN, count - offset)
            if symbol != _MISSING:
                # Every received packet has at least a byte of delta.
                if run > len(body) - position:
                    raise Malformed("transport feedback ends within its deltas")
                symbols += ((offset + i, symbol) for i in range(run))
            offset += run
            if run == 0:
                raise Malformed("transport feedback with an empty run")
            continue
        # status vector, section 3.1.4
        if chunk >> 14 & 1:
            vector = [chunk >> shift & 3 for shift in range(12, -1, -2)]
        else:
            vector = [chunk >> shift & 1 for shift in range(13, -1, -1)]
        vector = vector[: count - offset]
        symbols += ((offset + i, s) for i, s in enumerate(vector) if s != _MISSING)
        offset += len(vector)
    if any(symbol > _LARGE for _, symbol in symbols):
        raise Malformed("transport feedback with a reserved symbol")
    return symbols, position


def _build_chunks(symbols: list[int]) -> Iterator[bytes]:
    position = 0
    while position < len(symbols):
        symbol = symbols[position]
        run = 1
        limit = min(_MAX_RUN, len(symbols) - position)
        while run < limit and symbols[position + run] == symbol:
            run += 1
        ahead = symbols[position : position + _ONE_BIT_SYMBOLS]
        if run >= len(ahead) or (run > _TWO_BIT_SYMBOLS and _LARGE in ahead):
            chunk, used = symbol << 13 | run, run
        elif _LARGE not in ahead:
            chunk, used = 0b10 << 14, _ONE_BIT_SYMBOLS
            for i, value in enumerate(ahead):
                chunk |= value << 13 - i
        else:
            chunk, used = 0b11 << 14, _TWO_BIT_SYMBOLS
            for i, value in enumerate(ahead[:_TWO_BIT_SYMBOLS]):
                chunk |= value << 12 - 2 * i
        yield struct.pack("!H", chunk)
        position += used
