"""Peers at another server: codecs that are not known before they come, and endings."""

from __future__ import annotations

import pytest

from live777py.protocol.codecs import Format
from live777py.rtc import remote
from tests.support import media
from tests.support.node import PICTURE, SSRC, node, publisher, sends, until, viewer
from tests.support.offers import VP8, VP9, audio, video
from tests.support.rtp_client import RtpClient

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


async def test_a_push_begins_anew_when_there_is_more_to_push() -> None:
    async with node() as there, node() as here:
        async with publisher(here.url):
            await here.server.until_published("cam")
            location = await here.begin("cam", targetUrl=f"{there.url}/whip/far")
            await here.connected(location)
        both = RtpClient.publisher(
            f"{here.url}/whip/cam", video(VP8, ssrc=SSRC), audio(ssrc=7)
        )
        async with both:

            async def has_both() -> bool:
                return sorted(await there.codecs("far")) == ["opus", "vp8"]

            await until(has_both)
            assert "audio" in (await here.get(location))["lastError"]


async def test_a_push_of_nothing_is_refused() -> None:
    async with node() as here, viewer(here.url):
        status, _, text = await here.post("cam", targetUrl="http://127.0.0.1:1/whip/x")
        assert (status, "nobody publishes" in text) == (409, True)
        [listed] = await here.server.streams()
        assert len(listed["subscribe"]["sessions"]) == 1


async def test_silence_is_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    async with node() as there, node() as here, publisher(there.url):
        location = await here.begin("cam", sourceUrl=f"{there.url}/whep/cam")
        await here.connected(location)
        monkeypatch.setattr(remote, "LOST_AFTER", 0.0)

        async def is_lost() -> bool:
            return "nothing came" in str((await here.get(location))["lastError"])

        await until(is_lost)
        monkeypatch.undo()
        await here.connected(location)
        assert len(await there.living("cam", "subscribe")) == 1


async def test_the_other_servers_goodbye_is_the_end() -> None:
    async with node() as there, node() as here, publisher(there.url):
        location = await here.begin("cam", sourceUrl=f"{there.url}/whep/cam")
        await here.connected(location)
        [session] = await there.living("cam", "subscribe")
        assert await there.delete(f"/session/cam/{session['id']}") == 204

        async def is_told() -> bool:
            error = (await here.get(location))["lastError"]
            return "closed by the other server" in str(error)

        await until(is_told)
        await here.connected(location)
