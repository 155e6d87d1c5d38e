"""Cascades between nodes that are processes: FFmpeg's pictures come through, faults are told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.support import ffmpeg_whip
from tests.support.node_process import nodes
from tests.support.numbered import number_of
from tests.support.whep_client import WhepClient

pytestmark = pytest.mark.timeout(180)

#: Pictures that a viewer has to decode: two seconds.
PICTURES = 60


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
        nodes(tmp_path, 2) as (near, far),
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
