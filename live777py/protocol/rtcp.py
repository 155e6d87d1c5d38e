"""RTCP packets, values to bytes and back.

Reports, source descriptions, goodbyes and what applications define are of RFC 3550 section 6,
feedback of RFC 4585 and RFC 5104, extended reports of RFC 3611, REMB of
draft-alvestrand-rmcat-remb-03; transport-wide feedback has a module of its own. What this
module does not know it keeps as `Unknown`.

RTCP comes from a connection, so a bad packet is nobody's HTTP status: `parse` raises
`rtp.Malformed` and the reader counts and drops the datagram.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

from .rtp import Malformed, sequence_delta
from .transport_feedback import TransportFeedback

_MAX_COUNT = 31
_HEAD = struct.Struct("!BBH")
_SENDER_INFO = struct.Struct("!IQIII")


class PacketType(enum.IntEnum):
    """The RTCP packet types that are understood here (RFC 3550, 4585, 3611)."""

    SENDER_REPORT = 200
    RECEIVER_REPORT = 201
    SOURCE_DESCRIPTION = 202
    BYE = 203
    APPLICATION = 204
    TRANSPORT_FEEDBACK = 205
    PAYLOAD_FEEDBACK = 206
    EXTENDED_REPORT = 207


_NACK = 1
_TRANSPORT_CC = 15
_PLI = 1
_FIR = 4
_APPLICATION = 15
#: Blocks of extended reports (RFC 3611 sections 4.4 and 4.5).
_REFERENCE_TIME = 4
_DELAYS = 5

#: The item of a source description that names an endpoint (RFC 3550 section 6.5.1).
CNAME = 1


@dataclass(frozen=True, slots=True)
class ReportBlock:
    """What one receiver says of one source (RFC 3550 section 6.4.1).

    Attributes:
        fraction_lost: in 1/256 since the report before.
        packets_lost: since the beginning; negative where duplicates outnumber losses.
        highest_sequence: extended by cycles.
        jitter: in timestamp units.
        last_report: the middle 32 bits of the NTP time of the last sender report, or 0.
        delay: since that report came, in 1/65536 s.
    """

    ssrc: int
    fraction_lost: int
    packets_lost: int
    highest_sequence: int
    jitter: int
    last_report: int = 0
    delay: int = 0

    def __bytes__(self) -> bytes:
        return struct.pack(
            "!IIIIII",
            self.ssrc,
            self.fraction_lost << 24 | self.packets_lost & 0xFFFFFF,
            self.highest_sequence & 0xFFFFFFFF,
            self.jitter,
            self.last_report,
            self.delay,
        )


@dataclass(frozen=True, slots=True)
class SenderReport:
    """Where a sender's clocks are and what it has sent (RFC 3550 section 6.4.1)."""

    ssrc: int
    ntp: int
    timestamp: int
    packets: int
    octets: int
    blocks: tuple[ReportBlock, ...] = ()

    def __bytes__(self) -> bytes:
        body = _SENDER_INFO.pack(
            self.ssrc, self.ntp, self.timestamp, self.packets, self.octets
        )
        if self.blocks:
            body += b"".join(map(bytes, self.blocks))
        return _packet(PacketType.SENDER_REPORT, len(self.blocks), body)


@dataclass(frozen=True, slots=True)
class ReceiverReport:
    """What a receiver got (RFC 3550 section 6.4.2); without blocks it opens a compound."""

    ssrc: int
    blocks: tuple[ReportBlock, ...] = ()

    def __bytes__(self) -> bytes:
        body = struct.pack("!I", self.ssrc) + b"".join(map(bytes, self.blocks))
        return _packet(PacketType.RECEIVER_REPORT, len(self.blocks), body)


