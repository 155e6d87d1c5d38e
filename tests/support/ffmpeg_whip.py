"""FFmpeg's own `whip` muxer as a publisher, in a process of its own.

`python -m tests.support.ffmpeg_whip URL FILE` publishes H.264 High with numbered pictures and
stereo Opus for some seconds, and writes every encoded packet that it hands to the muxer into
FILE. The muxer blocks and crashes as it likes; a process of its own keeps that from the tests.

The muxer is given a P-256 certificate: with GnuTLS, as in PyAV's wheels, it makes itself
one on P-224, which OpenSSL refuses in TLS ("wrong curve") from whatever peer.
"""

from __future__ import annotations

import argparse
import asyncio
import fractions
import struct
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from aiortc.rtcdtlstransport import generate_certificate
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from tests.support.media import annex_b_units
from tests.support.numbered import picture

WIDTH, HEIGHT, RATE = 640, 360, 30

#: Seconds between the last packet and the end of the session: longer than a server may be
#: standing still.
LINGER = 2.5

#: NAL units that muxers add and take away: parameter sets and delimiters.
_NOT_MEDIA = (7, 8, 9)


@dataclass(frozen=True, slots=True)
class Recording:
    """What was handed to the muxer, in order.

    Attributes:
        video: NAL units of each access unit, without parameter sets and delimiters.
        audio: Opus packets.
        parameter_sets: SPS and PPS.
    """

    video: list[list[bytes]]
    audio: list[bytes]
    parameter_sets: list[bytes]


def media_units(access_unit: Sequence[bytes]) -> list[bytes]:
    """An access unit without what muxers may add to it or take out."""
    return [unit for unit in access_unit if unit[0] & 0x1F not in _NOT_MEDIA]


def read_recording(path: Path) -> Recording:
    """Read what the process has written."""
    recording = Recording([], [], [])
    data = path.read_bytes()
    position = 0
    while position < len(data):
        kind, size = struct.unpack_from("!cI", data, position)
        position += 5
        body = data[position : position + size]
        position += size
        if kind == b"A":
            recording.audio.append(body)
        elif kind == b"V":
            recording.video.append(media_units(annex_b_units(body)))
        else:
            recording.parameter_sets.extend(annex_b_units(body))
    return recording


async def start(
    url: str, path: Path, *, seconds: float, token: str | None = None
) -> asyncio.subprocess.Process:
    """Start publishing; the process ends by itself after `seconds` of media."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.support.ffmpeg_whip",
        url,
        str(path),
        f"--seconds={seconds}",
        f"--token={token or ''}",
        cwd=Path(__file__).parents[2],
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )


def publish(url: str, path: Path, seconds: float, token: str = "") -> None:
    """Encode, record and publish in real time."""
    options = _certificate(path.parent)
    if token:
        options["authorization"] = token
    with (
        av.open(url, "w", format="whip", options=options) as output,
        path.open("wb") as record,
    ):
        video = output.add_stream(
            "libx264",
            RATE,
            options={"profile": "high", "preset": "veryfast", "tune": "zerolatency"},
        )
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        video.bit_rate = 1_500_000
        video.gop_size = RATE
        video.max_b_frames = 0
        audio = output.add_stream("libopus", 48_000, layout="stereo")

        def put(kind: bytes, data: bytes) -> None:
            record.write(struct.pack("!cI", kind, len(data)) + data)

        # Opens the encoders and does the whole WHIP, ICE and DTLS exchange.
        output.start_encoding()
        put(b"P", video.codec_context.extradata or b"")
        began = time.monotonic()
        for index in range(round(seconds * RATE)):
            time.sleep(max(0.0, began + index / RATE - time.monotonic()))
            frame = picture(WIDTH, HEIGHT, index)
            frame.pts, frame.time_base = index, fractions.Fraction(1, RATE)
            for packet in video.encode(frame):
                put(b"V", bytes(packet))
                output.mux(packet)
            for packet in audio.encode(_tone(index)):
                put(b"A", bytes(packet))
                output.mux(packet)
        record.flush()
        # The DELETE that comes now may overtake media that the server has yet to read.
        time.sleep(LINGER)


def _certificate(folder: Path) -> dict[str, str]:
    """Write a P-256 key and its certificate; returns the muxer's options for them."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = generate_certificate(key)
    files = {"cert_file": folder / "whip-cert.pem", "key_file": folder / "whip-key.pem"}
    files["cert_file"].write_bytes(certificate.public_bytes(Encoding.PEM))
    files["key_file"].write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    return {name: str(file) for name, file in files.items()}


def _tone(index: int) -> av.AudioFrame:
    """The sound of one picture."""
    samples = 48_000 // RATE
    times = np.arange(samples * index, samples * (index + 1)) / 48_000
    left = 8000 * np.sin(2 * np.pi * 440 * times)
    right = 8000 * np.sin(2 * np.pi * 660 * times)
    both = np.stack([left, right], axis=1).astype(np.int16).reshape(1, -1)
    frame = av.AudioFrame.from_ndarray(
        np.ascontiguousarray(both), format="s16", layout="stereo"
    )
    frame.sample_rate = 48_000
    frame.pts, frame.time_base = samples * index, fractions.Fraction(1, 48_000)
    return frame


def main() -> None:
    """Read arguments and publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("file", type=Path)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--token", default="", help="the bearer token")
    options = parser.parse_args()
    publish(options.url, options.file, options.seconds, options.token)


if __name__ == "__main__":
    main()
