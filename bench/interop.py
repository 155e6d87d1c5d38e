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
import os
import shlex
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeAlias
from urllib.parse import urlsplit

import aiohttp

from bench.pictures import (
    BLUE,
    CODECS,
    ENOUGH,
    FFMPEG,
    HEALED,
    PATIENCE,
    RETRY,
    Viewer,
    accepted,
    arrived,
    left,
    publishing,
    viewer_of,
)
from bench.process import ServerProcess
from bench.target import Endpoint
from live777py import __version__

Direction: TypeAlias = Literal["pull", "push"]


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
            with contextlib.suppress(ProcessLookupError):
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
        carried: whether the other server's own viewer has pictures of its own publisher.
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
    carried: bool = True


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


async def shown_first(viewer: Viewer, outcome: Outcome, began: float) -> None:
    """Wait until a viewer has seen and heard enough, and note when that was."""
    await viewer.until(arrived(viewer, outcome.codec), PATIENCE)
    outcome.first = time.monotonic() - began
    outcome.video, outcome.audio = viewer.frames["video"], viewer.frames["audio"]


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
        await shown_first(viewer, outcome, began)
        outcome.stream = await ours.carries(name)
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
        await shown_first(viewer, outcome, began)
        outcome.stream = await ours.carries(name)
        if other.command:
            await other.kill()
            await asyncio.wait_for(ours.lost(cascade), HEALED)
            began = time.monotonic()
            await other.start()
            back = await accepted(viewer_of(whep, outcome.codec))
            stack.push_async_callback(left, back)
            await back.until(arrived(back, outcome.codec), HEALED)
            outcome.healed = time.monotonic() - began


async def carried(other: Other, codec: str) -> str:
    """Publish to the other server and watch there; what is wrong with that, if anything."""
    whip, whep = other.stream()
    try:
        async with publishing(whip, codec):
            viewer = await accepted(viewer_of(whep, codec))
            try:
                await viewer.until(arrived(viewer, codec), PATIENCE)
            finally:
                await left(viewer)
    except Exception as error:
        return described(error)
    return ""


def described(error: Exception) -> str:
    """An error in words."""
    return f"{type(error).__name__} {error}".strip()


WAYS: dict[Direction, Callable[[Ours, Other, Outcome], Awaitable[None]]] = {
    "pull": pulled,
    "push": pushed,
}


async def attempt(ours: Ours, other: Other, outcome: Outcome) -> None:
    """Try one cascade."""
    try:
        await WAYS[outcome.direction](ours, other, outcome)
    except Exception as error:
        # A server may fail in any way, and the others are still of interest.
        outcome.fault = described(error)
        await other.kill()
        await other.start()


async def run(others: list[Other], codecs: list[str]) -> list[Outcome]:
    """Every server in both directions with every codec."""
    outcomes = []
    async with ServerProcess(None) as server, aiohttp.ClientSession() as http:
        ours = Ours(server.url, http)
        for other in others:
            await other.start()
            try:
                for codec in codecs:
                    missing = await carried(other, codec)
                    for direction in WAYS:
                        outcome = Outcome(other.name, direction, codec, missing)
                        outcome.carried = not missing
                        outcomes.append(outcome)
                        if outcome.carried:
                            await attempt(ours, other, outcome)
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
    # Of the AV1 encoder, which is talkative.
    os.environ.setdefault("SVT_LOG", "1")
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
    return int(any(outcome.fault for outcome in outcomes if outcome.carried))


if __name__ == "__main__":
    sys.exit(main())
