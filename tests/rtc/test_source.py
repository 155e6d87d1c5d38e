"""Streams that another server sends: codecs that are not known before they come."""

from __future__ import annotations

import asyncio

import pytest

from live777py.core import cascades, wish
from live777py.protocol.codecs import Format
from live777py.protocol.extensions import Extension
from live777py.rtc.outgoing_offer import AnsweredMedia
from live777py.rtc.publisher_answer import REMB, TRANSPORT_CC
from live777py.rtc.source import _received
from tests.support import media
from tests.support.node import PICTURE, SSRC, node, publisher, sends, until, viewer
from tests.support.offers import VP8, VP9

pytestmark = pytest.mark.timeout(60)


async def test_what_is_not_published_yet_is_known_when_it_comes() -> None:
    async with node() as there, node() as here:
        location = await here.begin("cam", sourceUrl=f"{there.url}/whep/cam")
        await here.connected(location)
        assert await here.codecs("cam") == []
        async with viewer(here.url) as watching, publisher(there.url) as client:
            await there.server.until_published("cam")
            stream = media.RtpStream(96, SSRC, Format.VP8)
            first = stream.packets(PICTURE, 0)
            await client.send_rtp(*first)
            await watching.until(lambda: len(watching.rtp_of("video")) == len(first))
            await sends(client, stream, watching)
            assert await here.codecs("cam") == ["vp8"]
            # There was no sound to be refused.
            assert (await here.get(location))["warnings"] == []


async def test_another_codec_takes_the_place_of_the_first() -> None:
    async with node() as there, node() as here:
        location = await here.begin("cam", sourceUrl=f"{there.url}/whep/cam")
        await here.connected(location)
        for codec in (VP8, VP9):
            async with publisher(there.url, codec=codec) as client:
                await there.server.until_published("cam")
                stream = media.RtpStream(96, SSRC)

                async def is_known(name: str = codec.name.lower()) -> bool:
                    await client.send_rtp(*stream.packets(b"x" * 100, 0))  # noqa: B023
                    return await here.codecs("cam") == [name]

                await until(is_known)


async def test_where_there_are_others_a_source_has_to_send_something(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wish, "NO_MEDIA", 0.5)
    monkeypatch.setattr(cascades, "LOOK", 0.02)
    async with node() as there, publisher(there.url) as client:
        await there.server.until_published("cam")
        sources = [f"{there.url}/whep/cam", f"{there.url}/whep/cam"]
        async with node(stream={"cam": {"sources": sources}}) as here:
            stream = media.RtpStream(96, SSRC, Format.VP8)
            sessions: set[str] = set()

            async def comes() -> bool:
                await client.send_rtp(*stream.packets(PICTURE, 3000))
                [info] = await here.get("/api/cascade/cam")
                if info["state"] == "connected":
                    sessions.add(info["session"])
                return bool(info["bytes"])

            # It goes on as long as something comes, three times as long as it may be silent.
            loop = asyncio.get_running_loop()
            await until(comes)
            end = loop.time() + 1.5
            while loop.time() < end:
                await comes()
            assert len(sessions) == 1

            async def is_another() -> bool:
                [info] = await here.get("/api/cascade/cam")
                return info["session"] not in sessions

            await until(is_another)
            [info] = await here.get("/api/cascade/cam")
            assert info["lastError"] == "no media came for 5 s"


@pytest.mark.parametrize(
    ("extensions", "answered", "sent"),
    [
        # Who numbers its packets is told of all, and not of a ceiling besides.
        ({3: Extension.TRANSPORT_CC}, {REMB, TRANSPORT_CC}, {TRANSPORT_CC}),
        ({}, {REMB, TRANSPORT_CC}, {REMB}),
        ({3: Extension.TRANSPORT_CC}, {REMB}, {REMB}),
        ({}, set(), set()),
    ],
)
def test_the_other_server_is_told_of_its_path_in_one_way(
    extensions: dict[int, Extension], answered: set[str], sent: set[str]
) -> None:
    section = AnsweredMedia(
        kind="video",
        mid="0",
        is_accepted=True,
        codecs={96: VP8},
        rtx={97: 96},
        ssrcs=(5,),
        rtx_ssrcs={},
        feedback={96: frozenset({"nack"} | answered)},
        extensions=extensions,
    )
    received = _received(section, 96)
    assert received.feedback == {"nack"} | sent
    assert received.extensions == extensions
    assert received.rtx_payload_type == 97