@dataclass(frozen=True, slots=True)
class Chunk:
    """The items that describe one source: pairs of item type and text."""

    ssrc: int
    items: tuple[tuple[int, bytes], ...]

    def __bytes__(self) -> bytes:
        items = b"".join(bytes([kind, len(text)]) + text for kind, text in self.items)
        # The list ends with at least one null, at a 32-bit boundary (section 6.5).
        return struct.pack("!I", self.ssrc) + items + bytes(4 - len(items) % 4)


@dataclass(frozen=True)
class SourceDescription:
    """Who sources are (RFC 3550 section 6.5).

    Its bytes are kept: it goes with every report.
    """

    chunks: tuple[Chunk, ...]

    @classmethod
    def named(cls, cname: str, *ssrcs: int) -> SourceDescription:
        """All of `ssrcs` are of the endpoint `cname`, so they are played in sync."""
        item = (CNAME, cname.encode()[:255])
        return cls(tuple(Chunk(ssrc, (item,)) for ssrc in ssrcs))

    def cname(self, ssrc: int) -> str | None:
        """The canonical name of a source, None if this packet does not tell."""
        for chunk in self.chunks:
            for kind, text in chunk.items:
                if chunk.ssrc == ssrc and kind == CNAME:
                    return text.decode(errors="replace")
        return None

    def __bytes__(self) -> bytes:
        return self._encoded

    @cached_property
    def _encoded(self) -> bytes:
        body = b"".join(map(bytes, self.chunks))
        return _packet(PacketType.SOURCE_DESCRIPTION, len(self.chunks), body)


@dataclass(frozen=True, slots=True)
class Bye:
    """Sources have ended (RFC 3550 section 6.6)."""

    ssrcs: tuple[int, ...]
    reason: str = ""

    def __bytes__(self) -> bytes:
        body = struct.pack(f"!{len(self.ssrcs)}I", *self.ssrcs)
        if self.reason:
            text = self.reason.encode()[:255]
            body += bytes([len(text)]) + text
            body += bytes(-len(body) % 4)
        return _packet(PacketType.BYE, len(self.ssrcs), body)


@dataclass(frozen=True, slots=True)
class App:
    """What one application says to itself (RFC 3550 section 6.7).

    Attributes:
        name: four ASCII characters, which tell whose packet it is.
        data: a multiple of four bytes.
        subtype: 0 to 31, for the application to use.
    """

    ssrc: int
    name: bytes
    data: bytes = b""
    subtype: int = 0

    def __bytes__(self) -> bytes:
        if len(self.name) != 4 or len(self.data) % 4:
            raise ValueError("an RTCP APP packet has a name and data of whole words")
        body = struct.pack("!I4s", self.ssrc, self.name) + self.data
        return _packet(PacketType.APPLICATION, self.subtype, body)


@dataclass(frozen=True, slots=True)
class PictureLoss:
    """PLI: the receiver cannot go on without a key frame (RFC 4585 section 6.3.1)."""

    sender_ssrc: int
    media_ssrc: int

    def __bytes__(self) -> bytes:
        return _feedback(
            PacketType.PAYLOAD_FEEDBACK, _PLI, self.sender_ssrc, self.media_ssrc
        )


@dataclass(frozen=True, slots=True)
class FullIntraRequest:
    """FIR: pairs of an SSRC and a command sequence number (RFC 5104 section 4.3.1).

    The number grows by one for each new request and stays for a repetition.
    """

    sender_ssrc: int
    requests: tuple[tuple[int, int], ...]

    def __bytes__(self) -> bytes:
        body = b"".join(
            struct.pack("!IB3x", ssrc, number & 0xFF) for ssrc, number in self.requests
        )
        # The media source of the header is not used and 0 (RFC 5104 section 4.3.1.2).
        return _feedback(PacketType.PAYLOAD_FEEDBACK, _FIR, self.sender_ssrc, 0, body)


