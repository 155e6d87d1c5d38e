"""A clip cut into RTP payloads once, for all streams that play it."""

from __future__ import annotations

import random
import struct
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

from live777py.media.clip import Clip, ClipTrack
from live777py.protocol.codecs import Codec, Format
from live777py.protocol.packetize import (
    annex_b_units,
    is_small,
    packetize_h264,
    payloads,
    user_data,
)
from live777py.protocol.rtp import SEQUENCES, TIMESTAMPS

#: Whose user data it is that makes every H.264 picture different from all others.
_MARK = bytes.fromhex("6c6976653737377079206c6f61647465")
_NUMBER = struct.Struct("!QQ")
_HEADER = struct.Struct("!BBHII")

#: Pictures whose sending is remembered: half a minute.
_REMEMBERED = 1000

#: Packets kept for retransmission.
_HISTORY = 1024


@dataclass(frozen=True, slots=True)
class PreparedSample:
    """A sample's payloads: `units` are H.264 units that go out first, with a mark."""

    units: tuple[bytes, ...]
    payloads: tuple[bytes, ...]
    is_key: bool
    #: Seconds from this sample to the next.
    step: float


@dataclass(frozen=True, slots=True)
class PreparedTrack:
    """A track, ready to be numbered and sent, and the set of its payloads."""

    codec: Codec
    samples: tuple[PreparedSample, ...]
    known: frozenset[int]

    @classmethod
    def of(cls, track: ClipTrack, duration: float) -> PreparedTrack:
        """Cut a track of a clip of this duration into payloads."""
        samples: list[PreparedSample] = []
        known: set[int] = set()
        times = [sample.time for sample in track.samples]
        ends = [*times[1:], duration + times[0]]
        for sample, end in zip(track.samples, ends, strict=True):
            units: tuple[bytes, ...] = ()
            if track.codec.format is Format.H264:
                split = annex_b_units(sample.data)
                units = tuple(unit for unit in split if is_small(unit))
                parts = packetize_h264(unit for unit in split if not is_small(unit))
            else:
                parts = payloads(track.codec.format, sample.data)
            known.update(map(hash, parts))
            step = max(end - sample.time, 0.001)
            samples.append(PreparedSample(units, tuple(parts), sample.is_key, step))
        return cls(track.codec, tuple(samples), frozenset(known))


@dataclass(frozen=True, slots=True)
class Prepared:
    """A clip, ready to be sent by any number of streams."""

    name: str
    tracks: tuple[PreparedTrack, ...]
    bit_rate: float

    @classmethod
    def of(cls, clip: Clip) -> Prepared:
        """Cut a clip into payloads."""
        tracks = tuple(PreparedTrack.of(track, clip.duration) for track in clip.tracks)
        return cls(clip.name, tracks, clip.bit_rate)


@dataclass(slots=True)
class SentFrame:
    """A picture, or a packet of sound, that was sent.

    Attributes:
        timestamp: in its RTP packets.
        sequence: extended, of its first packet.
        sent: when its last packet had been sent, of `time.time_ns()`; 0 before.
    """

    timestamp: int
    sequence: int
    sent: int = 0


