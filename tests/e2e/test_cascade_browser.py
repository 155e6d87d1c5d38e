"""Chromium watches at the end of cascades between processes: the pictures, their order, faults.

Where an upstream dies the page is left alone: one that resumes did not load anew.
"""

from __future__ import annotations

import logging
import statistics

import pytest

from tests.e2e import browser as chromium
from tests.e2e.painted import Painting
from tests.support.node import NodeApi, until
from tests.support.node_process import nodes
from tests.support.numbered_publisher import EPOCH, NumberedPublisher

logger = logging.getLogger(__name__)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(300),
]

TWO = "[node.origin]\n[node.edge]\n"
THREE = "[node.first]\n[node.second]\n[node.third]\n"

#: Frames that are looked at: two seconds.
FRAMES = 50

#: Seconds within which a lost upstream is noticed, tried again and found, on a busy machine.
HEALING = 90.0


def publishing(at: NodeApi, epoch: int = 0) -> NumberedPublisher:
    """Who publishes the stream at a node."""
    return NumberedPublisher(f"{at.url}/whip/cam", epoch=epoch)


async def pulling(at: NodeApi, source: NodeApi) -> str:
    """Have a node pull the stream from another one; the cascade's path."""
    location = await at.begin("cam", sourceUrl=f"{source.url}/whep/cam")
    await at.connected(location)
    return location


async def test_a_picture_passes_three_nodes() -> None:
    async with (
        nodes(THREE) as (first, second, third),
        chromium.browser() as context,
        publishing(first) as publisher,
    ):
        await first.until_published("cam")
        pull = await pulling(second, first)
        # Which codec it is the first packets tell.
        await until(lambda: second.codecs("cam"))
        push = await second.begin("cam", targetUrl=f"{third.url}/whip/cam")
        await second.connected(push)
        painting = await Painting.of(await context.new_page(), third.url)
        frames = await painting.shows(0, FRAMES)
        delays = [frame.at - publisher.sent_at[frame.number] for frame in frames]
        logger.info(
            "from the camera to the screen: %.0f ms, at worst %.0f ms",
            1e3 * statistics.median(delays),
            1e3 * max(delays),
        )
        assert (await second.get(pull))["lastError"] is None
        assert (await second.get(push))["bytes"] > 0
        await painting.is_the_same()


async def test_sound_and_whatever_codec_pass_three_nodes() -> None:
    async with (
        nodes(THREE) as (first, second, third),
        chromium.browser() as context,
    ):
        publisher, viewer = await context.new_page(), await context.new_page()
        await pulling(second, first)
        cells: tuple[str, ...] = ("red", "lime", "blue", "white")
        for codec in ("H264", "AV1"):
            await publisher.bring_to_front()
            await chromium.publish(publisher, first.url, cells=cells, video_codec=codec)
            await until(lambda: has_both(second), HEALING)
            if not await second.living("cam", "subscribe"):
                await second.begin("cam", targetUrl=f"{third.url}/whip/cam")
                await chromium.play(viewer, third.url)
            await viewer.bring_to_front()
            await chromium.shows(viewer, cells)
            reading = await chromium.growing_audio(viewer)
            assert reading.video_codec == f"video/{codec}"
            await publisher.evaluate("window.session.stop()")
            cells = cells[::-1]
        assert await viewer.evaluate("window.peers.length") == 1


async def has_both(at: NodeApi) -> bool:
    """Whether picture and sound of the stream have come."""
    return len(await at.codecs("cam")) == 2


async def test_a_page_resumes_when_the_killed_upstream_is_back() -> None:
    async with nodes(TWO) as (origin, edge), chromium.browser() as context:
        async with publishing(origin):
            await origin.until_published("cam")
            pull = await pulling(edge, origin)
            painting = await Painting.of(await context.new_page(), edge.url)
            await painting.shows(0, FRAMES)
            before = await chromium.stats(painting.page)
            await origin.kill()
        await origin.start()
        async with publishing(origin, epoch=1):
            await painting.shows(EPOCH, FRAMES, HEALING)
            after = await chromium.stats(painting.page)
        assert after.frames >= before.frames + FRAMES
        assert (await edge.get(pull))["lastError"]
        await painting.is_the_same()


async def test_a_page_resumes_when_the_publisher_is_back_or_the_upstream_thaws() -> (
    None
):
    async with nodes(TWO) as (origin, edge), chromium.browser() as context:
        async with publishing(origin):
            await origin.until_published("cam")
            pull = await pulling(edge, origin)
            painting = await Painting.of(await context.new_page(), edge.url)
            await painting.shows(0, FRAMES)
        session = (await edge.get(pull))["session"]
        async with publishing(origin, epoch=1) as publisher:
            await painting.shows(EPOCH, FRAMES)
            # For two seconds: the connection outlives it.
            origin.freeze()
            await publisher.more(FRAMES)
            origin.thaw()
            await painting.shows(publisher.latest, FRAMES)
            cascade = await edge.get(pull)
            assert (cascade["state"], cascade["session"]) == ("connected", session)
            assert cascade["lastError"] is None
            # Until it is given up, and asked anew.
            origin.freeze()

            async def is_given_up() -> bool:
                return bool((await edge.get(pull))["state"] != "connected")

            await until(is_given_up, HEALING)
            origin.thaw()
            await painting.shows(publisher.latest, FRAMES, HEALING)
        cascade = await edge.get(pull)
        assert cascade["session"] != session
        assert cascade["lastError"]
        await painting.is_the_same()