@dataclass(frozen=True, slots=True)
class GenericNack:
    """Sequence numbers that have not arrived (RFC 4585 section 6.2.1), in order."""

    sender_ssrc: int
    media_ssrc: int
    lost: tuple[int, ...]

    def __bytes__(self) -> bytes:
        pairs: list[list[int]] = []
        for number in self.lost:
            if pairs and 1 <= (ahead := sequence_delta(number, pairs[-1][0])) <= 16:
                pairs[-1][1] |= 1 << ahead - 1
            else:
                pairs.append([number, 0])
        return _feedback(
            PacketType.TRANSPORT_FEEDBACK,
            _NACK,
            self.sender_ssrc,
            self.media_ssrc,
            b"".join(struct.pack("!HH", pid, mask) for pid, mask in pairs),
        )


@dataclass(frozen=True, slots=True)
class Remb:
    """The bits per second that the receiver can take, for all of `ssrcs` together.

    The wire keeps 18 bits of the bitrate; what does not fit is rounded down.
    """

    sender_ssrc: int
    bitrate: int
    ssrcs: tuple[int, ...]

    def __bytes__(self) -> bytes:
        exponent = max(0, self.bitrate.bit_length() - 18)
        rate = exponent << 18 | self.bitrate >> exponent
        body = struct.pack("!4sI", b"REMB", len(self.ssrcs) << 24 | rate)
        body += struct.pack(f"!{len(self.ssrcs)}I", *self.ssrcs)
        return _feedback(
            PacketType.PAYLOAD_FEEDBACK, _APPLICATION, self.sender_ssrc, 0, body
        )


@dataclass(frozen=True, slots=True)
class ReferenceDelay:
    """Answers one receiver's reference time (RFC 3611 section 4.5).

    Attributes:
        ssrc: the receiver's.
        last_reference: the middle 32 bits of its latest reference time.
        delay: since that came, in 1/65536 s.
    """

    ssrc: int
    last_reference: int
    delay: int


@dataclass(frozen=True, slots=True)
class ExtendedReport:
    """What lets a receiver that sends nothing know its round trip (RFC 3611).

    Attributes:
        ssrc: of who reports.
        reference_ntp: the receiver's time in 64-bit NTP form, None without that block.
        delays: how long ago such times of others came.
    """

    ssrc: int
    reference_ntp: int | None = None
    delays: tuple[ReferenceDelay, ...] = ()

    def __bytes__(self) -> bytes:
        body = struct.pack("!I", self.ssrc)
        if self.reference_ntp is not None:
            body += struct.pack("!BxHQ", _REFERENCE_TIME, 2, self.reference_ntp)
        if self.delays:
            body += struct.pack("!BxH", _DELAYS, 3 * len(self.delays))
            for item in self.delays:
                body += struct.pack("!III", item.ssrc, item.last_reference, item.delay)
        return _packet(PacketType.EXTENDED_REPORT, 0, body)


@dataclass(frozen=True, slots=True)
class Unknown:
    """A packet of another type or format; `count` is the field that may be a format."""

    packet_type: int
    count: int
    body: bytes

    def __bytes__(self) -> bytes:
        return _packet(self.packet_type, self.count, self.body)


Packet: TypeAlias = (
    SenderReport
    | ReceiverReport
    | SourceDescription
    | Bye
    | App
    | PictureLoss
    | FullIntraRequest
    | GenericNack
    | Remb
    | TransportFeedback
    | ExtendedReport
    | Unknown
)


def compound(*packets: Packet) -> bytes:
    """Put packets into one datagram, in the order given (RFC 3550 section 6.1)."""
    return b"".join(map(bytes, packets))


def parse(data: bytes) -> list[Packet]:
    """Read a compound packet.

    The order is free, so reduced-size RTCP (RFC 5506) is fine; the lengths are not.

    Raises:
        Malformed: when any packet of it is broken; the datagram is then worth nothing.
    """
    if not data:
        raise Malformed("empty RTCP packet")
    packets: list[Packet] = []
    position = 0
    while position < len(data):
        if position + 4 > len(data):
            raise Malformed("RTCP packet ends within its header")
        first, packet_type, words = struct.unpack_from("!BBH", data, position)
        end = position + 4 + 4 * words
        if first >> 6 != 2:
            raise Malformed(f"RTCP packet of version {first >> 6}")
        if end > len(data):
            raise Malformed("RTCP packet is shorter than its length field says")
        body = data[position + 4 : end]
        if first & 0x20:
            body = _without_padding(body, is_last=end == len(data))
        packets.append(_parse_one(packet_type, first & 0x1F, body))
        position = end
    return packets


