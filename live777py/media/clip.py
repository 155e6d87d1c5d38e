"""Encoded media in memory, to be played in a loop: from a file, or made up.

Reading and encoding block; call them in a thread.
"""

from __future__ import annotations

import fractions
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import av.error
import numpy as np
from av.bitstream import BitStreamFilterContext

from live777py.protocol.codecs import Codec, Kind
from live777py.protocol.packetize import annex_b_units

#: What is kept of a file.
MAX_SECONDS = 60.0
MAX_BYTES = 128 * 1024 * 1024

#: The made-up stream: 2.5 Mbit/s at 1280×720, 30 pictures a second, a key frame every two.
SYNTHETIC_BIT_RATE = 2_500_000
_SIZE = 1280, 720
_RATE = 30
_GOP = 60
_SYNTHETIC_PICTURES = 2 * _GOP

#: Standard deviation of the noise that keeps the encoder at its bit rate.
_NOISE = 6

_SPS = 7


class UnusableMedia(Exception):
    """The file cannot be played to viewers; the message says why."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One encoded picture or packet of sound.

    Attributes:
        data: H.264 is in Annex B, key frames with their parameter sets.
        time: seconds since the clip's beginning.
        is_key: whether a decoder can begin here.
    """

    data: bytes
    time: float
    is_key: bool


@dataclass(frozen=True, slots=True)
class ClipTrack:
    """The samples of one kind, in the order of their times."""

    codec: Codec
    samples: tuple[Sample, ...]


@dataclass(frozen=True, slots=True)
class Clip:
    """Tracks that begin together; `duration` seconds after its beginning it begins anew."""

    name: str
    tracks: tuple[ClipTrack, ...]
    duration: float

    def track(self, kind: Kind) -> ClipTrack | None:
        """The track of a kind."""
        return next((t for t in self.tracks if t.codec.kind == kind), None)

    @property
    def bit_rate(self) -> float:
        """Bits per second, on average."""
        size = sum(len(s.data) for track in self.tracks for s in track.samples)
        return 8 * size / self.duration


def synthetic() -> Clip:
    """Four seconds of a moving picture with noise, in H.264 of a constant bit rate."""
    encoder = av.CodecContext.create("libx264", "w")
    if not isinstance(encoder, av.VideoCodecContext):
        raise UnusableMedia("this build of FFmpeg's libraries has no H.264 encoder")
    encoder.width, encoder.height = _SIZE
    encoder.pix_fmt = "yuv420p"
    encoder.time_base = fractions.Fraction(1, _RATE)
    encoder.framerate = fractions.Fraction(_RATE, 1)
    encoder.bit_rate = SYNTHETIC_BIT_RATE
    encoder.gop_size = _GOP
    encoder.max_b_frames = 0
    encoder.thread_count = 1
    encoder.options = {
        "preset": "ultrafast",
        "tune": "zerolatency",
        "profile": "baseline",
        "x264-params": f"keyint={_GOP}:min-keyint={_GOP}:scenecut=0:sliced-threads=0:"
        "aud=0:vbv-maxrate=2500:vbv-bufsize=1250",
    }
    packets = [
        packet for frame in _pictures() for packet in encoder.encode(frame)
    ] + encoder.encode(None)
    samples = tuple(
        Sample(bytes(packet), index / _RATE, packet.is_keyframe)
        for index, packet in enumerate(packets)
    )
    track = ClipTrack(_h264_codec(samples), samples)
    return Clip("synthetic", (track,), len(samples) / _RATE)


