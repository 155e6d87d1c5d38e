"""A server that numbers its packets for congestion control is told which have come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from aiohttp import web
from yarl import URL

from live777py.protocol.codecs import Format
from live777py.protocol.extensions import URIS, Extension
from live777py.protocol.rtcp import Remb
from live777py.protocol.transport_feedback import TransportFeedback
from tests.support import media
from tests.support.node import PICTURE, SSRC, node, viewer
from tests.support.offers import VP8, video
from tests.support.rtp_client import RtpClient
from tests.support.signalling import Signalling

pytestmark = pytest.mark.timeout(60)

URI = {extension: uri for uri, extension in URIS.items()}

#: The ids of the server that is pulled from.
NUMBER, ORIENTATION = 5, 6


@dataclass
class Handed(Signalling):
    """Hands an offer to whoever asks, and waits for the answer."""

    offered: asyncio.Future[str] = field(default_factory=asyncio.Future)
    answered: asyncio.Future[str] = field(default_factory=asyncio.Future)

    async def post(self, offer: str) -> str:
        """Wait for what comes back."""
        self.offered.set_result(offer)
        self.location = URL("http://127.0.0.1/session")
        return await self.answered

    async def delete(self) -> int:
        """There is nobody to tell."""
        return 204


@asynccontextmanager
async def server() -> AsyncIterator[tuple[str, RtpClient]]:
    """A WHEP server that makes the offer, numbers its packets and sends what a test tells it."""
    sent = video(VP8, ssrc=SSRC)
    sent.extensions.update(
        {
            NUMBER: URI[Extension.TRANSPORT_CC],
            ORIENTATION: URI[Extension.VIDEO_ORIENTATION],
        }
    )
    line = "a=rtpmap:96 VP8/90000"
    more = "a=rtcp-fb:96 transport-cc\r\na=rtcp-fb:96 goog-remb"
    client = RtpClient(
        "",
        [sent],
        direction="sendonly",
        edit_offer=lambda offer: offer.replace(line, f"{line}\r\n{more}"),
    )
    client.signalling = handed = Handed("")
    client._ice._connection.ice_controlling = False

    async def offer(_request: web.Request) -> web.Response:
        return web.Response(
            status=406,
            text=await handed.offered,
            content_type="application/sdp",
            headers={"Location": "/session"},
        )

    async def take(request: web.Request) -> web.Response:
        handed.answered.set_result(await request.text())
        return web.Response(status=204)

    async def end(_request: web.Request) -> web.Response:
        return web.Response()

    app = web.Application()
    app.router.add_post("/whep", offer)
    app.router.add_patch("/session", take)
    app.router.add_delete("/session", end)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}/whep", client
    finally:
        await client.vanish()
        await runner.cleanup()


async def test_arrivals_are_reported_and_numbers_are_not_handed_on() -> None:
    async with server() as (url, client), node() as here:
        async with asyncio.TaskGroup() as group:
            connecting = group.create_task(client.__aenter__())
            location = await here.begin("cam", sourceUrl=url)
        assert connecting.done()
        await here.connected(location)
        wanted = video(VP8)
        wanted.extensions[9] = URI[Extension.VIDEO_ORIENTATION]
        async with (
            viewer(here.url) as plain,
            RtpClient.viewer(f"{here.url}/whep/cam", wanted) as watching,
        ):
            stream = media.RtpStream(96, SSRC, Format.VP8)
            numbers = set()
            for number in range(65_530, 65_550):
                stream.extensions = {
                    NUMBER: (number & 0xFFFF).to_bytes(2),
                    ORIENTATION: b"\x01",
                }
                # One packet each, as each number is of one packet.
                await client.send_rtp(*stream.packets(PICTURE[:500], 3000 * number))
                numbers.add(number & 0xFFFF)

            def reported() -> set[int]:
                found = [p for p in client.rtcp if isinstance(p, TransportFeedback)]
                return {number for packet in found for number, _ in packet.received}

            await client.until(lambda: reported() == numbers)
            assert not client.rtcp_of(Remb)
            await watching.until(lambda: watching.rtp_of("video"))
            await plain.until(lambda: plain.rtp_of("video"))
            assert watching.rtp_of("video")[0].extensions == {9: b"\x01"}
            assert plain.rtp_of("video")[0].extensions == {}
