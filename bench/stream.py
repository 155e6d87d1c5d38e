"""A published stream of an exact rate: H.264 in form, 2.5 Mbit/s, never encoded.

The server looks at NAL unit types and parameter sets, and viewers here decode nothing,
so slices are filled with noise. What it costs to forward is the same.
"""

from __future__ import annotations

import asyncio
import functools
import random
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bench.target import Endpoint
from live777py.protocol.codecs import Format
from live777py.protocol.rtcp import PictureLoss, SenderReport
from live777py.protocol.rtp import ntp_from_unix_ns
from tests.support.media import RtpStream
from tests.support.offers import OfferedMedia, h264, video
from tests.support.publishing import Publishing

RATE = 30
KEY_INTERVAL = 60
KEY_SECONDS = KEY_INTERVAL / RATE
#: Seconds between key frames on request at least, as in Chromium.
KEY_PAUSE = 0.3
CLOCK_RATE = 90_000
SSRC = 0x11223344

#: High profile, level 3.1, 1280×720.
_SPS = bytes.fromhex("6764001facb402802dd080000003008000001e478c1950")
_PPS = bytes.fromhex("68ef3cb0")
_START = b"\x00\x00\x00\x01"

#: Seven and 65 full packets: 2.5 Mbit/s and 238 packets a second.
_SLICE = 7 * 1148
_KEY_SLICE = 65 * 1148

#: The High profile that the stream really has, and what all browsers offer beside it.
OFFERED: OfferedMedia = video(h264("64001f"), h264("42e01f"))


@functools.cache
def pictures(seed: int = 1) -> list[bytes]:
    """One period of access units, the key frame first."""
    noise = random.Random(seed)
    units = [
        _START + _SPS + _START + _PPS + _START + b"\x65" + _noise(noise, _KEY_SLICE)
    ]
    units += [_START + b"\x41" + _noise(noise, _SLICE) for _ in range(KEY_INTERVAL - 1)]
    return units


def _noise(noise: random.Random, size: int) -> bytes:
    """Bytes that contain no start code."""
    return bytes(byte | 1 for byte in noise.randbytes(size))


class Publisher(Publishing):
    """Publishes the stream in real time while it is open.

    Attributes:
        sent: packets so far.
        pictures: so far.
        sequence: of the packet that was sent last.
        gap: seconds of the longest pause between two packets since it was last set to 0.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        is_deaf: bool = False,
        reports: bool = False,
        period: Sequence[bytes] | None = None,
        sent_at: NDArray[np.int64] | None = None,
        phase: float = 0.0,
    ) -> None:
        """Prepare.

        Args:
            endpoint: where to publish.
            is_deaf: send no key frames on request, as OBS does.
            reports: send one a second, as browsers do, and nodes that are pulled from.
            period: access units to repeat, a key frame first; noise without it.
            sent_at: takes the time of each packet by its sequence number.
            phase: seconds to wait before the first picture, so that streams differ.
        """
        offered = video(h264("64001f"), ssrc=SSRC)
        super().__init__(endpoint.url, offered, token=endpoint.token)
        self.sent = 0
        self.pictures = 0
        self.gap = 0.0
        self._is_deaf = is_deaf
        self._reports = reports
        self._period = pictures() if period is None else period
        self._is_asked = False
        self._key_frame = 0.0
        self._sent_at = np.zeros(1 << 16, np.int64) if sent_at is None else sent_at
        self._phase = phase
        self._stream = RtpStream(96, SSRC, Format.H264)
        self._running = asyncio.Event()
        self._running.set()
        self._idle = asyncio.Event()

    @property
    def sequence(self) -> int:
        """The sequence number of the latest packet."""
        return (self._stream.sequence - 1) & 0xFFFF

    async def pause(self) -> None:
        """Stop between two pictures; returns when nothing more is being sent."""
        if self._running.is_set():
            self._idle.clear()
            self._running.clear()
        await self._idle.wait()

    def resume(self) -> None:
        """Go on."""
        self._running.set()

    def _is_asked_for_key_frame(self) -> bool:
        self._is_asked |= bool(self._client.rtcp_of(PictureLoss))
        self._client.rtcp.clear()
        now = time.monotonic()
        if self._is_deaf or not self._is_asked or now < self._key_frame + KEY_PAUSE:
            return False
        self._is_asked = False
        self._key_frame = now
        return True

    async def _run(self) -> None:
        position = 0
        await asyncio.sleep(self._phase)
        due = before = time.monotonic()
        while True:
            if not self._running.is_set():
                self._idle.set()
                await self._running.wait()
                due = before = time.monotonic()
            if self._is_asked_for_key_frame():
                position = 0
            self.gap = max(self.gap, time.monotonic() - before)
            timestamp = self.pictures * CLOCK_RATE // RATE
            await self._send(self._period[position], timestamp)
            if self._reports and self.pictures % RATE == 0:
                await self._report(timestamp)
            before = time.monotonic()
            self.pictures += 1
            position = (position + 1) % len(self._period)
            due += 1 / RATE
            await asyncio.sleep(max(0.0, due - before))

    async def _report(self, timestamp: int) -> None:
        now = ntp_from_unix_ns(time.time_ns())
        report = SenderReport(SSRC, now, timestamp, self.sent, self.sent)
        await self._client.send_rtcp(report)

    async def _send(self, picture: bytes, timestamp: int) -> None:
        sequence = self._stream.sequence
        for packet in self._stream.packets(picture, timestamp):
            self._sent_at[sequence] = time.time_ns()
            await self._client.send_rtp(packet)
            sequence = (sequence + 1) & 0xFFFF
            self.sent += 1
