"""The fleet that is started without a file: a publisher at the origin, a viewer at each edge."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from live777py import fleet
from live777py.fleet.plan import EXAMPLE
from live777py.protocol.codecs import Format
from tests.support import media
from tests.support.node import (
    PICTURE,
    SSRC,
    NodeApi,
    publisher,
    sends,
    until,
    viewer,
)
from tests.support.rtp_client import RtpClient

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


async def arrives(client: RtpClient, stream: media.RtpStream, to: RtpClient) -> None:
    """Send pictures until one has come from now on."""
    before = len(to.rtp_of("video"))
    async with asyncio.timeout(60):
        while len(to.rtp_of("video")) == before:
            await client.send_rtp(*stream.packets(PICTURE, 90_000))
            await asyncio.sleep(0.02)


async def test_the_example_serves_viewers_at_its_edges_and_heals() -> None:
    async with (
        fleet.running(fleet.parse(EXAMPLE)) as nodes,
        aiohttp.ClientSession() as http,
    ):
        assert list(nodes) == ["origin", "edge-1", "edge-2"]
        origin, one, two = (NodeApi(node.url, http) for node in nodes.values())
        async with viewer(one.url) as at_one, viewer(two.url) as at_two:
            stream = media.RtpStream(96, SSRC, Format.VP8)
            async with publisher(origin.url) as client:
                await arrives(client, stream, at_one)
                await arrives(client, stream, at_two)
                await sends(client, stream, at_one)
                await sends(client, stream, at_two)
                assert len(await origin.living("cam", "subscribe")) == 2
                await nodes["origin"].kill()
                await client.vanish()
            # The viewers stay, and so do the wishes of their edges.
            await nodes["origin"].restart()
            async with publisher(origin.url) as client:
                await arrives(client, stream, at_one)
                await arrives(client, stream, at_two)

        async def is_forgotten() -> bool:
            return not any([await edge.streams() for edge in (one, two)])

        await until(is_forgotten, 60)
