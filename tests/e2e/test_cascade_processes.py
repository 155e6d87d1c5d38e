"""Cascades between nodes that are processes: FFmpeg's pictures come through, faults are told."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.support import ffmpeg_whip
from tests.support.front import Refusal, front_of
from tests.support.link import Conditions, Link
from tests.support.node import NodeApi, until
from tests.support.node_process import nodes
from tests.support.numbered import number_of
from tests.support.numbered_publisher import NumberedPublisher
from tests.support.offers import h264, video
from tests.support.rtp_client import RtpClient
from tests.support.whep_client import WhepClient

pytestmark = pytest.mark.timeout(300)

TWO = "[node.near]\n[node.far]\n"

NAMED = "".join(f'[node.{name}.node]\nname = "{name}"\n' for name in "abc")

#: Pictures that a viewer has to decode: two seconds.
PICTURES = 60

#: Packets that a viewer behind a lossy hop has to have, without a gap.
PACKETS = 150

#: Seconds for which a target refuses, and within which it is found to do so no more.
REFUSING = 20.0
HEALING = 90.0


@asynccontextmanager
async def ffmpeg(url: str, folder: Path) -> AsyncIterator[None]:
    """FFmpeg publishes for as long as the block takes."""
    process = await ffmpeg_whip.start(url, folder / "sent", seconds=120)
    try:
        yield
    finally:
        process.kill()
        _, errors = await process.communicate()
        print(errors.decode())  # noqa: T201 - shown where a test has failed


async def decodes(client: WhepClient) -> None:
    """Wait for sound and pictures, and check that these are those that were sent, in order."""
    numbers: list[int | None] = []

    def look() -> bool:
        if client.picture is not None:
            numbers.append(number_of(client.picture))
        return client.frames["video"] >= PICTURES and client.loudness > 1000

    await client.until(look, 60)
    readable = [number for number in numbers if number is not None]
    assert readable == sorted(readable)
    assert len(readable) == len(numbers)
    assert len(set(readable)) > PICTURES // 4


async def test_what_ffmpeg_publishes_is_pulled_and_pushed(tmp_path: Path) -> None:
    async with (
        nodes(TWO) as (near, far),
        ffmpeg(f"{near.url}/whip/cam", tmp_path),
    ):
        await near.until_published("cam")
        pull = await far.begin("pulled", sourceUrl=f"{near.url}/whep/cam")
        push = await near.begin("cam", targetUrl=f"{far.url}/whip/pushed")
        await far.connected(pull)
        await near.connected(push)
        async with (
            WhepClient(f"{far.url}/whep/pulled") as one,
            WhepClient(f"{far.url}/whep/pushed") as two,
            asyncio.TaskGroup() as both,
        ):
            both.create_task(decodes(one))
            both.create_task(decodes(two))
        assert await far.delete(pull) == 204
        assert await near.delete(push) == 204
        assert await near.living("cam", "subscribe") == []
        assert await far.living("pushed", "publish") == []


async def seen(at: NodeApi, location: str, state: str, error: str) -> Any:
    """Wait until a cascade is in a state and its last error matches; what is shown of it."""

    async def is_so() -> bool:
        shown = await at.get(location)
        return bool(
            shown["state"] == state and re.search(error, shown["lastError"] or "")
        )

    await until(is_so, HEALING)
    return await at.get(location)


@pytest.mark.slow
async def test_targets_that_refuse_for_twenty_seconds_are_found_when_they_accept() -> (
    None
):
    async with (
        nodes("[node.far]") as [far],
        front_of(far.url) as bare,
        front_of(far.url) as polite,
        nodes(
            f"[node.near.stream.cam]\n"
            f'targets = ["{bare.url}/whip/one", "{polite.url}/whip/two"]'
        ) as [near],
    ):
        bare.refusal = Refusal(503, "no room", lasts=REFUSING)
        polite.refusal = Refusal(503, "come back", retry_after=6, lasts=REFUSING)
        pushes = [
            f"/api/cascade/cam/{found['id']}"
            for found in await near.get("/api/cascade/cam")
        ]
        async with NumberedPublisher(f"{near.url}/whip/cam"):
            for push, words in zip(pushes, ("no room", "come back"), strict=True):
                shown = await seen(near, push, "waiting", f"answered 503: {words}")
                assert shown["attempts"] >= 1
                assert shown["session"] is None
            for push, stream in zip(pushes, ("one", "two"), strict=True):
                await until(lambda: near.is_connected(push), HEALING)  # noqa: B023
                shown = await near.get(push)
                assert shown["attempts"] == 0
                assert "503" in shown["lastError"]
                await far.until_published(stream)
        for entry in (bare, polite):
            assert len(entry.refused) > 2
        assert all(later - former >= 6 for former, later in pairwise(polite.refused))
        # They were configured: a restart knows them still.
        await near.kill()
        await near.start()
        async with NumberedPublisher(f"{near.url}/whip/cam"):
            for push in await near.get("/api/cascade/cam"):
                location = f"/api/cascade/cam/{push['id']}"
                await until(lambda: near.is_connected(location), HEALING)  # noqa: B023


async def test_a_wrong_token_is_named() -> None:
    async with (
        nodes("[node.near]") as [near],
        nodes('[node.far.auth]\ntokens = ["right"]', "right") as [far],
    ):
        source, target = f"{far.url}/whep/cam", f"{far.url}/whip/far"
        for token in ("wrong", ""):
            status, _, text = await near.post("cam", sourceUrl=source, token=token)
            assert status == 502
            assert f"{source} answered 401" in text
        assert await near.get("/api/cascade/") == []

        pull = await near.begin("cam", sourceUrl=source, token="Bearer right")
        await near.connected(pull)
        async with NumberedPublisher(f"{near.url}/whip/mine"):
            await near.until_published("mine")
            status, _, text = await near.post("mine", targetUrl=target, token="wrong")
            assert status == 502
            assert f"{target} answered 401" in text
            push = await near.begin("mine", targetUrl=target, token="right")
            await near.connected(push)
            # The token becomes a wrong one, and then the right one again.
            await far.stop()
            await far.configure('"right"', '"other"')
            await far.start()
            for location in (pull, push):
                shown = await seen(near, location, "waiting", "answered 401")
                assert "right" not in str(shown)
            await far.stop()
            await far.configure('"other"', '"right"')
            await far.start()
            for location in (pull, push):
                await until(lambda: near.is_connected(location), HEALING)  # noqa: B023


async def test_a_loop_over_three_nodes_is_refused_and_named() -> None:
    async with nodes(NAMED) as (a, b, c):
        for far, near in ((a, b), (b, c)):
            pull = await near.begin("cam", sourceUrl=f"{far.url}/whep/cam")
            await near.connected(pull)
        status, _, text = await a.post("cam", sourceUrl=f"{c.url}/whep/cam")
        assert status == 508
        assert "a/cam → b/cam → c/cam → a/cam" in text
        assert await a.get("/api/cascade/") == []
        # As far as to here it is none, and it plays.
        async with NumberedPublisher(f"{a.url}/whip/cam"):
            await a.until_published("cam")
            await until(lambda: c.codecs("cam"), 30)
            # Nor may the end be pushed to the beginning, under whatever name it is there.
            status, _, text = await c.post("cam", targetUrl=f"{a.url}/whip/cam")
            assert status == 508
            push = await c.begin("cam", targetUrl=f"{a.url}/whip/back")
            await c.connected(push)
            await a.until_published("back")


async def test_what_a_hop_loses_it_sends_again_itself() -> None:
    lossy = Conditions(loss=0.1, delay=0.005)
    async with (
        nodes(TWO) as (near, far),
        front_of(near.url) as source,
        front_of(far.url) as target,
        Link(down=lossy) as pulled,
        Link(up=lossy) as pushed,
        NumberedPublisher(f"{near.url}/whip/cam") as publisher,
    ):
        source.rewrite, target.rewrite = pulled.rewrite, pushed.rewrite
        await near.until_published("cam")
        pull = await far.begin("pulled", sourceUrl=f"{source.url}/whep/cam")
        push = await near.begin("cam", targetUrl=f"{target.url}/whip/pushed")
        await far.connected(pull)
        await near.connected(push)
        codec = video(h264("42e01f"))
        async with (
            RtpClient.viewer(f"{far.url}/whep/pulled", codec) as one,
            RtpClient.viewer(f"{far.url}/whep/pushed", codec) as two,
        ):
            for viewer in (one, two):
                await viewer.until(lambda: has_all(viewer), 90)  # noqa: B023
        assert pulled.down.lost > 0
        assert pushed.up.lost > 0
        assert publisher.packets >= PACKETS
        assert publisher.nacked == 0


def has_all(viewer: RtpClient) -> bool:
    """Whether so many packets in a row are all there, in whatever order they came.

    Not the first ones: what is missing while this process, and with it a link, stands still is
    given up after a second.
    """
    came = {packet.sequence for packet in viewer.rtp_of("video")}
    run, longest = 0, 0
    for number in range(min(came, default=0), max(came, default=0) + 1):
        run = run + 1 if number in came else 0
        longest = max(longest, run)
    return longest >= PACKETS
