"""The server as a process and as an object: starting, stopping, saying goodbye."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from live777py import server as module
from live777py.server import Server
from tests.rtc.test_viewer import SSRC, packets
from tests.support.offers import VP8, video
from tests.support.rtp_client import RtpClient
from tests.support.server import config, running

ENVIRONMENT = {
    "LIVE777_HTTP__LISTEN": "127.0.0.1:0",
    "LIVE777_WEBRTC__LISTEN": "127.0.0.1:0",
    "LIVE777_WEBRTC__ADDRESSES": "127.0.0.1",
}


@asynccontextmanager
async def process(folder: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """`live777py` itself, on ports of the system's choice."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "live777py",
        cwd=folder,
        env={**os.environ, **ENVIRONMENT, "PYTHONPATH": os.getcwd()},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield child
    finally:
        if child.returncode is None:
            child.kill()
        await child.communicate()


async def url_of(child: asyncio.subprocess.Process) -> str:
    """The base URL that the command prints."""
    assert child.stdout is not None
    async with asyncio.timeout(20):
        while line := (await child.stdout.readline()).decode():
            for word in line.split():
                if word.startswith("http://"):
                    return "/".join(word.split("/")[:3])
    raise AssertionError("the command printed no URL")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_says_goodbye_to_every_peer_and_exits_with_0(
    number: signal.Signals, tmp_path: Path
) -> None:
    async with process(tmp_path) as child:
        url = await url_of(child)
        async with (
            RtpClient.publisher(f"{url}/whip/cam", video(VP8, ssrc=SSRC)) as publisher,
            RtpClient.viewer(f"{url}/whep/cam", video(VP8)) as viewer,
        ):
            # One packet may come before the server has put the viewer into its tables.
            for packet in packets(100):
                await publisher.send_rtp(packet)
                await asyncio.sleep(0.01)
            await viewer.until(lambda: viewer.rtp)
            child.send_signal(number)
            async with asyncio.timeout(5):
                await publisher.closed.wait()
                await viewer.closed.wait()
                assert await child.wait() == 0


async def test_an_address_in_use_is_one_line_and_exit_status_1(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = "{}:{}".format(*taken.getsockname())
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "live777py",
            cwd=tmp_path,
            env={
                **os.environ,
                **ENVIRONMENT,
                "PYTHONPATH": os.getcwd(),
                "LIVE777_HTTP__LISTEN": address,
            },
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await child.communicate()
    assert child.returncode == 1
    assert "Traceback" not in err.decode()
    assert address in err.decode()
    assert out == b""


async def until_served(url: str) -> None:
    """What was sent before has been read once a later request has been answered."""
    async with aiohttp.ClientSession() as http, http.get(url) as response:
        assert response.status == 200


async def test_a_request_that_never_ends_does_not_hold_the_shutdown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "HTTP_GRACE", 0.01)

    async def endless() -> AsyncIterator[bytes]:
        yield b"v=0"
        entered.set()
        await asyncio.Event().wait()

    async def post(url: str) -> None:
        headers = {"Content-Type": "application/sdp"}
        async with aiohttp.ClientSession() as http:
            with pytest.raises(aiohttp.ClientError):
                await http.post(url, data=endless(), headers=headers)

    entered = asyncio.Event()
    async with asyncio.TaskGroup() as group, running() as server:
        group.create_task(post(f"{server.url}/whip/cam"))
        await entered.wait()
        await until_served(server.url)


async def test_a_wildcard_server_names_the_address_of_this_machine_first() -> None:
    async with Server(config(http={"listen": "0.0.0.0:0"})) as server:
        assert server.http_urls[0].startswith("http://127.0.0.1:")


async def test_the_ipv6_wildcard_serves_ipv4_too() -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    async with Server(config(http={"listen": "[::]:0"})) as server:
        async with (
            aiohttp.ClientSession() as http,
            http.get(f"{server.http_urls[0]}/api/streams/") as response,
        ):
            assert await response.json() == []
        port = server.http_urls[0].rpartition(":")[2]
        async with (
            aiohttp.ClientSession() as http,
            http.get(f"http://[::1]:{port}/api/streams/") as response,
        ):
            assert await response.json() == []


async def test_without_ipv6_the_wildcard_is_that_of_ipv4(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    async with Server(config(http={"listen": "[::]:0"})) as server:
        assert server._http.family == socket.AF_INET


async def test_a_server_stops_with_status_1_when_its_data_plane_dies() -> None:
    def die(server: Server) -> None:
        server._engine._plane_failed(RuntimeError("a bug"))

    assert await module.run(config(), ready=die) == 1
