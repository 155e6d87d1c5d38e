"""`python -m bench.interop`: streams pulled from other servers and pushed to them, with pictures.

Another server that runs on this machine: `--peer NAME WHIP WHEP [TOKEN]`, where `{n}` in an URL or
token stands for a stream's number. `--start NAME COMMAND` has this program start that server, kill
it while it is pulled from or pushed to, and start it again. Viewers and publishers are those of the
tests: they encode and decode, so that what arrives is pictures.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import shlex
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeAlias
from urllib.parse import urlsplit

import aiohttp
import av
import numpy as np

from bench.process import ServerProcess
from bench.target import Endpoint
from live777py import __version__
from live777py.protocol.codecs import Codec
from tests.support import ffmpeg_whip, media
from tests.support.decoding import DecodingViewer
from tests.support.offers import AV1, H265, OPUS, VP9, audio, video
from tests.support.rtp_client import RtpClient
from tests.support.whep_client import WhepClient
from tests.support.whip_client import ColourTrack, ToneTrack, WhipClient

Direction: TypeAlias = Literal["pull", "push"]

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


@dataclass
class Other:
    """Another server.

    Attributes:
        name: with its version, for the table.
        whip_url, whep_url, token: `{n}` stands for a stream's number.
        command: starts it; empty where it runs already.
    """

    name: str
    whip_url: str
    whep_url: str
    token: str = ""
    command: str = ""
    _process: asyncio.subprocess.Process | None = None
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    def stream(self) -> tuple[Endpoint, Endpoint]:
        """WHIP and WHEP of a stream that it never had."""
        number = f"{time.time_ns() // 1_000_000_000 % 100_000}{next(self._numbers)}"
        token = self.token.replace("{n}", number) or None
        whip, whep = (
            url.replace("{n}", number) for url in (self.whip_url, self.whep_url)
        )
        return Endpoint(whip, token), Endpoint(whep, token)

    async def start(self) -> None:
        """Start it, if that is our business; returns when it can be asked."""
        if self.command:
            self._process = await asyncio.create_subprocess_exec(
                *shlex.split(self.command), stdout=asyncio.subprocess.DEVNULL
            )
        parts = urlsplit(self.whip_url)
        async with asyncio.timeout(PATIENCE):
            while True:
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection(
                        parts.hostname, parts.port
                    )
                    writer.close()
                    return
                await asyncio.sleep(RETRY)

    async def kill(self) -> None:
        """It is gone, without a word to anybody."""
        if self._process is not None:
            self._process.kill()
            await self._process.wait()
            self._process = None


@dataclass
class Outcome:
    """What became of one cascade.

    Attributes:
        peer, direction, codec: which it was.
        fault: what went wrong; empty when nothing did.
        first: seconds from the request for the cascade to `ENOUGH` frames of both kinds.
        video, audio: decoded frames when it was left.
        stream: the codecs, by the account of our node.
        healed: seconds from the other server's second start to its pictures; None if it was not
            started by us.
    """

    peer: str
    direction: Direction
    codec: str
    fault: str = ""
    first: float | None = None
    video: int = 0
    audio: int = 0
    stream: str = ""
    healed: float | None = None


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


class Ours:
    """Our node, and its API."""

    def __init__(self, url: str, http: aiohttp.ClientSession) -> None:
        self.url = url
        self._http = http

    async def begin(self, stream: str, **body: str) -> str:
        """Make a cascade, as soon as its stream is there; returns its path."""
        ends = time.monotonic() + PATIENCE
        while True:
            url = f"{self.url}/api/cascade/{stream}"
            async with self._http.post(url, json=body) as reply:
                if reply.status == 200:
                    return reply.headers["Location"]
                refusal = f"{reply.status} {await reply.text()}"
            if time.monotonic() > ends:
                raise TimeoutError(refusal)
            await asyncio.sleep(RETRY)

    async def get(self, path: str) -> Any:
        """JSON."""
        async with self._http.get(f"{self.url}{path}") as reply:
            reply.raise_for_status()
            return await reply.json()

    async def delete(self, path: str) -> None:
        """DELETE."""
        async with self._http.delete(f"{self.url}{path}") as reply:
            reply.raise_for_status()

    async def carries(self, stream: str) -> str:
        """The codecs of a stream."""
        for found in await self.get("/api/streams/"):
            if found["id"] == stream:
                return ", ".join(
                    " ".join(filter(None, (codec["codec"], codec.get("profile"))))
                    for codec in found["codecs"]
                )
        return ""

    async def lost(self, cascade: str) -> None:
        """Wait until a cascade is not connected."""
        while (await self.get(cascade))["state"] == "connected":  # noqa: ASYNC110
            await asyncio.sleep(RETRY)


async def pulled(ours: Ours, other: Other, outcome: Outcome) -> None:
    """Publish to the other server, pull from it, watch at ours."""
    whip, whep = other.stream()
    name = f"pull{time.time_ns()}"
    async with contextlib.AsyncExitStack() as stack:
        inner = await stack.enter_async_context(contextlib.AsyncExitStack())
        await inner.enter_async_context(publishing(whip, outcome.codec))
        cascade = await ours.begin(name, sourceUrl=whep.url, token=whep.token or "")
        stack.push_async_callback(ours.delete, cascade)
        began = time.monotonic()
        here = Endpoint(f"{ours.url}/whep/{name}")
        viewer = await accepted(viewer_of(here, outcome.codec))
        stack.push_async_callback(left, viewer)
        await viewer.until(arrived(viewer, outcome.codec), PATIENCE)
        outcome.first = time.monotonic() - began
        outcome.stream = await ours.carries(name)
        outcome.video, outcome.audio = viewer.frames["video"], viewer.frames["audio"]
        if other.command:
            await other.kill()
            await inner.aclose()
            await asyncio.wait_for(ours.lost(cascade), HEALED)
            began = time.monotonic()
            await other.start()
            before = viewer.frames["video"]
            await inner.enter_async_context(publishing(whip, outcome.codec, BLUE))
            is_plain = outcome.codec != FFMPEG
            await viewer.until(
                lambda: (
                    viewer.frames["video"] >= before + ENOUGH
                    and (not is_plain or viewer.shows(BLUE))
                ),
                HEALED,
            )
            outcome.healed = time.monotonic() - began


async def pushed(ours: Ours, other: Other, outcome: Outcome) -> None:
    """Publish to ours, push from it, watch at the other server."""
    whip, whep = other.stream()
    name = f"push{time.time_ns()}"
    here = Endpoint(f"{ours.url}/whip/{name}")
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(publishing(here, outcome.codec))
        cascade = await ours.begin(name, targetUrl=whip.url, token=whip.token or "")
        stack.push_async_callback(ours.delete, cascade)
        began = time.monotonic()
        viewer = await accepted(viewer_of(whep, outcome.codec))
        stack.push_async_callback(left, viewer)
        await viewer.until(arrived(viewer, outcome.codec), PATIENCE)
        outcome.first = time.monotonic() - began
        outcome.stream = await ours.carries(name)
        outcome.video, outcome.audio = viewer.frames["video"], viewer.frames["audio"]
        if other.command:
            await other.kill()
            await asyncio.wait_for(ours.lost(cascade), HEALED)
            began = time.monotonic()
            await other.start()
            back = await accepted(viewer_of(whep, outcome.codec))
            stack.push_async_callback(left, back)
            await back.until(arrived(back, outcome.codec), HEALED)
            outcome.healed = time.monotonic() - began


WAYS: dict[Direction, Callable[[Ours, Other, Outcome], Awaitable[None]]] = {
    "pull": pulled,
    "push": pushed,
}


async def run(others: list[Other], codecs: list[str]) -> list[Outcome]:
    """Every server in both directions with every codec."""
    outcomes = []
    async with ServerProcess(None) as server, aiohttp.ClientSession() as http:
        ours = Ours(server.url, http)
        for other in others:
            await other.start()
            try:
                for codec, (direction, way) in itertools.product(codecs, WAYS.items()):
                    outcome = Outcome(other.name, direction, codec)
                    outcomes.append(outcome)
                    try:
                        await way(ours, other, outcome)
                    except Exception as error:
                        # A server may fail in any way, and the others are still of interest.
                        outcome.fault = f"{type(error).__name__} {error}".strip()
                        await other.kill()
                        await other.start()
                    print(outcome, file=sys.stderr)
            finally:
                await other.kill()
    return outcomes


def main() -> int:
    """Read arguments, try, print JSON.

    Returns:
        The exit status: 1 if anything failed.
    """
    parser = argparse.ArgumentParser(
        prog="python -m bench.interop", description=__doc__
    )
    parser.add_argument(
        *("--peer", "-p"),
        nargs="+",
        action="append",
        required=True,
        metavar="NAME WHIP WHEP",
    )
    parser.add_argument(
        "--start", nargs=2, action="append", default=[], metavar=("NAME", "COMMAND")
    )
    parser.add_argument("--codec", nargs="+", choices=CODECS, default=list(CODECS))
    parser.add_argument("--json", type=Path, help="write the outcomes here")
    options = parser.parse_args()
    commands = dict(options.start)
    others = []
    for values in options.peer:
        if len(values) not in (3, 4):
            parser.error("--peer takes NAME WHIP WHEP [TOKEN]")
        name, whip, whep, *token = values
        others.append(Other(name, whip, whep, "".join(token), commands.get(name, "")))
    outcomes = asyncio.run(run(others, options.codec))
    text = json.dumps(
        {
            "date": datetime.now(UTC).date().isoformat(),
            "version": __version__,
            "outcomes": [vars(outcome) for outcome in outcomes],
        },
        indent=2,
    )
    if options.json:
        options.json.write_text(text + "\n")
    else:
        print(text)
    return int(any(outcome.fault for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
