"""The engine: opening, failing, and leaving nothing behind."""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
import socket

import pytest

from live777py.config import Webrtc
from live777py.errors import ConfigError
from live777py.rtc import engine as engine_module
from live777py.rtc.engine import Engine
from tests.rtc.test_viewer import SSRC, packets, whep, whip
from tests.support.offers import VP8, video
from tests.support.rtp_client import RtpClient
from tests.support.server import running


def webrtc(**keys: object) -> Webrtc:
    return Webrtc.model_validate(
        {"listen": "127.0.0.1:0", "addresses": ["127.0.0.1"], **keys}
    )


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def test_an_engine_announces_what_it_was_told_to() -> None:
    async with Engine(webrtc(public_ips=["192.0.2.7:443"])) as engine:
        assert engine.hosts == ("192.0.2.7", "127.0.0.1")


async def test_an_engine_can_be_opened_and_closed_without_a_trace() -> None:
    async with Engine(webrtc()):
        pass
    before = descriptors()
    for _ in range(3):
        async with Engine(webrtc()):
            pass
    assert descriptors() == before


async def test_an_address_that_the_socket_cannot_serve_opens_nothing() -> None:
    before = descriptors()
    with pytest.raises(ConfigError, match="addresses"):
        async with Engine(webrtc(addresses=["::1"])):
            pass
    assert descriptors() == before


async def test_a_port_in_use_is_an_error_of_the_system() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=str(port)):
            async with Engine(webrtc(listen=f"127.0.0.1:{port}")):
                pass


async def test_a_second_engine_on_the_port_of_several_threads_is_refused() -> None:
    async with Engine(webrtc(threads=3)) as engine:
        port = engine._resources.plane._sock.getsockname()[1]
        with pytest.raises(OSError, match=str(port)):
            async with Engine(webrtc(listen=f"127.0.0.1:{port}", threads=3)):
                pass


@pytest.mark.parametrize(
    ("wanted", "compiled", "usable", "expected"),
    [
        (-1, True, 1, 1),
        (-1, True, 3, 3),
        (-1, True, 64, 4),
        (-1, False, 64, 1),
        (6, True, 2, 6),
        (6, False, 8, 1),
        (0, True, 8, 0),
    ],
)
def test_there_is_a_thread_for_each_usable_cpu(
    wanted: int,
    compiled: bool,
    usable: int,
    expected: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine_module, "COMPILED", compiled)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(usable)))
    assert engine_module._threads(wanted) == expected


async def test_the_engine_tells_when_the_data_plane_has_ended() -> None:
    async with Engine(webrtc()) as engine:
        waiting = asyncio.ensure_future(engine.failed())
        await asyncio.sleep(0)
        assert not waiting.done()
        engine._plane_failed(RuntimeError("a bug"))
        engine._plane_failed(RuntimeError("its consequence"))
        assert "a bug" in await waiting


async def _keep_sending(publisher: RtpClient) -> None:
    """Let the publisher never fall silent, whatever else the test waits for."""
    for packet in itertools.cycle(packets(1000)):
        await publisher.send_rtp(packet)
        await asyncio.sleep(0.05)


@pytest.mark.timeout(150)
async def test_viewers_that_vanish_leave_no_task_descriptor_or_entry() -> None:
    async with running(webrtc={"idle_timeout": 1.0, "connect_timeout": 5.0}) as server:
        engine = server.server._engine
        shared = engine._resources
        async with RtpClient.publisher(
            whip(server), video(VP8, ssrc=SSRC)
        ) as publisher:
            before = tasks = None
            sending = asyncio.create_task(_keep_sending(publisher))
            for _round in range(2):
                clients = [
                    RtpClient.viewer(whep(server), video(VP8)) for _ in range(50)
                ]
                for index, client in enumerate(clients):
                    await client.post()
                    if index % 2:
                        await client.connect()
                for client in clients:
                    await client.vanish()
                async with asyncio.timeout(60):
                    while len(shared.transport._peers) > 1:  # noqa: ASYNC110
                        await asyncio.sleep(0.05)
                gc.collect()
                if before is None:
                    before, tasks = descriptors(), len(asyncio.all_tasks())
            assert not sending.done()
            assert descriptors() == before
            assert len(asyncio.all_tasks()) == tasks
            sending.cancel()
        assert len(shared.transport._ufrags) == 0
        assert len(shared.plane._peers) == 0
        assert len(shared.plane._viewers) == 0
        assert len(shared.plane._owners) == 0
        assert len(shared.plane._tracks) == 0
