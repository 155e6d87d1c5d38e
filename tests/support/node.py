"""A server with a client of its cascade API, and what is sent through cascades in tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from live777py.protocol import rtp
from live777py.protocol.codecs import Codec, Format
from tests.support import media
from tests.support.offers import VP8, video
from tests.support.rtp_client import RtpClient
from tests.support.server import RunningServer, running

SSRC = 4242
PICTURE = media.encode(Format.VP8, frames=1)[0].data


async def until(
    condition: Callable[[], Awaitable[object]], timeout: float = 20.0
) -> None:
    """Wait until something is true of a server, which tells nobody."""
    async with asyncio.timeout(timeout):
        while not await condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


class NodeApi:
    """A client of a node's API, wherever the node runs."""

    def __init__(self, url: str, http: aiohttp.ClientSession) -> None:
        self.url = url
        self.http = http

    async def post(self, stream: str, **body: object) -> tuple[int, str, str]:
        """Ask for a cascade; status, Location and text of the answer."""
        async with self.http.post(f"{self.url}/api/cascade/{stream}", json=body) as r:
            return r.status, r.headers.get("Location", ""), await r.text()

    async def begin(self, stream: str, **body: object) -> str:
        """Make a cascade; its path."""
        status, location, text = await self.post(stream, **body)
        assert (status, text) == (200, ""), (status, text)
        return location

    async def get(self, path: str) -> Any:
        """JSON."""
        async with self.http.get(f"{self.url}{path}") as response:
            assert response.status == 200, await response.text()
            return await response.json()

    async def delete(self, path: str) -> int:
        """The status of a DELETE."""
        async with self.http.delete(f"{self.url}{path}") as response:
            return response.status

    async def streams(self) -> list[dict[str, Any]]:
        """What `GET /api/streams/` lists."""
        found: list[dict[str, Any]] = await self.get("/api/streams/")
        return found

    async def until_published(self, stream: str, timeout: float = 30.0) -> None:
        """Wait until somebody who publishes a stream is connected."""

        async def is_published() -> bool:
            sessions = await self.living(stream, "publish")
            return any(session["state"] == "connected" for session in sessions)

        await until(is_published, timeout)

    async def is_connected(self, location: str) -> bool:
        """Whether a cascade is."""
        return bool((await self.get(location))["state"] == "connected")

    async def connected(self, location: str) -> None:
        """Wait until a cascade is."""
        await until(lambda: self.is_connected(location))

    async def living(self, stream: str, side: str) -> list[dict[str, Any]]:
        """The sessions of a side that have not ended."""
        for found in await self.streams():
            if found["id"] == stream:
                sessions = found[side]["sessions"]
                return [s for s in sessions if s["state"] != "closed"]
        return []

    async def codecs(self, stream: str) -> list[str]:
        """What a stream carries."""
        for found in await self.streams():
            if found["id"] == stream:
                return [codec["codec"] for codec in found["codecs"]]
        return []


class Node(NodeApi):
    """A server of this process, and a client of its API."""

    def __init__(self, server: RunningServer, http: aiohttp.ClientSession) -> None:
        super().__init__(server.url, http)
        self.server = server


@asynccontextmanager
async def node(**sections: object) -> AsyncIterator[Node]:
    """A server for the time of a block."""
    async with running(**sections) as server, aiohttp.ClientSession() as http:
        yield Node(server, http)


def pictures() -> media.RtpStream:
    """What such a publisher sends."""
    return media.RtpStream(96, SSRC, Format.VP8)


def publisher(url: str, stream: str = "cam", codec: Codec = VP8) -> RtpClient:
    """A client that sends video."""
    return RtpClient.publisher(f"{url}/whip/{stream}", video(codec, ssrc=SSRC))


def viewer(url: str, stream: str = "cam") -> RtpClient:
    """A client that receives VP8."""
    return RtpClient.viewer(f"{url}/whep/{stream}", video(VP8))


async def sends(client: RtpClient, stream: media.RtpStream, to: RtpClient) -> None:
    """Send a picture, and wait until all of it came out at the other end as it was.

    What was sent before may still be under way.
    """
    before = len(to.rtp_of("video"))
    sent = stream.packets(PICTURE, 3000)
    expected = [rtp.parse(packet).payload for packet in sent]

    def has_come() -> bool:
        came = [packet.payload for packet in to.rtp_of("video")[before:]]
        return came[-len(expected) :] == expected

    await client.send_rtp(*sent)
    await to.until(has_come)
