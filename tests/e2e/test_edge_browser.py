"""Chromium at edges between processes: fail-over, three levels, and nothing left in the end."""

from __future__ import annotations

import pytest

from tests.e2e import browser as chromium
from tests.e2e.painted import Painting
from tests.support.node import NodeApi, until
from tests.support.node_process import nodes
from tests.support.numbered_publisher import EPOCH, NumberedPublisher

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(300),
]

FAIL_OVER = """
[node.one]
[node.two]
[node.edge.stream.cam]
sources = ["${one.url}/whep/cam", {url = "${two.url}/whep/cam"}]
"""

LEVELS = """
[node.origin.webrtc]
idle_timeout = "10s"
[node.middle.edge]
origins = ["${origin.url}"]
close_after = "1s"
[node.edge.edge]
origins = ["${middle.url}"]
close_after = "1s"
"""

#: Frames that are looked at: two seconds.
FRAMES = 50

#: Seconds within which a lost upstream is noticed and another one found, on a busy machine.
HEALING = 90.0


def publishing(at: NodeApi, epoch: int = 0) -> NumberedPublisher:
    """Who publishes the stream at a node."""
    return NumberedPublisher(f"{at.url}/whip/cam", epoch=epoch)


async def is_unwatched(at: NodeApi) -> bool:
    """Whether nobody watches the stream at a node."""
    return not await at.living("cam", "subscribe")


async def is_forgotten(at: NodeApi) -> bool:
    """Whether a node has no stream and no cascade."""
    return not await at.streams() and not await at.get("/api/cascade/")


async def is_waiting(at: NodeApi) -> bool:
    """Whether a node tries again to pull the stream, later."""
    return [c["state"] for c in await at.get("/api/cascade/cam")] == ["waiting"]


async def test_a_page_plays_on_from_the_second_origin_when_the_first_is_killed() -> (
    None
):
    async with (
        nodes(FAIL_OVER) as (one, two, edge),
        chromium.browser() as context,
        publishing(one),
    ):
        painting = await Painting.of(await context.new_page(), edge.url)
        await painting.shows(0, FRAMES, HEALING)
        [cascade] = await edge.get("/api/cascade/cam")
        assert cascade["sourceUrl"] == f"{one.url}/whep/cam"
        # Not before: who finds nobody at the first stays with the second.
        async with publishing(two, epoch=1):
            await two.until_published("cam")
            await one.kill()
            await painting.shows(EPOCH, FRAMES, HEALING)
            [cascade] = await edge.get("/api/cascade/cam")
            assert cascade["sourceUrl"] == f"{two.url}/whep/cam"
            assert cascade["state"] == "connected"
            assert cascade["lastError"]
            await painting.is_the_same()


async def test_pages_watch_over_three_levels_and_leave_nothing_behind() -> None:
    async with (
        nodes(LEVELS) as (origin, middle, edge),
        chromium.browser() as context,
        publishing(origin) as publisher,
    ):
        await origin.until_published("cam")
        assert await is_forgotten(edge)
        paintings = [
            await Painting.of(await context.new_page(), edge.url) for _ in range(2)
        ]
        for painting in paintings:
            await painting.page.bring_to_front()
            await painting.shows(0, FRAMES)
        # Once for all viewers, at each level.
        for level in (origin, middle):
            assert len(await level.living("cam", "subscribe")) == 1
        # What is between them dies, and is back.
        await middle.kill()
        await until(lambda: is_waiting(edge), HEALING)
        await middle.start()
        await paintings[-1].shows(publisher.latest, FRAMES, HEALING)
        await paintings[-1].is_the_same()
        for painting in paintings:
            await painting.page.close()
        for level in (edge, middle):
            await until(lambda: is_forgotten(level), 30)  # noqa: B023
        await until(lambda: is_unwatched(origin), 30)
        assert len(await origin.living("cam", "publish")) == 1
        # Who comes then has it fetched anew.
        again = await Painting.of(await context.new_page(), edge.url)
        await again.shows(publisher.latest, FRAMES)
