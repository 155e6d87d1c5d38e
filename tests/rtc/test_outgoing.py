from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from aiortc import (
    RTCConfiguration,
    RTCPeerConnection,
    RTCSessionDescription,
    VideoStreamTrack,
)

from live777py.clients.sdp_session import SdpSession
from live777py.clients.whep import WhepClient
from live777py.clients.whip import WhipClient
from live777py.errors import InvalidAnswer
from live777py.protocol import rtcp, rtp
from live777py.protocol.codecs import Format
from live777py.protocol.rtcp import PictureLoss, ReceiverReport
from live777py.rtc.dtls import Certificate
from live777py.rtc.full_ice import new_credentials
from live777py.rtc.outgoing import ConnectFailed, OutgoingPeer, is_loopback
from live777py.rtc.outgoing_offer import (
    OutgoingMedia,
)
from live777py.rtc.watched import watched
from tests.support import media
from tests.support.loopback import loopback_only
from tests.support.offers import VP8
from tests.support.server import RunningServer, running

SSRC, RTX_SSRC = 4321, 4322
SENT = (OutgoingMedia("video", (VP8,), SSRC, RTX_SSRC),)
CERTIFICATE = Certificate.generate()


async def until(condition: Callable[[], object], timeout: float = 20.0) -> None:
    async with asyncio.timeout(timeout):
        while not condition():  # noqa: ASYNC110 - callbacks note, nobody tells
            await asyncio.sleep(0.005)


def new_peer(
    *,
    sends: bool,
    target: str = "127.0.0.1",
    hosts: tuple[str, ...] | None = ("127.0.0.1",),
    on_rtp: Callable[[bytes], None] | None = None,
    on_rtcp: Callable[[bytes], None] | None = None,
    trickles: bool = False,
) -> OutgoingPeer:
    return OutgoingPeer(
        SENT if sends else watched(),
        certificate=CERTIFICATE,
        target=target,
        hosts=hosts,
        on_rtp=on_rtp,
        on_rtcp=on_rtcp,
        trickles=trickles,
    )


@asynccontextmanager
async def connected(
    peer: OutgoingPeer, server: RunningServer, path: str
) -> AsyncIterator[SdpSession]:
    async with WhipClient() as client, peer:
        session = await client.post(f"{server.url}/{path}", await peer.offer())
        await peer.connect(session.answer)
        yield session


async def test_what_one_peer_sends_the_server_forwards_to_another() -> None:
    packets: list[bytes] = []
    asked: list[rtcp.Packet] = []
    viewer = new_peer(sends=False, on_rtp=packets.append)
    publisher = new_peer(sends=True, on_rtcp=lambda d: asked.extend(rtcp.parse(d)))
    picture = media.encode(Format.VP8, frames=1)[0].data
    async with (
        running() as server,
        connected(viewer, server, "whep/cam"),
        connected(publisher, server, "whip/cam"),
    ):
        sent = media.RtpStream(96, SSRC, Format.VP8).packets(picture, 0)
        for packet in sent:
            assert publisher.send_rtp(packet) != packet
        await until(lambda: len(packets) == len(sent))
        assert [rtp.payload_of(p) for p in packets] == [rtp.payload_of(p) for p in sent]
        ssrc = rtp.parse(packets[0]).ssrc
        asked.clear()
        viewer.send_rtcp(rtcp.compound(ReceiverReport(7), PictureLoss(7, ssrc)))
        await until(lambda: any(isinstance(p, PictureLoss) for p in asked))
        assert viewer.keys is not None
        assert viewer.remote[0] == "127.0.0.1"


async def test_a_restart_goes_over_to_the_path_that_answers() -> None:
    # Both sides keep what they have: the server knows nobody by another username.
    async with (
        running() as server,
        WhepClient() as client,
        new_peer(sends=False) as peer,
    ):
        offer = await peer.offer()
        session = await client.post(f"{server.url}/whep/cam", offer)
        answer = await peer.connect(session.answer)
        ours = dict(re.findall(r"a=(ice-ufrag|ice-pwd):(\S+)", offer))
        here = ours["ice-ufrag"], ours["ice-pwd"]
        before = peer.remote
        await peer.restart(here, (answer.ufrag, answer.pwd), answer.candidates)
        assert peer.remote == before
        assert not peer.is_closed
        assert await client.delete(session) == 204
        assert await peer.closed() == "close_notify received"


async def test_a_restart_that_nobody_answers_fails() -> None:
    viewer = new_peer(sends=False)
    async with running() as server, connected(viewer, server, "whep/cam"):
        with pytest.raises(ConnectFailed, match="new credentials"):
            await viewer.restart(new_credentials(), ("nobody", "x" * 24), ())