def _pictures() -> Iterator[av.VideoFrame]:
    generator = np.random.default_rng(777)
    width, height = _SIZE
    noise = [
        generator.normal(128, _NOISE, (height, width)).clip(0, 255).astype(np.uint8)
        for _ in range(4)
    ]
    ramp = (np.arange(width, dtype=np.uint16)[None, :] // 8).astype(np.uint8)
    chroma = np.full((height // 2, width), 128, np.uint8)
    for index in range(_SYNTHETIC_PICTURES):
        luma = np.roll(noise[index % 4], 5 * index, axis=1) // 2 + np.roll(
            ramp, 3 * index, axis=1
        )
        frame = av.VideoFrame.from_ndarray(
            np.ascontiguousarray(np.concatenate([luma, chroma])), format="yuv420p"
        )
        frame.pts = index
        yield frame


def read(path: Path) -> Clip:
    """The first video and the first audio track of a file, a minute at most.

    Raises:
        UnusableMedia: it cannot be read, or holds nothing that can be sent without encoding.
    """
    try:
        with av.open(str(path)) as container:
            return _read(container, path.name)
    except (av.error.FFmpegError, OSError) as error:
        reason = error.strerror or type(error).__name__
        raise UnusableMedia(f"{path}: {reason}") from error


def _read(container: av.container.InputContainer, name: str) -> Clip:
    streams = [*container.streams.video[:1], *container.streams.audio[:1]]
    kinds: dict[int, tuple[str, BitStreamFilterContext | None]] = {}
    for stream in streams:
        codec = stream.codec_context.name
        if codec == "h264":
            # Out of its container's framing, with parameter sets before every key frame.
            kinds[stream.index] = (
                codec,
                BitStreamFilterContext("h264_mp4toannexb", stream),
            )
        elif codec in ("vp8", "libvpx", "opus", "libopus"):
            kinds[stream.index] = codec, None
    if not kinds:
        have = ", ".join(s.codec_context.name for s in streams) or "nothing"
        raise UnusableMedia(f"{name} holds {have}: H.264, VP8 and Opus can be sent")
    found: dict[int, list[Sample]] = {index: [] for index in kinds}
    size = 0
    for packet in container.demux([s for s in streams if s.index in kinds]):
        if packet.dts is None or packet.time_base is None:
            continue
        # What leaves the filter has the stream's clock, and does not say so.
        clock, filtered = packet.time_base, kinds[packet.stream_index][1]
        for part in [packet] if filtered is None else filtered.filter(packet):
            stamp = part.pts if part.pts is not None else part.dts
            if stamp is None:
                continue
            time = float(stamp * clock)
            found[packet.stream_index].append(
                Sample(bytes(part), time, part.is_keyframe)
            )
            size += len(found[packet.stream_index][-1].data)
        latest = max((s[-1].time - s[0].time for s in found.values() if s), default=0.0)
        if latest >= MAX_SECONDS or size >= MAX_BYTES:
            break
    return _clip(name, [(kinds[i][0], samples) for i, samples in found.items()])


def _clip(name: str, found: list[tuple[str, list[Sample]]]) -> Clip:
    found = [(codec, _from_key(samples)) for codec, samples in found]
    found = [(codec, samples) for codec, samples in found if samples]
    if not found:
        raise UnusableMedia(f"{name} has no key frame to begin with")
    begin = min(samples[0].time for _, samples in found)
    tracks, duration = [], 0.0
    for codec, samples in found:
        moved = tuple(Sample(s.data, s.time - begin, s.is_key) for s in samples)
        if "264" in codec and any(
            later.time < earlier.time for earlier, later in itertools.pairwise(moved)
        ):
            raise UnusableMedia(
                f"{name} has B-frames, which WebRTC players do not take: encode it anew, "
                "such as with ffmpeg -bf 0"
            )
        step = (moved[-1].time - moved[0].time) / max(1, len(moved) - 1)
        duration = max(duration, moved[-1].time + step)
        tracks.append(ClipTrack(_codec(codec, moved), moved))
    if duration <= 0:
        raise UnusableMedia(f"{name} is too short")
    return Clip(name, tuple(tracks), duration)


def _from_key(samples: list[Sample]) -> list[Sample]:
    first = next((i for i, sample in enumerate(samples) if sample.is_key), None)
    return [] if first is None else samples[first:]


def _codec(name: str, samples: tuple[Sample, ...]) -> Codec:
    if name == "h264":
        return _h264_codec(samples)
    if "opus" in name:
        parameters = (("minptime", "10"), ("useinbandfec", "1"))
        return Codec("audio", "opus", 48_000, 2, parameters)
    return Codec("video", "VP8", 90_000)


def _h264_codec(samples: tuple[Sample, ...]) -> Codec:
    units = annex_b_units(samples[0].data) if samples else []
    sets = next((unit for unit in units if unit[0] & 0x1F == _SPS), None)
    if sets is None:
        raise UnusableMedia("its H.264 has no sequence parameter set")
    return Codec(
        "video",
        "H264",
        90_000,
        parameters=(
            ("level-asymmetry-allowed", "1"),
            ("packetization-mode", "1"),
            ("profile-level-id", sets[1:4].hex()),
        ),
    )
