"""What is lost between two nodes is mended between them, and wishes for pictures are joined."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from live777py.protocol.codecs import Format
from live777py.protocol.rtcp import GenericNack, PictureLoss
from tests.support import media
from tests.support.link import Link
from tests.support.node import PICTURE, SSRC, Node, node, publisher, until
from tests.support.offers import VP8, video
from tests.support.rtp_client import RtpClient

pytestmark = pytest.mark.timeout(120)

#: Packets that a test sends before it loses one, and after.
SOME = 20

VIEWERS = 100


@asynccontextmanager
async def through(link: Link, url: str) -> AsyncIterator[str]:
    """A node's HTTP under another URL, with the link for the only way of its media."""

    async def forward(request: web.Request) -> web.Response:
        async with http.request(
            request.method,
            f"{url}{request.path_qs}",
            headers={"Content-Type": request.content_type},
            data=await request.read(),
        ) as reply:
            body = await reply.text()
            headers = {
                name: reply.headers[name]
                for name in ("Content-Type", "Location", "ETag")
                if name in reply.headers
            }
            if reply.status == 201:
                body = link.rewrite(body)
            return web.Response(
                status=reply.status, headers=headers, body=body.encode()
            )

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", forward)
    runner = web.AppRunner(app, access_log=None)
    async with aiohttp.ClientSession() as http:
        await runner.setup()
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            await web.SockSite(runner, sock).start()
            yield f"http://127.0.0.1:{sock.getsockname()[1]}"
            await runner.cleanup()


def is_media(data: bytes) -> bool:
    """Whether a datagram is SRTP (RFC 7983, RFC 5761)."""
    return 127 < data[0] < 192 and not 192 <= data[1] < 224


class Losing:
    """Loses the next of a link's media packets, when told to; what follows must come."""

    def __init__(self) -> None:
        self.is_due = False
        self.lost = 0

    def __call__(self, data: bytes) -> bool:
        """Whether to lose this one."""
        if self.is_due and is_media(data):
            self.is_due = False
            self.lost += 1
            return True
        return False


def retransmitted(at: Node) -> int:
    """Packets that a node has sent again."""
    return at.server.counters["retransmitted"]


def nacks(client: RtpClient) -> list[GenericNack]:
    return [p for p in client.rtcp if isinstance(p, GenericNack)]


@pytest.mark.parametrize("way", ["pull", "push"])
async def test_a_packet_that_is_lost_between_nodes_is_sent_again_between_them(
    way: str,
) -> None:
    losing = Losing()
    async with AsyncExitStack() as stack:
        there = await stack.enter_async_context(node())
        link = await stack.enter_async_context(Link())
        url = await stack.enter_async_context(through(link, there.url))
        here = await stack.enter_async_context(node())
        first, last = (there, here) if way == "pull" else (here, there)
        client = await stack.enter_async_context(publisher(first.url))
        await first.server.until_published("cam")
        if way == "pull":
            location = await last.begin("cam", sourceUrl=f"{url}/whep/cam")
            direction, stream = link.down, "cam"
        else:
            location = await first.begin("cam", targetUrl=f"{url}/whip/far")
            direction, stream = link.up, "far"
        await here.connected(location)
        direction.drop = losing
        watching = await stack.enter_async_context(
            RtpClient.viewer(f"{last.url}/whep/{stream}", video(VP8, rtx=True))
        )
        frames = media.RtpStream(96, SSRC, Format.VP8)
        times = itertools.count(0, 3000)

        async def one_comes() -> bool:
            await client.send_rtp(*frames.packets(PICTURE, next(times)))
            return bool(watching.rtp_of("video"))

        await until(one_comes)
        before = retransmitted(first)
        sent = [bytes([16, n]) + bytes(50) for n in range(2 * SOME)]
        for number, payload in enumerate(sent):
            if number == SOME:
                losing.is_due = True
            await client.send_rtp(*frames.packets(payload, next(times)))

        def all_have_come() -> bool:
            came = [p.payload for p in watching.rtp_of("video")]
            return set(came) >= {b"\x10" + payload for payload in sent}

        await watching.until(all_have_come, 20)
        assert losing.lost == 1
        # It is counted a moment after it was sent.
        async with asyncio.timeout(20):
            while retransmitted(first) == before:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        # Who published was not asked.
        assert nacks(client) == []


async def test_a_viewers_loss_is_mended_by_its_own_node() -> None:
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(node())
        last = await stack.enter_async_context(node())
        client = await stack.enter_async_context(publisher(first.url))
        location = await last.begin("cam", sourceUrl=f"{first.url}/whep/cam")
        await last.connected(location)
        watching = await stack.enter_async_context(
            RtpClient.viewer(f"{last.url}/whep/cam", video(VP8, rtx=True))
        )
        frames = media.RtpStream(96, SSRC, Format.VP8)
        times = itertools.count(0, 3000)

        async def some_have_come() -> bool:
            await client.send_rtp(*frames.packets(PICTURE, next(times)))
            return len(watching.rtp_of("video")) > SOME

        await until(some_have_come)
        lost = watching.rtp_of("video")[-1]
        before = len(watching.rtp), retransmitted(first)
        await watching.send_rtcp(GenericNack(7, lost.ssrc, (lost.sequence,)))
        await watching.until(lambda: len(watching.rtp) > before[0])
        assert retransmitted(first) == before[1]
        assert nacks(client) == []


def wanted(at: Node) -> int:
    """Requests for key frames that came to a node."""
    return at.server.counters["key_frames_wanted"]


async def test_the_wishes_of_a_hundred_viewers_are_one_upstream() -> None:
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(node())
        last = await stack.enter_async_context(node())
        client = await stack.enter_async_context(publisher(first.url))
        location = await last.begin("cam", sourceUrl=f"{first.url}/whep/cam")
        await last.connected(location)
        frames = media.RtpStream(96, SSRC, Format.VP8)
        times = itertools.count(0, 3000)

        answers = 0

        def is_asked() -> bool:
            return len(client.rtcp_of(PictureLoss)) > answers

        async def answered() -> None:
            """Answer every wish for a picture, as an encoder does."""
            nonlocal answers
            while True:
                await client.until(is_asked, 3600)
                answers = len(client.rtcp_of(PictureLoss))
                await client.send_rtp(*frames.packets(PICTURE, next(times)))

        await client.send_rtp(*frames.packets(PICTURE, next(times)))
        encoder = asyncio.create_task(answered())
        stack.callback(encoder.cancel)
        viewers = [
            RtpClient.viewer(f"{last.url}/whep/cam", video(VP8)) for _ in range(VIEWERS)
        ]
        for viewer in viewers:
            await stack.enter_async_context(viewer)
        await viewers[-1].until(lambda: viewers[-1].rtp_of("video"), 20)
        before = (
            len(client.rtcp_of(PictureLoss)),
            wanted(first),
            wanted(last),
        )
        came = [len(viewer.rtp_of("video")) for viewer in viewers]
        ssrc = viewers[0].rtp_of("video")[0].ssrc
        for viewer in viewers:
            await viewer.send_rtcp(PictureLoss(7, ssrc))

        def has_it(index: int) -> Callable[[], bool]:
            return lambda: len(viewers[index].rtp_of("video")) > came[index]

        for index, viewer in enumerate(viewers):
            await viewer.until(has_it(index), 20)

        await viewers[-1].until(lambda: wanted(last) - before[2] == VIEWERS)
        assert wanted(first) - before[1] <= 2
        assert len(client.rtcp_of(PictureLoss)) - before[0] <= 2
