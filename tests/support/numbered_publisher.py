"""Publishes numbered pictures, and knows when it sent which.

Encoded as they are sent, so that numbers only ever grow, also where a key frame was asked for.
"""

from __future__ import annotations

import asyncio
import fractions
import time

import av

from live777py.protocol.codecs import Format
from live777py.protocol.rtcp import FullIntraRequest, GenericNack, PictureLoss
from tests.support.media import RtpStream
from tests.support.numbered import picture
from tests.support.offers import h264, video
from tests.support.publishing import Publishing

WIDTH, HEIGHT, RATE = 320, 180, 25

#: Numbers that one publisher has for itself: more than two minutes.
EPOCH = 1 << 12

#: Seconds within which pictures go out on any machine.
PATIENCE = 60.0

SSRC = 0x6E756D62
CLOCK_RATE = 90_000


class NumberedPublisher(Publishing):
    """Publishes such pictures in real time while it is open; answers requests for a key frame.

    Attributes:
        first: the number of its first picture.
        sent_at: the wall clock's seconds at which each number was sent.
        packets: RTP packets sent so far.
        nacked: packets that it was asked to send again; it sends none.
        asked: how often it was asked for a key frame.
    """

    def __init__(self, url: str, *, epoch: int = 0, token: str | None = None) -> None:
        """Prepare.

        Args:
            url: of a WHIP endpoint.
            epoch: so many epochs after 0 the numbers begin.
            token: for the endpoint.
        """
        super().__init__(url, video(h264("42e01f"), ssrc=SSRC), token=token)
        self.first = epoch * EPOCH
        self.sent_at: dict[int, float] = {}
        self.packets = 0
        self.nacked = 0
        self.asked = 0
        self._stream = RtpStream(96, SSRC, Format.H264)
        self._encoder = _encoder()
        self._moved = asyncio.Event()

    @property
    def latest(self) -> int:
        """The number that was sent last."""
        return self.first + len(self.sent_at) - 1

    async def more(self, pictures: int) -> None:
        """Wait until so many more have been sent."""
        last = self.latest + pictures
        async with asyncio.timeout(PATIENCE):
            while self.latest < last:
                self._moved.clear()
                await self._moved.wait()

    async def _run(self) -> None:
        due = time.monotonic()
        for index in range(EPOCH):
            frame = picture(WIDTH, HEIGHT, self.first + index)
            frame.pts = index
            if self._is_asked():
                frame.pict_type = av.video.frame.PictureType.I
            self.sent_at[self.first + index] = time.time()
            for encoded in self._encoder.encode(frame):
                timestamp = index * CLOCK_RATE // RATE
                packets = self._stream.packets(bytes(encoded), timestamp)
                await self._client.send_rtp(*packets)
                self.packets += len(packets)
            self._moved.set()
            due += 1 / RATE
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    def _is_asked(self) -> bool:
        """Whether a key frame is wanted; counts what else is."""
        asked = len(self._client.rtcp_of(PictureLoss, FullIntraRequest))
        self.asked += asked
        for packet in self._client.rtcp_of(GenericNack):
            assert isinstance(packet, GenericNack)
            self.nacked += len(packet.lost)
        self._client.rtcp.clear()
        return asked > 0


def _encoder() -> av.VideoCodecContext:
    encoder = av.CodecContext.create("libx264", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    encoder.time_base = fractions.Fraction(1, RATE)
    encoder.framerate = fractions.Fraction(RATE, 1)
    encoder.bit_rate = 800_000
    # None but at the beginning and on request.
    encoder.gop_size = EPOCH
    encoder.max_b_frames = 0
    encoder.thread_count = 1
    encoder.options = {
        "preset": "ultrafast",
        "tune": "zerolatency",
        "profile": "baseline",
        "forced-idr": "1",
    }
    return encoder
