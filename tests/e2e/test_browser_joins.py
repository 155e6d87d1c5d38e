"""Chromium joins a stream whose publisher never answers a request for a key frame."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from playwright.async_api import Page

from live777py.protocol.codecs import Format
from live777py.protocol.rtcp import FullIntraRequest, PictureLoss
from tests.e2e import browser as chromium
from tests.support import media
from tests.support.offers import h264, video
from tests.support.rtp_client import RtpClient
from tests.support.server import running

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

RATE = 30
#: Two seconds between key frames.
GROUP = 60
#: How far the stream is in its group when the viewer comes.
POSITION = 40
SSRC = 4321


class DeafPublisher:
    """Sends pictures as they are due, whatever anybody asks for."""

    def __init__(self, client: RtpClient) -> None:
        self._client = client
        self._pictures = media.encode(
            Format.H264, frames=3 * GROUP, rate=RATE, key_interval=GROUP
        )
        self._stream = media.RtpStream(96, SSRC, Format.H264)
        self.sent = 0

    async def send(self, frames: int) -> None:
        """Send so many pictures more."""
        for _ in range(frames):
            data = self._pictures[self.sent].data
            timestamp = self.sent * 90_000 // RATE
            await self._client.send_rtp(*self._stream.packets(data, timestamp))
            self.sent += 1
            await asyncio.sleep(1 / RATE)

    @property
    def asked(self) -> int:
        """How often it was asked for a key frame."""
        return len(self._client.rtcp_of(PictureLoss, FullIntraRequest))


async def inbound(page: Page) -> dict[str, Any]:
    found: dict[str, Any] = await page.evaluate(chromium.READ_STATISTICS)
    video_stats: dict[str, Any] = found.get("video", {})
    return video_stats


async def test_a_viewer_of_a_deaf_publisher_sees_a_picture_at_once() -> None:
    async with (
        running() as server,
        chromium.browser() as context,
        RtpClient.publisher(
            f"{server.url}/whip/cam", video(h264("42e01f"), ssrc=SSRC)
        ) as client,
    ):
        publisher = DeafPublisher(client)
        viewer = await context.new_page()
        await publisher.send(POSITION)
        asked = publisher.asked

        # Nothing is sent now: what is decoded was kept by the server.
        await chromium.play(viewer, server.url)
        reading = await chromium.until(
            lambda: inbound(viewer),
            lambda stats: stats.get("framesDecoded", 0) >= POSITION,
            "the frames since the key frame",
        )
        assert reading["keyFramesDecoded"] == 1
        assert reading["pliCount"] == 0
        assert publisher.asked == asked

        # And what comes now continues it.
        await publisher.send(GROUP - POSITION)
        reading = await chromium.until(
            lambda: inbound(viewer),
            lambda stats: stats["framesDecoded"] >= GROUP,
            "the frames of the whole group",
        )
        assert reading["keyFramesDecoded"] == 1
        assert reading["pliCount"] == 0
        assert reading["packetsLost"] == 0
