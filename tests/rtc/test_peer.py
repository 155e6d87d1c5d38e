"""What all peers have in common: connecting, ending, and who says goodbye."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import cast

import pytest

from live777py.core.model import PeerState, Traffic
from live777py.core.ports import PeerGone
from live777py.protocol.rtcp import ReceiverReport
from live777py.relay.seam import Path, SrtpKeys
from live777py.rtc.dtls import Cause
from live777py.rtc.peer import CAUSES, call_in_slot
from live777py.rtc.tracks import StreamTracks
from live777py.rtc.viewer import Viewer
from tests.rtc.fakes import FakePlane, resources
from tests.rtc.offers import read
from tests.rtc.test_viewer import SSRC, packets, whep, whip
from tests.support.offers import VP8, video
from tests.support.rtp_client import RtpClient
from tests.support.server import running
from tests.support.signalling import Refused


def peer(plane: FakePlane) -> Viewer:
    """A peer around a fake plane."""
    shared = resources(plane)
    tracks = StreamTracks(shared.plane, shared.transport, "cam")
    return Viewer(shared, tracks)


async def until_ended(
    caplog: pytest.LogCaptureFixture, condition: Callable[[str], bool]
) -> None:
    async with asyncio.timeout(20):
        while not condition(caplog.text):  # noqa: ASYNC110 - the log has no event
            await asyncio.sleep(0.01)


class Clock:
    """The part of an event loop that tells the time and takes appointments."""

    now = 5000.0

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: object) -> float:
        return when


def appointment(clock: Clock, delay: float, slot: float) -> float:
    loop = cast(asyncio.AbstractEventLoop, clock)
    return cast(float, call_in_slot(loop, delay, slot, lambda: None))


def test_many_peers_share_a_wake_up() -> None:
    clock, times = Clock(), set()
    for number in range(1000):
        clock.now = 5000 + number / 1000
        at = appointment(clock, 1.0, 0.05)
        assert 0.949 < at - clock.now <= 1 + 1e-9
        times.add(at)
    assert len(times) <= 21


def test_appointments_do_not_drift() -> None:
    clock = Clock()
    for _ in range(100):
        # The loop is a little late each time.
        clock.now = appointment(clock, 1.0, 0.05) + 0.004
    assert 5099 <= clock.now <= 5100.01


@pytest.mark.parametrize("delay", [0.001, 0.02, 0.05])
def test_a_short_delay_is_one(delay: float) -> None:
    clock = Clock()
    for number in range(1000):
        clock.now = 5000 + number / 7000
        assert (
            0.49 * delay <= appointment(clock, delay, 0.05) - clock.now <= delay + 1e-9
        )


async def test_a_peer_takes_a_place_and_gives_it_back() -> None:
    plane = FakePlane()
    viewer = peer(plane)
    states = [viewer.state]
    async with viewer:
        assert len(plane.peers) == 1
        await viewer.answer(read("chromium-156-whep-initial"))
        states.append(viewer.state)
        assert viewer.version
    states.append(viewer.state)
    assert states == [PeerState.NEW, PeerState.CONNECTING, PeerState.CLOSED]
    assert not plane.peers


async def test_a_peer_that_is_ended_stops_waiting_to_be_connected() -> None:
    async with peer(FakePlane()) as viewer:
        await viewer.answer(read("chromium-156-whep-initial"))
        asyncio.get_running_loop().call_soon(viewer.end, "enough")
        with pytest.raises(PeerGone, match="enough"):
            await viewer.connected()


async def test_a_peer_that_was_ended_before_never_connects() -> None:
    async with peer(FakePlane()) as viewer:
        await viewer.answer(read("chromium-156-whep-initial"))
        viewer.end("enough")
        viewer.end("too late to be the reason")
        with pytest.raises(PeerGone, match="enough"):
            await viewer.connected()
        assert await viewer.gone() == ("enough", "ended")


async def test_the_cause_of_an_end_is_told_with_its_reason() -> None:
    async with peer(FakePlane()) as viewer:
        await viewer.answer(read("chromium-156-whep-initial"))
        viewer.end("nothing came", "silent")
        with pytest.raises(PeerGone, match="nothing came") as gone:
            await viewer.connected()
        assert gone.value.cause == "silent"
        assert await viewer.gone() == ("nothing came", "silent")


async def test_what_passed_is_counted_at_each_tick_and_at_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    passed = Traffic(1, 1)
    viewer = peer(FakePlane())
    monkeypatch.setattr(viewer, "_count", lambda: passed)
    async with viewer:
        assert viewer.recent == Traffic()
        viewer._measure(1)
        passed = Traffic(2, 2)
        assert (viewer.recent, viewer.traffic) == (Traffic(1, 1), Traffic(2, 2))
    assert viewer.recent == Traffic(2, 2)


async def test_a_path_comes_before_the_handshake() -> None:
    async with peer(FakePlane()) as viewer:
        await viewer.answer(read("chromium-156-whep-initial"))
        assert viewer.stage == "ice"
        viewer._reachable.set_result(None)
        assert viewer.stage == "dtls"


def test_every_failure_of_a_handshake_has_a_word_of_its_own() -> None:
    assert set(CAUSES) == set(Cause)
    assert len(set(CAUSES.values())) == len(Cause)
    assert all(word.startswith("dtls_") for word in CAUSES.values())


class EndedAtLast(Viewer):
    """It is ended when its handshake is done, and its task has not been told yet."""

    async def _handshake(self) -> SrtpKeys:
        self.end("enough")
        return cast(SrtpKeys, None)


async def test_a_peer_that_is_ended_at_the_last_moment_never_connects() -> None:
    plane = FakePlane()
    shared = resources(plane)
    tracks = StreamTracks(shared.plane, shared.transport, "cam")
    async with EndedAtLast(shared, tracks) as viewer:
        await viewer.answer(read("chromium-156-whep-initial"))
        viewer._reachable.set_result(None)
        with pytest.raises(PeerGone, match="enough"):
            await viewer.connected()
        assert viewer.state is PeerState.CONNECTING


async def test_waiting_to_be_connected_can_be_cancelled() -> None:
    async with peer(FakePlane()) as viewer:
        await viewer.answer(read("chromium-156-whep-initial"))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await viewer.connected()


async def test_what_comes_before_the_answer_or_is_garbage_harms_nobody() -> None:
    async with peer(FakePlane()) as viewer:
        path = Path("127.0.0.1", 9, "127.0.0.1")
        viewer.receive_dtls(b"\x16", path, 0)
        viewer.receive_rtcp(b"\x80\xc8", path, 0)
        viewer.receive_stun(b"\x00\x01", path, 0)
        await viewer.answer(read("chromium-156-whep-initial"))
        viewer.receive_dtls(b"\x16", path, 0)
        viewer.receive_rtcp(b"\x80\xc8", path, 0)
        assert viewer.state is PeerState.CONNECTING


@pytest.mark.parametrize("setup", ["actpass", "active", "passive"])
async def test_a_client_connects_in_either_dtls_role(setup: str) -> None:
    async with (
        running() as server,
        RtpClient.publisher(
            whip(server), video(VP8, ssrc=SSRC), setup=setup
        ) as publisher,
    ):
        expected = "active" if setup == "passive" else "passive"
        assert publisher.answer.setup == expected
        await publisher.send_rtp(*packets(2))
        await server.until_published("cam")


async def test_ending_a_session_says_goodbye_to_its_client() -> None:
    async with (
        running() as server,
        RtpClient.publisher(whip(server), video(VP8)) as publisher,
    ):
        assert await publisher.signalling.delete() == 204
        async with asyncio.timeout(20):
            await publisher.closed.wait()
        assert await server.streams() == []


async def test_a_client_that_says_goodbye_is_gone_at_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    async with running() as server:
        publisher = RtpClient.publisher(whip(server), video(VP8))
        async with publisher:
            publisher.signalling.location = None  # no DELETE, close_notify alone
        await until_ended(caplog, lambda text: "close_notify" in text)
        assert await server.streams() == []


async def test_a_client_that_vanishes_is_missed_after_a_while(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    async with running(webrtc={"idle_timeout": 0.3}) as server:
        viewer = RtpClient.viewer(whep(server), video(VP8))
        await viewer.post()
        await viewer.connect()
        await viewer.vanish()
        await until_ended(
            caplog, lambda text: "nothing authenticated came for 0.3 s" in text
        )
        assert await server.streams() == []


async def _keep_reporting(viewer: RtpClient) -> None:
    while True:
        await viewer.send_rtcp(ReceiverReport(7))
        await asyncio.sleep(0.02)


async def test_a_server_that_stands_still_does_not_take_that_for_its_clients_silence() -> (
    None
):
    async with running(webrtc={"idle_timeout": 0.5}) as server:
        viewer = RtpClient.viewer(whep(server), video(VP8))
        async with viewer:
            reporting = asyncio.create_task(_keep_reporting(viewer))
            for _ in range(3):
                time.sleep(1.0)  # noqa: ASYNC251 - the whole loop, the client's task too
                await asyncio.sleep(0.3)
            assert not viewer.closed.is_set()
            assert len(await server.streams()) == 1
            reporting.cancel()


async def test_a_client_with_another_certificate_is_refused(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)

    def forge(offer: str) -> str:
        head, _, tail = offer.partition("a=fingerprint:sha-256 ")
        return f"{head}a=fingerprint:sha-256 {'00' if tail[:2] != '00' else '11'}{tail[2:]}"

    async with running() as server:
        client = RtpClient(
            whip(server), [video(VP8)], direction="sendonly", edit_offer=forge
        )
        await client.post()
        # By its own side of the handshake the client may be connected before it is told.
        with contextlib.suppress(ConnectionError, TimeoutError):
            await client.connect(timeout=2)
        await client.vanish()
        await until_ended(caplog, lambda text: "handshake failed" in text)
        assert await server.streams() == []


async def test_a_full_plane_refuses_politely() -> None:
    async with (
        running(webrtc={"max_sessions": 1}) as server,
        RtpClient.publisher(whip(server), video(VP8)),
    ):
        with pytest.raises(Refused, match="503"):
            async with RtpClient.viewer(whep(server), video(VP8)):
                pass
