"""Real media for tests, made by real encoders at run time, and its way into RTP."""

from __future__ import annotations

import fractions
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import av
import numpy as np

from live777py.protocol import rtp
from live777py.protocol.codecs import Format
from live777py.protocol.rtp import RtpPacket

#: Payload bytes that fit an RTP packet on any path.
MTU = 1150

_ENCODERS = {
    Format.H264: "libx264",
    Format.H265: "libx265",
    Format.VP8: "libvpx",
    Format.VP9: "libvpx-vp9",
    Format.AV1: "libsvtav1",
}
_OPTIONS = {
    Format.H264: {"tune": "zerolatency", "preset": "veryfast"},
    Format.H265: {
        "tune": "zerolatency",
        "preset": "ultrafast",
        "x265-params": "log-level=none:repeat-headers=1",
    },
    Format.VP8: {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"},
    Format.VP9: {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"},
    Format.AV1: {"preset": "12", "svtav1-params": "pred-struct=1:lp=1:rc=2:rtc=1"},
}


@dataclass(frozen=True, slots=True)
class Picture:
    """One encoded picture (an access unit, a frame, a temporal unit)."""

    data: bytes
    is_key: bool


def picture(width: int, height: int, index: int) -> av.VideoFrame:
    """A moving gradient, so that every picture differs from the one before."""
    rows = np.arange(height, dtype=np.uint16)[:, None]
    columns = np.arange(width, dtype=np.uint16)[None, :]
    image = np.zeros((height, width, 3), np.uint8)
    image[:, :, 0] = rows + 7 * index
    image[:, :, 1] = columns + 3 * index
    image[:, :, 2] = 40
    return av.VideoFrame.from_ndarray(image, format="rgb24")


def encode(
    format: Format,
    *,
    width: int = 320,
    height: int = 240,
    frames: int = 10,
    rate: int = 30,
    key_interval: int = 30,
    bit_rate: int = 500_000,
    options: dict[str, str] | None = None,
    pixel_format: str = "yuv420p",
    draw: Callable[[int, int, int], av.VideoFrame] = picture,
) -> list[Picture]:
    """Encode a moving picture without B-frames; H.264 and H.265 are in Annex B.

    `draw` makes each picture of width, height and index.
    """
    encoder = av.CodecContext.create(_ENCODERS[format], "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height = width, height
    encoder.pix_fmt = pixel_format
    encoder.time_base = fractions.Fraction(1, rate)
    encoder.framerate = fractions.Fraction(rate, 1)
    encoder.bit_rate = bit_rate
    encoder.gop_size = key_interval
    encoder.max_b_frames = 0
    encoder.thread_count = 1
    encoder.options = _OPTIONS[format] | (options or {})
    pictures = []
    for index in range(frames):
        frame = draw(width, height, index).reformat(format=pixel_format)
        frame.pts = index
        pictures += encoder.encode(frame)
    pictures += encoder.encode(None)
    return [Picture(bytes(packet), packet.is_keyframe) for packet in pictures]


def encode_opus(seconds: float = 0.2, *, channels: int = 2) -> list[bytes]:
    """A 440 Hz tone in Opus packets of 20 ms."""
    encoder = av.CodecContext.create("libopus", "w")
    assert isinstance(encoder, av.AudioCodecContext)
    encoder.sample_rate = 48000
    encoder.format = "s16"
    encoder.layout = "stereo" if channels == 2 else "mono"
    encoder.time_base = fractions.Fraction(1, 48000)
    packets = []
    for index in range(round(seconds * 50)):
        times = np.arange(960 * index, 960 * (index + 1)) / 48000
        tone = (8000 * np.sin(2 * np.pi * 440 * times)).astype(np.int16)
        samples = np.repeat(tone, channels)[None, :]
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(samples), format="s16", layout=encoder.layout.name
        )
        frame.sample_rate = 48000
        frame.pts = 960 * index
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    return [bytes(packet) for packet in packets]


def annex_b_units(data: bytes) -> list[bytes]:
    """The NAL units of an Annex B byte stream, without start codes."""
    starts = []
    position = data.find(b"\x00\x00\x01")
    while position >= 0:
        starts.append(position)
        position = data.find(b"\x00\x00\x01", position + 3)
    ends = [*starts[1:], len(data)]
    # A zero before a start code belongs to the code or is a trailing zero byte.
    units = [data[a + 3 : b].rstrip(b"\x00") for a, b in zip(starts, ends, strict=True)]
    return [unit for unit in units if unit]


def payloads(format: Format, picture: bytes, *, mtu: int = MTU) -> list[bytes]:
    """RTP payloads of one encoded picture; the last of them takes the marker."""
    match format:
        case Format.H264:
            return packetize_h264(annex_b_units(picture), mtu)
        case Format.H265:
            return packetize_h265(annex_b_units(picture), mtu)
        case Format.VP8:
            return _with_descriptor(picture, mtu, first=b"\x10", other=b"\x00")
        case Format.VP9:
            return packetize_vp9(picture, mtu)
        case Format.AV1:
            return packetize_av1(picture, mtu)
        case _:
            return [picture]


def packetize_h264(units: Sequence[bytes], mtu: int = MTU) -> list[bytes]:
    """RFC 6184, packetization mode 1: parameter sets in a STAP-A, long units in FU-A."""
    result: list[bytes] = []
    small: list[bytes] = []
    for unit in units:
        if unit[0] & 0x1F in (6, 7, 8, 9):
            small.append(unit)
            continue
        result += _stap_a(small)
        small = []
        result += [unit] if len(unit) <= mtu else _fu_a(unit, mtu)
    return result + _stap_a(small)


def _stap_a(units: Sequence[bytes]) -> list[bytes]:
    if len(units) < 2:
        return list(units)
    importance = max(unit[0] & 0x60 for unit in units)
    body = b"".join(len(unit).to_bytes(2) + unit for unit in units)
    return [bytes([importance | 24]) + body]


def _fu_a(unit: bytes, mtu: int) -> list[bytes]:
    parts = _cut(unit[1:], mtu - 2)
    return [
        bytes([unit[0] & 0xE0 | 28, _ends(index, parts) | unit[0] & 0x1F]) + part
        for index, part in enumerate(parts)
    ]


def packetize_h265(units: Sequence[bytes], mtu: int = MTU) -> list[bytes]:
    """RFC 7798: single units and fragmentation units."""
    result: list[bytes] = []
    for unit in units:
        if len(unit) <= mtu:
            result.append(unit)
            continue
        head = bytes([unit[0] & 0x81 | 49 << 1, unit[1]])
        parts = _cut(unit[2:], mtu - 3)
        result += [
            head + bytes([_ends(index, parts) | unit[0] >> 1 & 0x3F]) + part
            for index, part in enumerate(parts)
        ]
    return result


def packetize_vp9(frame: bytes, mtu: int = MTU) -> list[bytes]:
    """RFC 9628, non-flexible mode without layers; P is set on all but key frames."""
    # frame_marker 2 bits, profile 2, (reserved), show_existing 1, frame_type 1
    predicted = 0x40 if frame[0] & 0x04 else 0
    parts = _cut(frame, mtu - 1)
    return [
        bytes([predicted | 8 * (i == 0) | 4 * (i == len(parts) - 1)]) + part
        for i, part in enumerate(parts)
    ]


def packetize_av1(temporal_unit: bytes, mtu: int = MTU) -> list[bytes]:
    """The AV1 RTP payload format: one OBU element in each packet."""
    result: list[bytes] = []
    for unit in _obus(temporal_unit):
        starts_sequence = unit[0] >> 3 & 0x0F == 1
        parts = _cut(unit, mtu - 1)
        for index, part in enumerate(parts):
            continues, goes_on = index > 0, index < len(parts) - 1
            head = continues << 7 | goes_on << 6 | 1 << 4
            head |= 8 if starts_sequence and index == 0 else 0
            result.append(bytes([head]) + part)
    return result


def _obus(data: bytes) -> Iterator[bytes]:
    """The OBUs of a temporal unit, their size fields and the delimiter taken out."""
    position = 0
    while position < len(data):
        head = data[position]
        begin = position + 1 + (head >> 2 & 1)
        size = shift = 0
        body = begin
        while True:
            size |= (data[body] & 0x7F) << shift
            shift += 7
            body += 1
            if not data[body - 1] & 0x80:
                break
        position = body + size
        if head >> 3 & 0x0F != 2:
            extension = data[begin - 1 : begin] if head & 4 else b""
            yield bytes([head & ~2]) + extension + data[body:position]


def _with_descriptor(
    frame: bytes, mtu: int, *, first: bytes, other: bytes
) -> list[bytes]:
    parts = _cut(frame, mtu - len(first))
    return [(other if index else first) + part for index, part in enumerate(parts)]


def _cut(data: bytes, size: int) -> list[bytes]:
    return [data[i : i + size] for i in range(0, len(data), size)]


def _ends(index: int, parts: Sequence[bytes]) -> int:
    """The start and end bits of a fragmentation header."""
    return (index == 0) << 7 | (index == len(parts) - 1) << 6


@dataclass
class RtpStream:
    """Numbers the packets of one SSRC."""

    payload_type: int
    ssrc: int
    format: Format = Format.OPAQUE
    sequence: int = 1000
    extensions: dict[int, bytes] = field(default_factory=dict)

    def packets(self, sample: bytes, timestamp: int) -> list[bytes]:
        """The RTP packets of one encoded picture or one audio packet."""
        parts = payloads(self.format, sample)
        built = []
        for index, part in enumerate(parts):
            packet = RtpPacket(
                payload_type=self.payload_type,
                sequence=self.sequence,
                timestamp=timestamp % rtp.TIMESTAMPS,
                ssrc=self.ssrc,
                payload=part,
                marker=self.format is not Format.OPAQUE and index == len(parts) - 1,
                extensions=self.extensions,
            )
            built.append(bytes(packet))
            self.sequence = (self.sequence + 1) % rtp.SEQUENCES
        return built


def h264_access_units(packets: Sequence[RtpPacket]) -> list[list[bytes]]:
    """The NAL units of each access unit in an H.264 stream, in order of the packets."""
    units: list[list[bytes]] = []
    timestamp: int | None = None
    for packet in packets:
        if packet.timestamp != timestamp:
            timestamp = packet.timestamp
            units.append([])
        payload, here = packet.payload, units[-1]
        kind = payload[0] & 0x1F
        if kind == 24:
            position = 1
            while position + 2 < len(payload):
                size = int.from_bytes(payload[position : position + 2])
                here.append(payload[position + 2 : position + 2 + size])
                position += 2 + size
        elif kind == 28:
            if payload[1] & 0x80:
                here.append(bytes([payload[0] & 0xE0 | payload[1] & 0x1F]))
            here[-1] += payload[2:]
        else:
            here.append(payload)
    return units
