"""A WHEP client that decodes any codec: RTP payloads to pictures and sound, by PyAV.

Packets have to come in order and without loss, as they do on loopback: what is broken is counted.
"""

from __future__ import annotations

import av
import numpy as np

from live777py.protocol.codecs import Codec, Format
from live777py.protocol.rtp import Malformed, RtpPacket
from tests.support.offers import OPUS, audio, video
from tests.support.rtp_client import RtpClient

_DECODERS = {
    Format.H264: "h264",
    Format.H265: "hevc",
    Format.VP8: "vp8",
    Format.VP9: "vp9",
    Format.AV1: "libdav1d",
}

_START_CODE = b"\0\0\0\1"


class Assembler:
    """Puts the payloads of one picture together, as a decoder takes it."""

    def __init__(self, format: Format) -> None:
        self._format = format
        self._timestamp: int | None = None
        self._data = b""
        #: AV1: OBU elements of the temporal unit, the last of which may go on.
        self._obus: list[bytes] = []

    def take(self, packet: RtpPacket) -> bytes | None:
        """The picture that this packet ends, if it does."""
        if packet.timestamp != self._timestamp:
            self._timestamp = packet.timestamp
            self._data = b""
            self._obus.clear()
        payload = packet.payload
        match self._format:
            case Format.H264:
                self._data += _h264(payload)
            case Format.H265:
                self._data += _h265(payload)
            case Format.VP8:
                self._data += payload[_vp8_descriptor(payload) :]
            case Format.VP9:
                self._data += payload[_vp9_descriptor(payload) :]
            case Format.AV1:
                self._take_obus(payload)
            case Format.OPAQUE:
                self._data += payload
        if not packet.marker:
            return None
        if self._format is Format.AV1:
            # A temporal delimiter, which does not travel by RTP.
            self._data = b"\x12\0" + b"".join(map(_sized, self._obus))
        data, self._data = self._data, b""
        self._obus.clear()
        return data

    def _take_obus(self, payload: bytes) -> None:
        """The AV1 RTP payload format, section 4.4."""
        head, at, count = payload[0], 1, payload[0] >> 4 & 3
        elements: list[bytes] = []
        while at < len(payload):
            if count and len(elements) == count - 1:
                size = len(payload) - at
            else:
                size, at = _leb128(payload, at)
            elements.append(payload[at : at + size])
            at += size
        if head & 0x80 and self._obus and elements:
            self._obus[-1] += elements.pop(0)
        self._obus += elements


def _h264(payload: bytes) -> bytes:
    """RFC 6184: an access unit's part in Annex B."""
    match payload[0] & 31:
        case 24:
            return _aggregated(payload, 1)
        case 28:
            head = bytes([payload[0] & 0xE0 | payload[1] & 31])
            return (_START_CODE + head if payload[1] & 0x80 else b"") + payload[2:]
        case _:
            return _START_CODE + payload


def _h265(payload: bytes) -> bytes:
    """RFC 7798: an access unit's part in Annex B."""
    match payload[0] >> 1 & 63:
        case 48:
            return _aggregated(payload, 2)
        case 49:
            head = bytes([payload[0] & 0x81 | (payload[2] & 63) << 1, payload[1]])
            return (_START_CODE + head if payload[2] & 0x80 else b"") + payload[3:]
        case _:
            return _START_CODE + payload


def _aggregated(payload: bytes, at: int) -> bytes:
    data = b""
    while at + 2 < len(payload):
        size = int.from_bytes(payload[at : at + 2])
        data += _START_CODE + payload[at + 2 : at + 2 + size]
        at += 2 + size
    return data


def _vp8_descriptor(payload: bytes) -> int:
    """How long it is (RFC 7741 section 4.2)."""
    if not payload[0] & 0x80:
        return 1
    flags, at = payload[1], 2
    if flags & 0x80:
        at += 2 if payload[at] & 0x80 else 1
    at += bool(flags & 0x40) + bool(flags & 0x30)
    return at


def _vp9_descriptor(payload: bytes) -> int:
    """How long it is (RFC 9628 section 4.2)."""
    flags, at = payload[0], 1
    if flags & 0x80:
        at += 2 if payload[at] & 0x80 else 1
    if flags & 0x20:
        # Without the flexible mode the layers' indices come with one more octet.
        at += 1 if flags & 0x10 else 2
    if flags & 0x50 == 0x50:
        while payload[at] & 1:
            at += 1
        at += 1
    if flags & 0x02:
        head = payload[at]
        at += 1
        if head & 0x10:
            at += 4 * ((head >> 5) + 1)
        if head & 0x08:
            pictures, at = payload[at], at + 1
            for _ in range(pictures):
                at += 1 + (payload[at] >> 2 & 3)
    return at


def _leb128(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        shift += 7
        at += 1
        if not data[at - 1] & 128:
            return value, at


def _sized(obu: bytes) -> bytes:
    """An OBU with a size of its own (AV1 section 5.3.1)."""
    head = 2 if obu[0] & 4 else 1
    left, size = len(obu) - head, b""
    while True:
        size += bytes([left & 127 | (128 if left > 127 else 0)])
        left >>= 7
        if not left:
            return bytes([obu[0] | 2]) + obu[1:head] + size + obu[head:]


class DecodingViewer(RtpClient):
    """Watches one codec beside Opus, and decodes both.

    Attributes:
        frames: decoded so far, by kind.
        loudness: mean magnitude of the latest sound.
        broken: pictures that could not be decoded.
    """

    def __init__(self, url: str, codec: Codec) -> None:
        super().__init__(url, (video(codec), audio(OPUS)), direction="recvonly")
        self.frames = {"video": 0, "audio": 0}
        self.loudness = 0.0
        self.picture: av.VideoFrame | None = None
        self.broken = 0
        self._assembler = Assembler(codec.format)
        self._pictures = av.CodecContext.create(_DECODERS[codec.format], "r")
        self._sound = av.CodecContext.create("libopus", "r")
        self._sound.sample_rate = 48_000

    def take_rtp(self, data: bytes) -> None:
        """Decode what has come."""
        before = len(self.rtp)
        super().take_rtp(data)
        for packet in self.rtp[before:]:
            try:
                self._decode(packet)
            except (av.FFmpegError, IndexError, Malformed):
                self.broken += 1
        self.rtp.clear()

    def _decode(self, packet: RtpPacket) -> None:
        if packet.payload_type in self.answer.section("audio").formats:
            assert isinstance(self._sound, av.AudioCodecContext)
            for sound in self._sound.decode(av.Packet(packet.payload)):
                self.frames["audio"] += 1
                # Opus decodes to either: 16 bits, or floating point from -1 to 1.
                scale = 1 if sound.format.name.startswith("s16") else 32_768
                self.loudness = scale * float(np.abs(sound.to_ndarray()).mean())
            return
        if packet.payload_type not in self.answer.section("video").formats:
            return
        data = self._assembler.take(packet)
        if data:
            assert isinstance(self._pictures, av.VideoCodecContext)
            for picture in self._pictures.decode(av.Packet(data)):
                self.frames["video"] += 1
                self.picture = picture

    def shows(self, colour: tuple[int, int, int]) -> bool:
        """Whether the latest picture has this colour, but for the encoder's error."""
        if self.picture is None:
            return False
        seen = self.picture.to_ndarray(format="rgb24").mean(axis=(0, 1))
        return all(abs(a - b) <= 25 for a, b in zip(seen, colour, strict=True))
