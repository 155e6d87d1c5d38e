"""Streams that are pulled and pushed between real servers, and come through byte for byte."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from live777py.fleet import ports
from live777py.protocol.rtcp import PictureLoss
from live777py.server import Server
from tests.support.node import (
    PICTURE,
    Node,
    node,
    pictures,
    publisher,
    sends,
    until,
    viewer,
)
from tests.support.numbered_publisher import RATE, NumberedPublisher
from tests.support.offers import h264, video
from tests.support.rtp_client import RtpClient
from tests.support.server import RunningServer, config

pytestmark = pytest.mark.timeout(120)

#: Create and delete; the first ones may leave what is made once only.
CYCLES = 100

VIEWERS = 12

#: Pictures of one.
SECOND = RATE


async def has_passed(at: Node, location: str) -> bool:
    return bool((await at.get(location))["bytes"] > len(PICTURE))


async def is_empty(at: Node) -> bool:
    return not await at.server.streams()


async def test_a_pulled_stream_comes_byte_for_byte() -> None:
    async with node() as there, node() as here, publisher(there.url) as client:
        location = await here.begin("cam", sourceUrl=f"{there.url}/whep/cam")
        await here.connected(location)
        async with viewer(here.url) as watching:
            await sends(client, pictures(), watching)
            # A viewer's wish for a picture goes all the way to who makes it.
            client.rtcp.clear()
            ssrc = watching.rtp_of("video")[0].ssrc
            await watching.send_rtcp(PictureLoss(7, ssrc))
            await client.until(lambda: client.rtcp_of(PictureLoss))
            await until(lambda: has_passed(here, location))
        assert await here.delete(location) == 204
        assert await there.living("cam", "subscribe") == []


async def test_a_pushed_stream_comes_byte_for_byte() -> None:
    async with node() as there, node() as here, publisher(here.url) as client:
        await here.server.until_published("cam")
        location = await here.begin("cam", targetUrl=f"{there.url}/whip/far")
        await here.connected(location)
        await there.server.until_published("far")
        async with viewer(there.url, "far") as watching:
            await sends(client, pictures(), watching)
            await until(lambda: has_passed(here, location))
        assert await here.delete(location) == 204
        await until(lambda: is_empty(there))


async def test_what_many_viewers_wish_for_is_asked_for_once() -> None:
    async with (
        node() as there,
        node() as here,
        NumberedPublisher(f"{there.url}/whip/cam") as client,
        AsyncExitStack() as stack,
    ):
        location = await here.begin("cam", sourceUrl=f"{there.url}/whep/cam")
        await here.connected(location)
        codec = video(h264("42e01f"))
        viewers = [
            await stack.enter_async_context(
                RtpClient.viewer(f"{here.url}/whep/cam", codec)
            )
            for _ in range(VIEWERS)
        ]
        for watching in viewers:
            await watching.until(lambda: watching.rtp_of("video"))  # noqa: B023
        # Who asks now is not served by what was asked for before.
        await client.more(SECOND)
        before = client.asked
        for watching in viewers:
            ssrc = watching.rtp_of("video")[0].ssrc
            await watching.send_rtcp(PictureLoss(7, ssrc))
        await client.more(2 * SECOND)
        assert 1 <= client.asked - before <= VIEWERS // 4


async def test_viewers_go_on_when_the_other_server_was_stopped_and_is_back() -> None:
    async with node() as here:
        first = Server(config(http={"listen": f"127.0.0.1:{next(ports.free())}"}))
        await first.__aenter__()
        there = RunningServer(first)
        listen = there.url.removeprefix("http://")
        client = publisher(there.url)
        await client.__aenter__()
        location = await here.begin("cam", sourceUrl=f"{there.url}/whep/cam")
        await here.connected(location)
        async with viewer(here.url) as watching:
            await sends(client, pictures(), watching)
            await first.__aexit__(None, None, None)
            await client.vanish()

            async def is_waiting() -> bool:
                return bool((await here.get(location))["state"] == "waiting")

            await until(is_waiting)
            # It is back before anybody publishes there: nobody knows yet which codec will come.
            async with Server(config(http={"listen": listen})) as second:
                again = RunningServer(second)
                await until(lambda: here.is_connected(location), 30)
                async with publisher(again.url) as returned:
                    await again.until_published("cam")
                    stream = pictures()
                    before = len(watching.rtp_of("video"))
                    async with asyncio.timeout(20):
                        # The first packets tell what it is.
                        while len(watching.rtp_of("video")) < before + 10:
                            await returned.send_rtp(*stream.packets(PICTURE, 90_000))
                            await asyncio.sleep(0.05)
                    await sends(returned, stream, watching)
            numbers = [packet.sequence for packet in watching.rtp_of("video")]
            assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


async def test_the_example_of_live777s_documentation_comes_out() -> None:
    async with node() as at, publisher(at.url, "web-0") as client:
        await at.server.until_published("web-0")
        source, target = f"{at.url}/whep/web-0", f"{at.url}/whip/push"
        pull = await at.begin("pull", sourceUrl=source, token="", targetUrl="")
        push = await at.begin("web-0", targetUrl=target)
        for location in (pull, push):
            await at.connected(location)
        async with viewer(at.url, "pull") as one, viewer(at.url, "push") as two:
            stream = pictures()
            await sends(client, stream, one)
            await two.until(lambda: len(two.rtp_of("video")) == len(one.rtp))
            listed = {stream["id"]: stream for stream in await at.server.streams()}
            assert list(listed) == ["pull", "push", "web-0"]
            [pulled] = listed["pull"]["publish"]["sessions"]
            pulls, pushed = listed["web-0"]["subscribe"]["sessions"]
            [pushes] = listed["push"]["publish"]["sessions"]
            assert pulled["cascade"] == {
                "sourceUrl": source,
                "sessionUrl": f"{at.url}/session/web-0/{pulls['id']}",
            }
            assert pushed["cascade"] == {
                "targetUrl": target,
                "sessionUrl": f"{at.url}/session/push/{pushes['id']}",
            }
            assert not {"cascade"} & {*pulls, *pushes}
            assert {pulled["state"], pushed["state"]} == {"connected"}


async def test_a_node_that_stops_ends_its_sessions_elsewhere() -> None:
    async with node() as there, publisher(there.url):
        await there.server.until_published("cam")
        async with node() as here, publisher(here.url, "mine"):
            await here.server.until_published("mine")
            pull = await here.begin("cam", sourceUrl=f"{there.url}/whep/cam")
            push = await here.begin("mine", targetUrl=f"{there.url}/whip/far")
            for location in (pull, push):
                await here.connected(location)
            assert len(await there.living("cam", "subscribe")) == 1
            assert len(await there.living("far", "publish")) == 1
        assert await there.living("cam", "subscribe") == []
        assert await there.living("far", "publish") == []


def configured(folder: Path, port: int) -> Path:
    """The configuration of such a server."""
    path = folder / "server.toml"
    path.write_text(
        f'[http]\nlisten = "127.0.0.1:{port}"\n'
        # A number that nobody else is given while nobody listens there.
        f'[webrtc]\nlisten = "127.0.0.1:{port}"\naddresses = ["127.0.0.1"]\n'
    )
    return path


@asynccontextmanager
async def process(config: Path) -> AsyncIterator[Process]:
    """A server in a process of its own, killed in the end."""
    server = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "live777py", "-c", str(config)), stdout=PIPE
    )
    try:
        assert server.stdout is not None
        async for line in server.stdout:
            if b"http://" in line:
                break
        yield server
    finally:
        server.kill()
        await server.communicate()


@pytest.mark.slow
async def test_a_server_that_was_killed_is_found_again(tmp_path: Path) -> None:
    port = next(ports.free())
    url = f"http://127.0.0.1:{port}"
    path = configured(tmp_path, port)
    async with node() as here:
        async with process(path), publisher(url) as client:
            location = await here.begin("cam", sourceUrl=f"{url}/whep/cam")
            await here.connected(location)
            watching = await here_viewer(here)
            await sends(client, pictures(), watching)
        before = len(watching.rtp_of("video"))
        # Nobody has said goodbye, but the machine tells that nobody listens.
        await until(lambda: has_lost_a_closed_port(here, location))
        async with process(path), publisher(url) as client:
            stream = pictures()
            async with asyncio.timeout(40):
                while len(watching.rtp_of("video")) < before + 10:
                    await client.send_rtp(*stream.packets(PICTURE, 90_000))
                    await asyncio.sleep(0.1)
        numbers = [packet.sequence for packet in watching.rtp_of("video")]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        assert (await here.get(location))["lastError"]
        await watching.aclose()


@pytest.mark.slow
async def test_a_push_notices_that_the_other_server_was_killed(tmp_path: Path) -> None:
    port = next(ports.free())
    path = configured(tmp_path, port)
    async with node() as here, publisher(here.url):
        await here.server.until_published("cam")
        async with process(path):
            target = f"http://127.0.0.1:{port}/whip/far"
            location = await here.begin("cam", targetUrl=target)
            await here.connected(location)
        await until(lambda: has_lost_a_closed_port(here, location))


async def has_lost_a_closed_port(at: Node, location: str) -> bool:
    return "port is closed" in str((await at.get(location))["lastError"])


async def here_viewer(at: Node) -> RtpClient:
    """A viewer that outlives the block in which it came."""
    client = viewer(at.url)
    await client.__aenter__()
    return client


@pytest.mark.slow
async def test_many_cascades_leave_nothing_behind() -> None:
    async with node() as there, node() as here, publisher(there.url) as client:
        await there.server.until_published("cam")
        stream = pictures()

        async def is_known() -> bool:
            await client.send_rtp(*stream.packets(PICTURE, 3000))
            return await here.codecs("cam") == ["vp8"]

        source, target = f"{there.url}/whep/cam", f"{there.url}/whip/far"
        tasks, descriptors = -1, -1
        for cycle in range(CYCLES):
            pull = await here.begin("cam", sourceUrl=source)
            await here.connected(pull)
            await until(is_known)
            push = await here.begin("cam", targetUrl=target)
            # Some are deleted while they connect.
            if cycle % 4 < 2:
                await here.connected(push)
            assert await here.delete(push) == 204
            assert await here.delete(pull) == 204
            if cycle == CYCLES // 5:
                # The questions below have a connection, and so a task at the server.
                await there.living("cam", "subscribe")
                # When what is about to end has ended.
                await asyncio.sleep(0.5)
                tasks, descriptors = counted()
        assert await here.server.streams() == []
        assert await there.living("cam", "subscribe") == []
        assert await there.living("far", "publish") == []

        async def is_as_before() -> bool:
            after = counted()
            return after[0] <= tasks and after[1] <= descriptors + 2

        await until(is_as_before)


def counted() -> tuple[int, int]:
    """Tasks and descriptors."""
    return len(asyncio.all_tasks()), len(os.listdir("/proc/self/fd"))
