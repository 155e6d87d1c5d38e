"""Viewers who have watched before: no picture comes to them a second time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from live777py.protocol import rtp
from live777py.protocol.headers import SEEN, read_seen
from live777py.protocol.rtcp import FullIntraRequest, PictureLoss
from tests.api.native.support import SDP, WHEP_OFFER
from tests.support.front import front_of
from tests.support.node import PICTURE, Node, node, pictures, publisher, until, viewer
from tests.support.rtp_client import RtpClient

pytestmark = pytest.mark.timeout(60)

#: The beginning of a VP8 frame that is no key frame (RFC 6386 section 9.1).
DELTA = b"\x01\x00\x00"

#: Pictures that are looked at.
SOME = 20


@contextlib.asynccontextmanager
async def publishing(at: Node, *, is_deaf: bool = False) -> AsyncIterator[None]:
    """Publish numbered pictures; the first is a key frame, others where one is asked for."""

    async def send(client: RtpClient) -> None:
        stream = pictures()
        number = 0
        while True:
            asked = client.rtcp_of(PictureLoss, FullIntraRequest) and not is_deaf
            client.rtcp.clear()
            picture = DELTA if number and not asked else PICTURE
            numbered = picture + number.to_bytes(4)
            await client.send_rtp(*stream.packets(numbered, 1800 * number))
            number += 1
            await asyncio.sleep(0.02)

    async with publisher(at.url) as client:
        await at.server.until_published("cam")
        sending = asyncio.create_task(send(client))
        try:
            yield
        finally:
            sending.cancel()
            await asyncio.wait([sending])


def numbers(watching: RtpClient) -> list[int]:
    """Which pictures have come, as they were numbered; what was sent twice counts once."""
    first: dict[int, rtp.RtpPacket] = {}
    for packet in watching.rtp_of("video"):
        first.setdefault(packet.sequence, packet)
    # The number is at the end of a picture's last packet.
    return [int.from_bytes(p.payload[-4:]) for p in first.values() if p.marker]


async def pulled_anew(
    there: Node, here: Node, watching: RtpClient
) -> tuple[list[int], list[int]]:
    """The pictures that came before a pull was made anew, and those that came after."""
    await watching.until(lambda: len(numbers(watching)) >= SOME)
    [session] = await there.living("cam", "subscribe")
    assert await there.delete(f"/session/cam/{session['id']}") == 204

    async def is_gone() -> bool:
        return bool((await here.get("/api/cascade/cam"))[0]["state"] != "connected")

    await until(is_gone)
    before = numbers(watching)
    await watching.until(lambda: len(numbers(watching)) >= len(before) + SOME)
    return before, numbers(watching)[len(before) :]


async def test_pictures_that_were_seen_do_not_come_again_when_a_pull_is_made_anew() -> (
    None
):
    async with node() as there, node() as here, publishing(there):
        await here.begin("cam", sourceUrl=f"{there.url}/whep/cam")
        async with viewer(here.url) as watching:
            before, after = await pulled_anew(there, here, watching)
    assert before == sorted(set(before))
    assert after == sorted(set(after))
    assert after[0] > before[-1]


async def test_old_pictures_have_to_do_where_no_new_key_frame_comes() -> None:
    async with node() as there, node() as here, publishing(there, is_deaf=True):
        await here.begin("cam", sourceUrl=f"{there.url}/whep/cam")
        async with viewer(here.url) as watching:
            _, after = await pulled_anew(there, here, watching)
    assert after == list(range(len(after)))


async def test_a_pull_says_what_its_viewers_have_seen() -> None:
    async with node() as there, node() as here, front_of(there.url) as front:

        def said() -> list[float | None]:
            offers = [asked.headers.get(SEEN, "") for asked in front.of("POST")]
            return [read_seen(text) for text in offers]

        async with publishing(there):
            await here.begin("cam", sourceUrl=f"{front.url}/whep/cam")
            assert said() == [None]
            async with viewer(here.url) as watching:
                await pulled_anew(there, here, watching)
        [_, seen] = said()
        assert seen is not None
        assert 0 < seen < 30


async def test_an_edge_says_what_the_viewers_of_its_viewer_have_seen() -> None:
    async with node() as origin, front_of(origin.url) as front:
        async with node(edge={"origins": [front.url]}) as edge:
            headers = {**SDP, SEEN: "100"}
            url = f"{edge.url}/whep/cam"
            async with edge.http.post(url, data=WHEP_OFFER, headers=headers) as answer:
                assert answer.status == 201
        seen = read_seen(front.of("POST")[0].headers[SEEN])
        assert seen is not None
        assert 100 <= seen < 130