def _without_padding(body: bytes, *, is_last: bool) -> bytes:
    # Only the last packet of a compound may be padded (RFC 3550 section 6.4.1).
    if not is_last or not body or not 1 <= body[-1] <= len(body):
        raise Malformed("RTCP packet with wrong padding")
    return body[: -body[-1]]


def _parse_one(packet_type: int, count: int, body: bytes) -> Packet:
    try:
        if parser := _PARSERS.get(packet_type):
            return parser(count, body)
        if feedback := _FEEDBACK.get((packet_type, count)):
            sender_ssrc, media_ssrc = struct.unpack_from("!II", body)
            if (packet := feedback(sender_ssrc, media_ssrc, body[8:])) is not None:
                return packet
    except (struct.error, IndexError) as error:
        raise Malformed(f"RTCP packet of type {packet_type} is too short") from error
    return Unknown(packet_type, count, body)


def _parse_sender_report(count: int, body: bytes) -> SenderReport:
    ssrc, ntp, timestamp, packets, octets = struct.unpack_from("!IQIII", body)
    blocks = _parse_blocks(count, body, 24)
    return SenderReport(ssrc, ntp, timestamp, packets, octets, blocks)


def _parse_receiver_report(count: int, body: bytes) -> ReceiverReport:
    (ssrc,) = struct.unpack_from("!I", body)
    return ReceiverReport(ssrc, _parse_blocks(count, body, 4))


def _parse_blocks(count: int, body: bytes, position: int) -> tuple[ReportBlock, ...]:
    # What follows the blocks is an extension of some profile (section 6.4.3).
    blocks = []
    for index in range(count):
        ssrc, loss, *rest = struct.unpack_from("!IIIIII", body, position + 24 * index)
        lost = loss & 0xFFFFFF
        if lost & 0x800000:
            lost -= 0x1000000
        blocks.append(ReportBlock(ssrc, loss >> 24, lost, *rest))
    return tuple(blocks)


def _parse_source_description(count: int, body: bytes) -> SourceDescription:
    chunks = []
    position = 0
    for _ in range(count):
        (ssrc,) = struct.unpack_from("!I", body, position)
        position += 4
        items = []
        while kind := body[position]:
            end = position + 2 + body[position + 1]
            if end > len(body):
                raise Malformed("RTCP source description ends within an item")
            items.append((kind, body[position + 2 : end]))
            position = end
        position += 4 - position % 4
        chunks.append(Chunk(ssrc, tuple(items)))
    return SourceDescription(tuple(chunks))


def _parse_bye(count: int, body: bytes) -> Bye:
    ssrcs = struct.unpack_from(f"!{count}I", body)
    reason = b""
    if len(body) > 4 * count:
        end = 4 * count + 1 + body[4 * count]
        if end > len(body):
            raise Malformed("RTCP goodbye ends within its reason")
        reason = body[4 * count + 1 : end]
    return Bye(ssrcs, reason.decode(errors="replace"))


def _parse_app(count: int, body: bytes) -> App:
    ssrc, name = struct.unpack_from("!I4s", body)
    if len(body) % 4:
        raise Malformed("RTCP application packet of a broken length")
    return App(ssrc, name, body[8:], count)