async def test_a_detached_socket_still_hears_the_servers_goodbye() -> None:
    peer = new_peer(sends=False)
    async with (
        running() as server,
        connected(peer, server, "whep/cam") as session,
        WhepClient() as client,
    ):
        detached = peer.detach()
        assert detached.remote == peer.remote
        loop = asyncio.get_running_loop()

        def read() -> None:
            detached.receive(detached.socket.recv(2048))

        loop.add_reader(detached.socket.fileno(), read)
        assert not peer.is_closed
        assert await client.delete(session) == 204
        assert await asyncio.wait_for(peer.closed(), 20) == "close_notify received"
        loop.remove_reader(detached.socket.fileno())
        detached.socket.close()


async def test_leaving_says_goodbye() -> None:
    peer = new_peer(sends=True)
    async with running() as server:
        async with connected(peer, server, "whip/cam"):
            await server.until_published("cam")
        assert await peer.closed() == "closed by us"
        await peer.aclose()
        async with asyncio.timeout(20):
            while await server.streams():  # noqa: ASYNC110 - the server tells nobody
                await asyncio.sleep(0.01)


async def test_a_vanishing_peer_says_nothing() -> None:
    peer = new_peer(sends=True)
    async with running() as server, connected(peer, server, "whip/cam"):
        await server.until_published("cam")
        await peer.aclose(goodbye=False)
        await asyncio.sleep(0.1)
        assert len(await server.streams()) == 1


@pytest.mark.parametrize("target", ["127.0.0.1", "localhost", ""])
async def test_a_server_on_loopback_is_reached_from_any_addresses(target: str) -> None:
    # Without a loopback target the addresses that lead to the answer's candidates are opened.
    peer = new_peer(sends=True, target=target, hosts=None if target else ())
    if not target:
        peer = new_peer(sends=True, target="", hosts=("127.0.0.2",))
    async with running() as server, connected(peer, server, "whip/cam"):
        assert peer.keys is not None


async def test_an_unusable_answer_is_told() -> None:
    async with new_peer(sends=True) as peer:
        await peer.offer()
        with pytest.raises(InvalidAnswer):
            await peer.connect("v=0\r\n")


def silent_answer(port: int | None) -> str:
    candidate = f"a=candidate:1 1 udp 1 127.0.0.1 {port} typ host\r\n" if port else ""
    return (
        "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=ice-lite\r\n"
        "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\na=recvonly\r\n"
        "a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\na=setup:passive\r\n"
        f"a=fingerprint:sha-256 {':'.join(['AB'] * 32)}\r\na=rtpmap:96 VP8/90000\r\n"
        f"{candidate}"
    )


async def test_a_server_that_is_silent_is_given_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        async with new_peer(sends=True) as peer:
            await peer.offer()
            with pytest.raises(ConnectFailed, match=r"ICE: .* within 0\.2 s"):
                await peer.connect(silent_answer(silent.getsockname()[1]), timeout=0.2)


async def test_an_answer_without_a_candidate_is_told() -> None:
    async with new_peer(sends=True) as peer:
        await peer.offer()
        with pytest.raises(ConnectFailed, match="no usable candidate"):
            await peer.connect(silent_answer(None))


async def test_a_peer_without_an_address_is_told() -> None:
    async with new_peer(sends=True, target="", hosts=("192.0.2.77",)) as peer:
        with pytest.raises(ConnectFailed, match="no local address"):
            await peer.offer()


@pytest.mark.parametrize("trickles", [True, False])
@pytest.mark.parametrize("setup", ["active", "passive"])
async def test_a_full_ice_agent_is_reached_in_either_dtls_role(
    setup: str, trickles: bool
) -> None:
    remote = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    remote.addTrack(VideoStreamTrack())
    packets: list[bytes] = []
    try:
        async with new_peer(
            sends=False, on_rtp=packets.append, trickles=trickles
        ) as peer:
            offer = await peer.offer()
            # Where the offer leaves no choice, so does aiortc's answer.
            other = {"active": "passive", "passive": "active"}[setup]
            offer = offer.replace("a=setup:actpass", f"a=setup:{other}")
            with loopback_only():
                await remote.setRemoteDescription(RTCSessionDescription(offer, "offer"))
                await remote.setLocalDescription(await remote.createAnswer())
            answer = await peer.connect(remote.localDescription.sdp)
            assert answer.dtls_role == ("server" if setup == "active" else "client")
            assert not answer.is_lite
            await until(lambda: packets)
            assert rtp.parse(packets[0]).ssrc in answer.media[0].ssrcs
    finally:
        await remote.close()


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.9", True),
        ("::1", True),
        ("LocalHost.", True),
        ("192.0.2.1", False),
        ("example.org", False),
        ("", False),
    ],
)
def test_loopback_is_known(host: str, expected: bool) -> None:
    assert is_loopback(host) == expected
