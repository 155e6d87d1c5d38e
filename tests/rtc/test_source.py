"""Streams that another server sends: codecs that are not known before they come."""

from __future__ import annotations

import pytest

from live777py.protocol.codecs import Format
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
