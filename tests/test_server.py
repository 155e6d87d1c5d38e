"""The server as a process and as an object: starting, stopping, saying goodbye."""

from __future__ import annotations

import asyncio
import logging
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
from live777py.errors import ConfigError
from live777py.server import Server
from tests.rtc.test_viewer import SSRC, packets
from tests.support.certificates import write_certificate
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
    async with asyncio.timeout(50):
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
            async with asyncio.timeout(20):
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


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]


@pytest.mark.parametrize(
    ("host", "proxies", "auth", "warned"),
    [
        ("127.0.0.1", [], {}, False),
        ("127.0.0.1", ["127.0.0.1"], {}, True),
        ("[::1]", [], {}, False),
        ("0.0.0.0", [], {}, True),
        ("0.0.0.0", [], {"tokens": ["t"]}, False),
    ],
)
async def test_an_open_server_that_others_reach_says_so_once(
    host: str,
    proxies: list[str],
    auth: dict[str, object],
    warned: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    if host == "[::1]" and not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    http = {"listen": f"{host}:0", "trusted_proxies": proxies}
    async with Server(config(http=http, auth=auth)):
        pass
    found = [line for line in warnings(caplog) if "no authentication" in line]
    assert len(found) == warned


async def test_a_secret_that_can_be_guessed_is_said_and_not_shown(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with running(auth={"secret": "s3cret"}):
        pass
    assert any("[auth] secret has 6 characters" in line for line in warnings(caplog))
    assert "s3cret" not in caplog.text


@pytest.mark.parametrize(
    ("content", "fault"),
    [(None, "cannot be read: No such file"), (b"{}", 'has no list "keys"')],
)
async def test_a_file_of_keys_that_is_none_is_a_fault_of_the_configuration(
    content: bytes | None, fault: str, tmp_path: Path
) -> None:
    file = tmp_path / "keys.json"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        async with running(auth={"jwks_file": str(file)}):
            pass
    assert caught.value.faults[0].startswith(f"auth.jwks_file: {file}")
    assert fault in caught.value.faults[0]


async def test_keys_that_come_unprotected_are_warned_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with running(auth={"jwks_url": "http://127.0.0.1:9/keys"}):
        pass
    assert any("jwks_url is not https" in line for line in warnings(caplog))


async def test_a_hangup_renews_the_certificate_and_does_not_end_the_server(
    tmp_path: Path,
) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    write_certificate(cert, key)
    (tmp_path / "live777.toml").write_text(
        f'[http]\ntls_cert = "{cert}"\ntls_key = "{key}"\n'
    )
    async with process(tmp_path) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        async with asyncio.timeout(50):
            assert b"serving" in await child.stdout.readline()
            child.send_signal(signal.SIGHUP)
            while b"anew" not in await child.stderr.readline():
                pass
            child.send_signal(signal.SIGTERM)
            assert await child.wait() == 0
