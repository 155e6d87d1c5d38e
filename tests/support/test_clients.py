"""The test clients themselves, against a real server."""

from __future__ import annotations

import asyncio

import pytest

from live777py.protocol.codecs import Format
from live777py.protocol.rtcp import PictureLoss, ReceiverReport
from tests.support import media
from tests.support.counting_viewer import CountingViewer, ViewerLoop
from tests.support.offers import VP8, h264, video
from tests.support.rtp_client import RtpClient
from tests.support.server import running
from tests.support.signalling import Refused

HIGH = h264("64001f")
SSRC = 4321


async def test_what_one_client_sends_another_receives_as_it_was() -> None:
    pictures = media.encode(Format.H264, options={"profile": "high"})
    stream = media.RtpStream(96, SSRC, Format.H264)
    sent = [
        packet
        for index, picture in enumerate(pictures)
        for packet in stream.packets(picture.data, index * 3000)
    ]
    async with (
        running() as server,
        RtpClient.viewer(f"{server.url}/whep/cam", video(HIGH)) as viewer,
        RtpClient.publisher(
            f"{server.url}/whip/cam", video(HIGH, ssrc=SSRC)
        ) as publisher,
    ):
        await publisher.send_rtp(*sent)
        await viewer.until(lambda: len(viewer.rtp) == len(sent))
        await publisher.until(lambda: publisher.rtcp_of(ReceiverReport))
        access_units = media.h264_access_units(viewer.rtp_of("video"))
    assert access_units == [media.annex_b_units(p.data) for p in pictures]


async def test_a_key_frame_wanted_by_one_client_is_asked_of_the_other() -> None:
    stream = media.RtpStream(96, SSRC, Format.VP8)
    picture = media.encode(Format.VP8, frames=1)[0].data
    async with (
        running() as server,
        RtpClient.publisher(
            f"{server.url}/whip/cam", video(VP8, ssrc=SSRC)
        ) as publisher,
        RtpClient.viewer(f"{server.url}/whep/cam", video(VP8)) as viewer,
    ):
        await publisher.send_rtp(*stream.packets(picture, 0))
        await viewer.until(lambda: viewer.rtp)
        publisher.rtcp.clear()
        ssrc = viewer.answer.section("video").ssrcs[0]
        await viewer.send_rtcp(ReceiverReport(7), PictureLoss(7, ssrc))
        await publisher.until(lambda: publisher.rtcp_of(PictureLoss))


async def test_a_refused_offer_is_told_with_its_reason() -> None:
    async with running() as server:
        with pytest.raises(Refused) as refused:
            async with RtpClient.viewer(
                f"{server.url}/whep/cam",
                video(),
                setup="holdconn",
            ):
                pass
    assert 400 <= refused.value.status < 500
    assert refused.value.body


async def test_a_client_notices_when_the_server_ends_its_session() -> None:
    async with (
        running() as server,
        RtpClient.viewer(f"{server.url}/whep/cam", video()) as viewer,
    ):
        assert await viewer.signalling.delete() == 204
        await asyncio.wait_for(viewer.closed.wait(), 20)


async def test_counting_viewers_count_what_was_published() -> None:
    stream = media.RtpStream(96, SSRC, Format.H264)
    picture = media.encode(Format.H264, frames=1, width=640, height=480)[0].data
    async with running() as server, ViewerLoop() as loop:
        viewers = [
            CountingViewer(f"{server.url}/whep/cam", video(HIGH)) for _ in range(5)
        ]
        for viewer in viewers:
            await viewer.join(loop)
        async with RtpClient.publisher(
            f"{server.url}/whip/cam", video(HIGH, ssrc=SSRC)
        ) as publisher:
            packets = stream.packets(picture, 0)
            await publisher.send_rtp(*packets)
            for viewer in viewers:
                await viewer.until_packets(len(packets))
        for viewer in viewers:
            assert (viewer.packets, viewer.lost) == (len(packets), 0)
            assert viewer.connected <= viewer.first_packet <= viewer.first_picture
        # DTLS still reaches aioice: the server's goodbye is heard.
        assert await viewers[0].client.signalling.delete() == 204
        await asyncio.wait_for(viewers[0].client.closed.wait(), 20)
        for viewer in viewers:
            await viewer.leave(loop, delete=viewer is viewers[1])
