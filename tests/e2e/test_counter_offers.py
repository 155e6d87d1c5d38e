"""Pulls from servers that make the offer themselves (draft-ietf-wish-whep-03 section 4.3.2)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from aiohttp import web
from aiortc import (
    RTCConfiguration,
    RTCPeerConnection,
    RTCSessionDescription,
    VideoStreamTrack,
)

from tests.support.front import front_of
from tests.support.http import served
from tests.support.loopback import loopback_only
from tests.support.node import (
    PICTURE,
    node,
    pictures,
    publisher,
    sends,
    until,
    viewer,
)

pytestmark = pytest.mark.timeout(60)


@pytest.mark.parametrize("is_early", [False, True])
async def test_our_own_servers_offer_is_taken(is_early: bool) -> None:
    """Also before it knows what it will send."""
    async with (
        node() as there,
        node() as here,
        front_of(there.url) as front,
        AsyncExitStack() as stack,
    ):
        front.offers = True
        client = publisher(there.url)
        if not is_early:
            await stack.enter_async_context(client)
            await there.server.until_published("cam")
        location = await here.begin("cam", sourceUrl=f"{front.url}/whep/cam")
        await here.connected(location)
        watching = await stack.enter_async_context(viewer(here.url))
        if is_early:
            await stack.enter_async_context(client)
            await there.server.until_published("cam")
        stream = pictures()
        first = stream.packets(PICTURE, 0)
        await client.send_rtp(*first)
        await watching.until(lambda: len(watching.rtp_of("video")) == len(first))
        await sends(client, stream, watching)
        asked = [(asked.method, asked.status) for asked in front.asked]
        assert asked == [("POST", 406), ("PATCH", 204)]
        assert "a=ice-lite" not in front.of("PATCH")[0].body
        assert await here.delete(location) == 204
        assert front.asked[-1].method == "DELETE"
        assert await there.living("cam", "subscribe") == []


async def test_an_offer_that_sends_nothing_is_refused_and_its_session_deleted() -> None:
    async with node() as there, node() as here, front_of(there.url) as front:
        front.offers = True
        front.rewrite = lambda sdp: sdp.replace("a=sendonly", "a=recvonly")
        status, _, text = await here.post("cam", sourceUrl=f"{front.url}/whep/cam")
        assert status == 502
        assert "sends nothing" in text
        assert [asked.method for asked in front.asked] == ["POST", "DELETE"]
        assert await there.living("cam", "subscribe") == []


class FullServer:
    """A server that offers whatever it is asked, and is no ICE-lite agent.

    Attributes:
        url: of its endpoint.
        seen: the requests.
    """

    def __init__(self) -> None:
        self.url = ""
        self.seen: list[str] = []
        self._peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._peer.addTrack(VideoStreamTrack())

    async def offer(self, _request: web.Request) -> web.Response:
        self.seen.append("POST")
        with loopback_only():
            await self._peer.setLocalDescription(await self._peer.createOffer())
        return web.Response(
            status=406,
            text=self._peer.localDescription.sdp,
            content_type="application/sdp",
            headers={"Location": "session"},
        )

    async def take(self, request: web.Request) -> web.Response:
        self.seen.append("PATCH")
        answer = RTCSessionDescription(await request.text(), "answer")
        await self._peer.setRemoteDescription(answer)
        return web.Response(status=204)

    async def end(self, _request: web.Request) -> web.Response:
        self.seen.append("DELETE")
        return web.Response()

    async def close(self) -> None:
        await self._peer.close()


@asynccontextmanager
async def full_server() -> AsyncIterator[FullServer]:
    server = FullServer()
    app = web.Application()
    app.router.add_post("/whep", server.offer)
    app.router.add_patch("/session", server.take)
    app.router.add_delete("/session", server.end)
    try:
        async with served(app) as url:
            server.url = f"{url}/whep"
            yield server
    finally:
        await server.close()


async def test_the_offer_of_a_full_ice_agent_is_taken() -> None:
    async with full_server() as there, node() as here:
        location = await here.begin("cam", sourceUrl=there.url)
        await here.connected(location)

        async def is_known() -> bool:
            return await here.codecs("cam") == ["vp8"]

        await until(is_known)
        async with viewer(here.url) as watching:
            await watching.until(lambda: len(watching.rtp_of("video")) > 20)
        assert there.seen == ["POST", "PATCH"]
        assert await here.delete(location) == 204
        assert there.seen[-1] == "DELETE"
