"""Chromium behind a network that loses 5 % of its packets: what is lost is sent again."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.async_api import Page, Route

from tests.e2e import browser as chromium
from tests.support.link import Conditions, GilbertElliott, Link
from tests.support.server import running

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(180),
]

#: Frames over which runs are compared: ten seconds of the publisher's.
FRAMES = 150

CLEAR = Conditions(delay=0.01)
LOSSES = {
    "at random": Conditions(delay=0.01, loss=0.05),
    "in bursts": Conditions(delay=0.01, loss=GilbertElliott(0.02, 0.38)),
}


async def lead_through(page: Page, link: Link) -> None:
    """Let the media of all sessions of a page go through a link."""

    async def answer(route: Route) -> None:
        response = await route.fetch()
        body = await response.text()
        if response.status == 201:
            body = link.rewrite(body)
        await route.fulfill(response=response, body=body)

    for path in ("**/whip/*", "**/whep/*"):
        await page.route(path, answer)


@dataclass(frozen=True, slots=True)
class Run:
    """How a viewer fared while the publisher encoded `FRAMES` frames."""

    encoded: int
    decoded: int
    freezes: int
    lost: int


async def statistics(page: Page) -> dict[str, Any]:
    """What the page's newest peer connection says of its picture."""
    found: dict[str, dict[str, Any]] = await page.evaluate(chromium.READ_STATISTICS)
    return found.get("video", {})


async def watch(codec: str, up: Conditions, down: Conditions) -> Run:
    """Publish and play through two links, and count."""
    async with (
        running() as server,
        Link(up=CLEAR, down=CLEAR) as first,
        Link(up=CLEAR, down=CLEAR, seed=2) as second,
        chromium.browser() as context,
    ):
        publisher, viewer = await context.new_page(), await context.new_page()
        await lead_through(publisher, first)
        await lead_through(viewer, second)
        await chromium.publish(publisher, server.url, video_codec=codec)
        await chromium.play(viewer, server.url)
        await chromium.growing_video(viewer, 30)

        first.impair("up", up)
        second.impair("down", down)
        begin, began = await statistics(viewer), await statistics(publisher)
        enough = began["framesEncoded"] + FRAMES
        ended = await chromium.until(
            lambda: statistics(publisher),
            lambda now: now["framesEncoded"] >= enough,
            "frames encoded",
            60,
        )
        # What is under way arrives, or is sent again.
        await asyncio.sleep(0.5)
        end = await statistics(viewer)
        return Run(
            encoded=ended["framesEncoded"] - began["framesEncoded"],
            decoded=end["framesDecoded"] - begin["framesDecoded"],
            freezes=end["freezeCount"] - begin["freezeCount"],
            lost=first.up.lost + second.down.lost,
        )


async def recovers(codec: str, up: Conditions, down: Conditions) -> None:
    """Next to all frames are decoded; without retransmissions half of them are not.

    Freezes are not asserted: how long a repair may take before one is counted depends on what
    else the machine does.
    """
    run = await watch(codec, up, down)
    assert run.lost > 0
    assert run.decoded >= 0.9 * run.encoded, run


@pytest.mark.parametrize(
    ("codec", "loss"), [("VP8", "at random"), ("H264", "in bursts")]
)
async def test_what_is_lost_on_the_way_to_a_viewer_is_sent_again(
    codec: str, loss: str
) -> None:
    await recovers(codec, CLEAR, LOSSES[loss])


@pytest.mark.parametrize(
    ("codec", "loss"), [("VP8", "in bursts"), ("H264", "at random")]
)
async def test_what_a_publisher_loses_on_its_way_is_sent_again(
    codec: str, loss: str
) -> None:
    await recovers(codec, LOSSES[loss], CLEAR)
