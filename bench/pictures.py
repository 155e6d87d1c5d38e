"""Publishers and viewers of every codec, at any server: they encode and decode."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeAlias

import av
import numpy as np

from bench.target import Endpoint
from live777py.protocol.codecs import Codec
from tests.support import ffmpeg_whip, media
from tests.support.decoding import DecodingViewer
from tests.support.offers import AV1, H265, OPUS, VP9, audio, video
from tests.support.rtp_client import RtpClient
from tests.support.whep_client import WhepClient
from tests.support.whip_client import ColourTrack, ToneTrack, WhipClient

#: Published by FFmpeg's own muxer.
FFMPEG = "H.264 High, stereo Opus"
#: Published by stock aiortc.
AIORTC = {
    "VP8, Opus": "VP8",
    "VP8 alone": "VP8",
    "H.264 Baseline, Opus": "H264",
}
#: Encoded before, and played in a loop.
LOOPED = {"H.265, Opus": H265, "VP9, Opus": VP9, "AV1, Opus": AV1}

CODECS = (*AIORTC, FFMPEG, *LOOPED)

#: Either of the tests' clients that decode.
Viewer: TypeAlias = WhepClient | DecodingViewer

#: Pictures a second of what was encoded before.
RATE = 30

RED, BLUE = (200, 40, 40), (30, 40, 210)

#: Frames of each kind that a viewer has to decode.
ENOUGH = 30

#: Mean magnitude of decoded samples: more is no silence.
LOUD = 500

#: Seconds until pictures have to be there, and until they have to be back.
PATIENCE = 30.0
HEALED = 90.0

#: Seconds between two attempts at what a server refuses until it is ready.
RETRY = 0.25


@contextlib.asynccontextmanager
async def publishing(
    to: Endpoint, codec: str, colour: tuple[int, int, int] = RED
) -> AsyncIterator[None]:
    """Publish for the time of a block, as soon as the server accepts it."""
    if codec == FFMPEG:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "published"
            process = await ffmpeg_whip.start(
                to.url, path, seconds=4 * HEALED, token=to.token
            )
            try:
                yield
            finally:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.communicate()
        return
    async with contextlib.AsyncExitStack() as stack:
        if codec in LOOPED:
            loop = Loop(LOOPED[codec], colour)
            client = await accepted(lambda: loop.client(to))
            sending = asyncio.create_task(loop.play(client))
            stack.callback(sending.cancel)
        else:
            client = await accepted(lambda: aiortc_publisher(to, codec, colour))
        stack.push_async_callback(left, client)
        yield


def aiortc_publisher(
    to: Endpoint, codec: str, colour: tuple[int, int, int]
) -> WhipClient:
    """Encodes a colour and a tone."""
    tracks = (ColourTrack(colour), ToneTrack())
    chosen = tracks[:1] if codec.endswith("alone") else tracks
    made = WhipClient(to.url, *chosen, codec=AIORTC[codec])
    made.signalling.token = to.token
    return made


class Loop:
    """A colour and a tone, encoded once: two seconds that begin with a key frame."""

    def __init__(self, codec: Codec, colour: tuple[int, int, int]) -> None:
        self._codec = codec
        plain = np.full((240, 320, 3), colour, np.uint8)
        self._pictures = media.encode(
            codec.format,
            frames=2 * RATE,
            rate=RATE,
            key_interval=RATE,
            draw=lambda *_: av.VideoFrame.from_ndarray(plain, format="rgb24"),
        )
        self._sound = media.encode_opus(2.0)

    def client(self, to: Endpoint) -> RtpClient:
        """Its publisher."""
        made = RtpClient.publisher(
            to.url, video(self._codec, ssrc=1234), audio(OPUS, ssrc=4321)
        )
        made.signalling.token = to.token
        return made

    async def play(self, client: RtpClient) -> None:
        """Send it in real time, again and again."""
        pictures = media.RtpStream(96, 1234, self._codec.format)
        sounds = media.RtpStream(111, 4321)
        began = time.monotonic()
        heard = 0
        for number in itertools.count():
            await asyncio.sleep(began + number / RATE - time.monotonic())
            picture = self._pictures[number % len(self._pictures)]
            await client.send_rtp(
                *pictures.packets(picture.data, number * 90_000 // RATE)
            )
            while heard * RATE < number * 50:
                sound = self._sound[heard % len(self._sound)]
                await client.send_rtp(*sounds.packets(sound, heard * 960))
                heard += 1


def viewer_of(endpoint: Endpoint, codec: str) -> Callable[[], Viewer]:
    """A viewer each time when called."""

    def client() -> Viewer:
        made: Viewer = (
            DecodingViewer(endpoint.url, LOOPED[codec])
            if codec in LOOPED
            else WhepClient(endpoint.url)
        )
        made.signalling.token = endpoint.token
        return made

    return client


async def accepted(client: Callable[[], Any]) -> Any:
    """Enter a client, again and again while it is refused.

    Raises:
        TimeoutError: it always was; the last refusal is its cause.
    """
    ends = time.monotonic() + PATIENCE
    while True:
        try:
            return await client().__aenter__()
        except Exception as error:
            if time.monotonic() > ends:
                raise TimeoutError(f"refused for {PATIENCE:g} s: {error}") from error
        await asyncio.sleep(RETRY)


async def left(client: Any) -> None:
    """Leave a client whose server may be gone."""
    with contextlib.suppress(Exception):
        await client.__aexit__(None, None, None)


def arrived(viewer: Viewer, codec: str) -> Callable[[], bool]:
    """Whether there were pictures and sound, enough of both."""
    is_silent = codec.endswith("alone")
    return lambda: (
        viewer.frames["video"] >= ENOUGH
        and (is_silent or (viewer.frames["audio"] >= ENOUGH and viewer.loudness > LOUD))
    )