class SentTrack:
    """Numbers the packets of one track of one stream and remembers what was sent when.

    Attributes:
        next_sequence: extended.
        packets, octets: sent so far, retransmissions not among them.
    """

    def __init__(
        self,
        track: PreparedTrack,
        *,
        stream: int,
        ssrc: int,
        rtx_ssrc: int,
        generator: random.Random,
    ) -> None:
        self.codec = track.codec
        self.ssrc = ssrc
        self.rtx_ssrc = rtx_ssrc
        self.payload_type = 0
        self.rtx_payload_type: int | None = None
        self.packets = 0
        self.octets = 0
        self.due = 0.0
        # Below 2^15, or an early loss could break the roll-over counter (RFC 3711, 3.3.1).
        self.next_sequence = generator.randrange(1, SEQUENCES // 2)
        self._rtx_sequence = generator.randrange(1, SEQUENCES // 2)
        self._first_timestamp = generator.randrange(TIMESTAMPS)
        self._stream = stream
        self._track = track
        self._cursor = 0
        self._elapsed = 0.0
        self._count = 0
        self._is_timed = track.codec.kind == "video"
        self._wants_key = False
        self._frames: OrderedDict[int, SentFrame] = OrderedDict()
        self._by_payload: OrderedDict[int, SentFrame] = OrderedDict()
        self._history: list[bytes] = [b""] * _HISTORY

    @property
    def timestamp(self) -> int:
        """The RTP timestamp of the sample that comes next."""
        ticks = round(self._elapsed * self.codec.clock_rate)
        return (self._first_timestamp + ticks) % TIMESTAMPS

    def want_key_frame(self) -> None:
        """Go on with the next key frame of the clip, as an encoder would when asked."""
        self._wants_key = True

    def next_sample(self) -> tuple[SentFrame, list[bytes]]:
        """The packets of the next sample, whose `sent` is to be set; moves `due` on."""
        if self._wants_key:
            self._wants_key = False
            self._seek_key()
        sample = self._track.samples[self._cursor]
        frame = SentFrame(self.timestamp, self.next_sequence)
        packets = list(self._packets(sample, frame))
        self._remember(frame, packets)
        self._count += 1
        self._cursor = (self._cursor + 1) % len(self._track.samples)
        self._elapsed += sample.step
        self.due += sample.step
        return frame, packets

    def frame(self, timestamp: int) -> SentFrame | None:
        """What was sent with a timestamp, not too long ago."""
        return self._frames.get(timestamp)

    def frame_of(self, payload: bytes) -> SentFrame | None:
        """What began with this payload, not too long ago."""
        return self._by_payload.get(hash(payload))

    def is_known(self, payload: bytes) -> bool:
        """Whether this payload is one that was sent, as it was sent."""
        key = hash(payload)
        return key in self._track.known or key in self._by_payload

    def retransmission(self, sequence: int) -> bytes | None:
        """The packet that answers a NACK, by RTX where that was agreed on (RFC 4588)."""
        packet = self._history[sequence % _HISTORY]
        if not packet or int.from_bytes(packet[2:4]) != sequence:
            return None
        if self.rtx_payload_type is None:
            return packet
        number = self._rtx_sequence
        self._rtx_sequence = (number + 1) % SEQUENCES
        marker = packet[1] & 0x80
        _, _, _, timestamp, _ = _HEADER.unpack_from(packet)
        head = _HEADER.pack(
            0x80, marker | self.rtx_payload_type, number, timestamp, self.rtx_ssrc
        )
        return head + packet[2:4] + packet[12:]

    def _seek_key(self) -> None:
        samples = self._track.samples
        for ahead in range(len(samples)):
            index = (self._cursor + ahead) % len(samples)
            if samples[index].is_key:
                self._cursor = index
                return

    def _packets(self, sample: PreparedSample, frame: SentFrame) -> Iterator[bytes]:
        parts = list(sample.payloads)
        if self.codec.format is Format.H264:
            mark = user_data(_MARK + _NUMBER.pack(self._stream, self._count))
            parts = packetize_h264([*sample.units, mark]) + parts
        last = len(parts) - 1
        for index, part in enumerate(parts):
            number = self.next_sequence % SEQUENCES
            marker = 0x80 if self._is_timed and index == last else 0
            packet = (
                _HEADER.pack(
                    0x80, marker | self.payload_type, number, frame.timestamp, self.ssrc
                )
                + part
            )
            self._history[number % _HISTORY] = packet
            self.next_sequence += 1
            self.packets += 1
            self.octets += len(part)
            yield packet

    def _remember(self, frame: SentFrame, packets: list[bytes]) -> None:
        if not packets:
            return
        self._frames[frame.timestamp] = frame
        key = hash(packets[0][12:])
        # The latest of equals: what loops without a mark comes again every few seconds.
        self._by_payload[key] = frame
        self._by_payload.move_to_end(key)
        for memory in (self._frames, self._by_payload):
            if len(memory) > _REMEMBERED:
                memory.popitem(last=False)
