"""Streams that are sent to another server: what there is to push."""

from __future__ import annotations

import asyncio
import re

import pytest

from live777py.protocol.codecs import Codec
from live777py.rtc.tracks import StreamTracks
from tests.support.front import front_of
from tests.support.node import (
    SSRC,
    Node,
    node,
    pictures,
    publisher,
    sends,
    until,
    viewer,
)
from tests.support.offers import OPUS, VP8, audio, video
from tests.support.rtp_client import RtpClient

pytestmark = pytest.mark.timeout(60)

PCMU = Codec("audio", "PCMU", 8_000)


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


async def test_what_the_target_refuses_is_told_and_offered_again_as_another_codec() -> (
    None
):
    async with node() as there, node() as here, front_of(there.url) as front:
        front.rewrite = lambda sdp: re.sub(r"m=audio \d+", "m=audio 0", sdp)
        target = f"{front.url}/whip/far"
        both = publishing(here, OPUS)
        async with both:
            await here.server.until_published("cam")
            location = await here.begin("cam", targetUrl=target)
            await here.connected(location)
            shown = await here.get(location)
            assert shown["warnings"] == [
                f"{target} takes no audio: its answer rejects the section, which has port 0"
            ]
            async with viewer(there.url, "far") as watching:
                await sends(both, pictures(), watching)
        front.rewrite = lambda sdp: sdp
        async with publishing(here, PCMU):

            async def has_both() -> bool:
                return sorted(await there.codecs("far")) == ["pcmu", "vp8"]

            await until(has_both)
            await here.connected(location)
            assert (await here.get(location))["warnings"] == []


def publishing(at: Node, sound: Codec) -> RtpClient:
    """A publisher of a picture and of sound."""
    return RtpClient.publisher(
        f"{at.url}/whip/cam", video(VP8, ssrc=SSRC), audio(sound, ssrc=7)
    )


async def test_a_push_of_nothing_is_refused() -> None:
    async with node() as here, viewer(here.url):
        status, _, text = await here.post("cam", targetUrl="http://127.0.0.1:1/whip/x")
        assert (status, "nobody publishes" in text) == (409, True)
        [listed] = await here.server.streams()
        assert len(listed["subscribe"]["sessions"]) == 1


async def test_what_is_published_no_more_is_not_pushed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked, may_go_on = asyncio.Event(), asyncio.Event()

    async def described(_tracks: StreamTracks) -> None:
        asked.set()
        await may_go_on.wait()

    async with node() as here, viewer(here.url):
        monkeypatch.setattr(StreamTracks, "described", described)
        async with publisher(here.url):
            await here.server.until_published("cam")
            url = "http://127.0.0.1:1/whip/x"
            posting = asyncio.create_task(here.post("cam", targetUrl=url))
            await asked.wait()
        may_go_on.set()
        status, _, text = await posting
        assert (status, "nobody publishes" in text) == (409, True)