def _parse_extended_report(count: int, body: bytes) -> ExtendedReport:
    (ssrc,) = struct.unpack_from("!I", body)
    reference = None
    delays: list[ReferenceDelay] = []
    position = 4
    while position < len(body):
        kind, words = struct.unpack_from("!BxH", body, position)
        block = body[position + 4 : position + 4 + 4 * words]
        if len(block) < 4 * words:
            raise Malformed("RTCP extended report ends within a block")
        if kind == _REFERENCE_TIME:
            (reference,) = struct.unpack_from("!Q", block)
        elif kind == _DELAYS:
            # Any rest that is no whole item is passed over.
            whole = block[: len(block) // 12 * 12]
            delays += [ReferenceDelay(*i) for i in struct.iter_unpack("!III", whole)]
        position += 4 + 4 * words
    return ExtendedReport(ssrc, reference, tuple(delays))


def _parse_pli(sender_ssrc: int, media_ssrc: int, body: bytes) -> PictureLoss:
    return PictureLoss(sender_ssrc, media_ssrc)


def _parse_fir(sender_ssrc: int, media_ssrc: int, body: bytes) -> FullIntraRequest:
    if len(body) % 8:
        raise Malformed("full intra request of a broken length")
    return FullIntraRequest(sender_ssrc, tuple(struct.iter_unpack("!IB3x", body)))


def _parse_nack(sender_ssrc: int, media_ssrc: int, body: bytes) -> GenericNack:
    lost = []
    if len(body) % 4:
        raise Malformed("negative acknowledgement of a broken length")
    for pid, mask in struct.iter_unpack("!HH", body):
        lost.append(pid)
        lost += [pid + bit + 1 & 0xFFFF for bit in range(16) if mask >> bit & 1]
    return GenericNack(sender_ssrc, media_ssrc, tuple(lost))


def _parse_remb(sender_ssrc: int, media_ssrc: int, body: bytes) -> Remb | None:
    if body[:4] != b"REMB":  # another application's message
        return None
    (rate,) = struct.unpack_from("!I", body, 4)
    ssrcs = struct.unpack_from(f"!{rate >> 24}I", body, 8)
    return Remb(sender_ssrc, (rate & 0x3FFFF) << (rate >> 18 & 0x3F), ssrcs)


_PARSERS: dict[int, Callable[[int, bytes], Packet]] = {
    PacketType.SENDER_REPORT: _parse_sender_report,
    PacketType.RECEIVER_REPORT: _parse_receiver_report,
    PacketType.SOURCE_DESCRIPTION: _parse_source_description,
    PacketType.BYE: _parse_bye,
    PacketType.APPLICATION: _parse_app,
    PacketType.EXTENDED_REPORT: _parse_extended_report,
}
_FEEDBACK: dict[tuple[int, int], Callable[[int, int, bytes], Packet | None]] = {
    (PacketType.TRANSPORT_FEEDBACK, _NACK): _parse_nack,
    (PacketType.TRANSPORT_FEEDBACK, _TRANSPORT_CC): TransportFeedback.from_body,
    (PacketType.PAYLOAD_FEEDBACK, _PLI): _parse_pli,
    (PacketType.PAYLOAD_FEEDBACK, _FIR): _parse_fir,
    (PacketType.PAYLOAD_FEEDBACK, _APPLICATION): _parse_remb,
}


def _feedback(
    packet_type: int, fmt: int, sender_ssrc: int, media_ssrc: int, body: bytes = b""
) -> bytes:
    """A feedback message (RFC 4585 section 6.1)."""
    return _packet(packet_type, fmt, struct.pack("!II", sender_ssrc, media_ssrc) + body)


def _packet(packet_type: int, count: int, body: bytes) -> bytes:
    if count > _MAX_COUNT:
        raise ValueError(
            f"an RTCP packet holds at most {_MAX_COUNT} items, not {count}"
        )
    # Feedback that ends off a 32-bit boundary is padded as RFC 3550 section 6.4.1 says.
    padding = -len(body) % 4
    if padding:
        body += bytes(padding - 1) + bytes([padding])
        count |= 0x20
    return _HEAD.pack(0x80 | count, packet_type, len(body) // 4) + body
