from __future__ import annotations

import asyncio
import dataclasses
import os
import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from live777py.protocol.codecs import Format
from live777py.relay.columns import DELAY_BUCKETS
from live777py.relay.seam import Control, ControlPacket, Path, PeerId, SrtpKeys
from live777py.relay.settings import PlaneSettings
from live777py.relay.tables import EVENTS

from .support import GCM, SMALL, Endpoint, Rig, rig, rtp, udp

THREADED = dataclasses.replace(SMALL, threads=1)


@contextmanager
def _adopted(
    settings: PlaneSettings = SMALL,
    host: str = "127.0.0.1",
    shared: str = "127.0.0.1",
    *,
    connected: bool = True,
) -> Iterator[tuple[Rig, Endpoint, socket.socket]]:
    """A rig with a peer whose socket we opened; its endpoint sends there."""
    with rig(settings, shared) as r, udp(host) as sock:
        yield r, _adopt(r, sock, host, connected=connected), sock


def _adopt(
    r: Rig, sock: socket.socket, host: str = "127.0.0.1", *, connected: bool = True
) -> Endpoint:
    endpoint = r.endpoint("127.0.0.1")
    endpoint.sock.close()
    endpoint.sock = udp(host)
    endpoint.local = host
    endpoint.server = sock.getsockname()[:2]
    if connected:
        sock.connect(endpoint.sock.getsockname())
    r.plane.adopt(endpoint.peer, sock, endpoint.path)
    r.turn()
    return endpoint


def _control(r: Rig, count: int) -> list[ControlPacket]:
    """What the loop hands over, in its own thread or in this one."""
    got: list[ControlPacket] = []
    end = time.monotonic() + 5
    while len(got) < count and time.monotonic() < end:
        if r.plane._settings.threads == 0:
            r.turn()
        got += r.plane.control_packets()
    return got


@pytest.mark.parametrize("connected", [True, False])
@pytest.mark.parametrize(
    ("host", "shared"),
    [("127.0.0.1", "127.0.0.1"), ("::1", "127.0.0.1"), ("127.0.0.1", "::")],
)
def test_media_goes_both_ways_by_a_peers_own_socket(
    host: str, shared: str, connected: bool
) -> None:
    with _adopted(host=host, shared=shared, connected=connected) as (r, own, _):
        plain = r.endpoint(server="127.0.0.1")
        track, back = r.plane.add_track(), r.plane.add_track()
        r.bind(own, track)
        r.bind(plain, back)
        for watched in (track, back):
            r.watch(own, watched, ssrc=10 + watched)
            r.watch(plain, watched, ssrc=10 + watched)
        r.turn()
        # Enough of equal size for a GSO message.
        for n in range(5):
            own.publish(rtp(n, payload=b"up"))
            plain.publish(rtp(n, payload=b"down"))
        r.turn()
        for endpoint in (own, plain):
            got = endpoint.packets(10)
            assert sorted(p.payload for p in got) == [b"down"] * 5 + [b"up"] * 5
            stats = r.plane.peer_stats(endpoint.peer)
            assert (stats.packets_received, stats.packets_sent) == (5, 10)
        assert (r["adopt_failed"], r["send_dropped"], r["adopted"]) == (0, 0, 1)
        if r.plane._state.engine[0].gso:
            assert r["gso_messages"] > 0
            assert r["gso_refused"] == 0


def test_messages_of_several_sockets_leave_in_one_batch_each_by_its_own() -> None:
    with rig() as r, udp() as one, udp() as two:
        publisher, track, (plain,) = r.stream()
        peers = [_adopt(r, one), _adopt(r, two)]
        for peer in peers:
            r.watch(peer, track)
        r.turn()
        for n in range(3):
            publisher.publish(rtp(n, payload=bytes(10 + n)))
        r.turn()
        for peer, sock in zip([*peers, plain], (one, two, r.sock), strict=True):
            senders = set()
            for _ in range(3):
                assert select.select([peer.sock], [], [], 1)[0]
                senders.add(peer.sock.recvfrom(2048)[1])
            assert senders == {sock.getsockname()}


@pytest.mark.parametrize("settings", [SMALL, THREADED], ids=["stepped", "thread"])
def test_control_of_all_kinds_comes_with_the_peers_id(settings: PlaneSettings) -> None:
    with _adopted() as (r, own, _):
        if settings.threads:
            r.plane._settings = settings
            r.plane.start()
        stun, dtls, rtcp = b"\0\1stun", b"\x16\xfe\xfd", b"\x80\xc8report"
        for data in (stun, dtls, rtcp):
            own.send(data)
        got = _control(r, 3)
        assert [(p.kind, p.data) for p in got] == [
            (Control.STUN, stun),
            (Control.DTLS, dtls),
            (Control.RTCP, rtcp),
        ]
        assert {p.peer for p in got} == {own.peer}
        assert {p.path for p in got} == {own.path}
        r.plane.send_to_peer(own.peer, b"answer")
        assert own.datagrams(1) == [b"answer"]


def test_what_comes_by_an_open_socket_is_its_peers_whatever_the_address() -> None:
    with _adopted(connected=False) as (r, own, _), udp() as stranger:
        stranger.sendto(b"\0\1stun", own.server)
        stranger.sendto(b"\x90" + bytes(40), own.server)
        (packet,) = _control(r, 1)
        assert packet.peer == own.peer
        assert packet.path.port == stranger.getsockname()[1]
        r.turn()
        # Media is authenticated.
        assert r["no_track"] + r["srtp_failed"] + r["malformed"] == 1
        assert r["unknown_address"] == 0


def test_many_sockets_may_lead_to_one_address() -> None:
    with rig() as r, udp() as remote, udp() as one, udp() as two:
        path = Path("127.0.0.1", remote.getsockname()[1], "127.0.0.1")
        peers = [r.plane.add_peer() for _ in range(2)]
        for peer, sock in zip(peers, (one, two), strict=True):
            r.plane.adopt(peer, sock, path)
            # Ignored: its socket says whose a packet is.
            r.plane.add_address(peer, path)
        r.turn()
        for sock in (two, one):
            remote.sendto(b"\0\1stun", sock.getsockname())
            r.turn()
        got = [p.peer for p in r.plane.control_packets()]
        assert got == peers[::-1]
        remote.sendto(b"\0\1stun", r.sock.getsockname())
        r.turn()
        assert [p.peer for p in r.plane.control_packets()] == [-1]


def test_more_sockets_than_one_turn_looks_at_are_all_served() -> None:
    count = EVENTS + 8
    with ExitStack() as stack:
        r = stack.enter_context(rig())
        remote = stack.enter_context(udp())
        path = Path("127.0.0.1", remote.getsockname()[1], "127.0.0.1")
        peers = []
        for _ in range(count):
            sock = stack.enter_context(udp())
            peers.append(r.plane.add_peer())
            r.plane.adopt(peers[-1], sock, path)
            remote.sendto(b"\0\1stun", sock.getsockname())
        assert r.plane.turn() == 0
        assert [r.plane.turn(1000), r.plane.turn(1000)] == [EVENTS, 8]
        assert sorted(p.peer for p in r.plane.control_packets()) == peers


def test_an_adopted_socket_has_room_for_as_much_as_the_shared_one() -> None:
    with rig() as r, udp() as sock:
        options = (socket.SO_RCVBUF, socket.SO_SNDBUF)
        for option in options:
            usual = sock.getsockopt(socket.SOL_SOCKET, option)
            r.sock.setsockopt(socket.SOL_SOCKET, option, usual)
        _adopt(r, sock)
        for option in options:
            wanted = r.sock.getsockopt(socket.SOL_SOCKET, option)
            assert sock.getsockopt(socket.SOL_SOCKET, option) == wanted


def test_a_buffer_that_is_larger_already_stays() -> None:
    with rig() as r, udp() as sock:
        r.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        before = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        _adopt(r, sock)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == before


def test_what_adopted_sockets_had_no_room_for_is_counted_with_the_shared_ones() -> None:
    with ExitStack() as stack:
        r = stack.enter_context(rig())
        socks = [stack.enter_context(udp()) for _ in range(2)]
        peers = [_adopt(r, sock) for sock in socks]
        for sock in (*socks, r.sock):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sent = 0
        for _ in range(2):
            for endpoint in peers:
                for _ in range(100):
                    endpoint.send(bytes(1000))
            sent += 200
            while r.turn():
                pass
            # What comes after a loss tells of it.
            for endpoint in peers:
                endpoint.send(bytes(1000))
            sent += 2
            r.turn()
            assert r["kernel_dropped"] > 0
            assert r["kernel_dropped"] + r["packets_in"] == sent
        sender = stack.enter_context(udp())
        for _ in range(100):
            sender.sendto(bytes(1000), r.sock.getsockname())
        r.turn()
        sender.sendto(bytes(1000), r.sock.getsockname())
        r.turn()
        assert r["kernel_dropped"] + r["packets_in"] == sent + 101


def _sending(r: Rig, socks: list[socket.socket]) -> tuple[list[Endpoint], Endpoint]:
    """Publishers with sockets of their own, and a viewer of all of them."""
    publishers = [_adopt(r, sock) for sock in socks]
    viewer = r.endpoint()
    for publisher in publishers:
        track = r.plane.add_track()
        r.bind(publisher, track)
        r.watch(viewer, track, ssrc=10 + track)
    r.turn()
    return publishers, viewer


def test_what_several_sockets_have_leaves_together() -> None:
    with rig() as r, udp() as one, udp() as two:
        publishers, viewer = _sending(r, [one, two])
        before = r["send_calls"]
        for publisher in publishers:
            for n in range(3):
                publisher.publish(rtp(n, payload=b"media"))
        assert r.turn() == 6
        assert r["send_calls"] == before + 1
        assert [packet.payload for packet in viewer.packets(6)] == 6 * [b"media"]
        assert sum(r[f"delay_{n}"] for n in range(DELAY_BUCKETS)) == 1


def _come_to_a_turn(r: Rig, first: Endpoint, second: Endpoint, count: int) -> bool:
    """Whether of two packets, the second of which is late, so many come to one turn.

    In one of five tries: this process may stand still until both are there, or the rest is over.
    """
    for number in range(0, 10, 2):
        first.publish(rtp(number))
        late = threading.Timer(0.05, second.publish, [rtp(number + 1)])
        late.start()
        received = r.plane.turn(5000)
        late.join()
        if received == count:
            return True
        r.turn()
    return False


def test_what_comes_by_several_sockets_may_gather() -> None:
    with (
        rig(dataclasses.replace(SMALL, coalesce=0.5)) as r,
        udp() as one,
        udp() as two,
    ):
        (first, second), _ = _sending(r, [one, two])
        assert _come_to_a_turn(r, first, second, 2)


def test_what_comes_by_one_socket_has_gathered_before() -> None:
    with rig(dataclasses.replace(SMALL, coalesce=0.5)) as r, udp() as sock:
        (own,), _ = _sending(r, [sock])
        assert _come_to_a_turn(r, own, own, 1)
        assert r.plane.turn(5000) == 1


def test_sockets_come_and_go_under_traffic() -> None:
    with rig(THREADED) as r, udp() as sock, udp() as remote:
        r.plane.start()
        path = Path("127.0.0.1", remote.getsockname()[1], "127.0.0.1")
        track = r.plane.add_track()
        source = r.plane.open_source(track, format=Format.OPAQUE, clock_rate=90_000)
        for turn in range(40):
            peer = r.plane.add_peer()
            r.plane.set_keys(peer, SrtpKeys(GCM, os.urandom(28), os.urandom(28)))
            r.plane.adopt(peer, sock, path)
            r.plane.add_viewer(
                peer,
                track,
                payload_type=100,
                ssrc=1,
                first_sequence=1,
                timestamp_offset=0,
                extensions={},
            )
            for n in range(4):
                remote.sendto(b"\0\1stun", sock.getsockname())
                r.plane.inject(source, [rtp(4 * turn + n, turn)])
            if turn % 2:
                r.plane.release(peer)
            r.plane.remove_peer(peer)
            for packet in r.plane.control_packets():
                assert packet.data == b"\0\1stun"
        end = time.monotonic() + 5
        while r["adopted"] or r["graves"]:
            assert time.monotonic() < end
            list(r.plane.control_packets())
        assert r.plane.failed is None
        assert (r["adopt_failed"], r["send_dropped"]) == (0, 0)


def test_a_released_socket_is_its_owners_again() -> None:
    with _adopted() as (r, own, sock):
        track = r.plane.add_track()
        source = r.plane.open_source(track, format=Format.OPAQUE, clock_rate=1)
        r.watch(own, track)
        r.plane.release(own.peer)
        r.plane.release(own.peer)
        assert r["graves"] == 1
        r.turn()
        assert (r["graves"], r["adopted"]) == (0, 0)
        own.send(b"\0\1stun")
        r.turn()
        assert list(r.plane.control_packets()) == []
        assert select.select([sock], [], [], 1)[0]
        assert sock.recv(100) == b"\0\1stun"
        sock.send(b"still connected")
        assert own.datagrams(1) == [b"still connected"]
        # No path, until one is selected for the shared socket.
        r.plane.send_to_peer(own.peer, b"nowhere")
        assert r["control_unsent"] == 1
        r.plane.inject(source, [rtp(1)])
        r.turn()
        assert own.datagrams() == []
        r.plane.select_path(own.peer, own.path)
        r.plane.inject(source, [rtp(2)])
        r.turn()
        assert len(own.packets(1)) == 1
        r.plane.send_to_peer(own.peer, b"answer")
        assert own.datagrams(1) == [b"answer"]


def test_a_path_may_change_on_a_socket_of_its_own() -> None:
    with _adopted(connected=False) as (r, own, _), udp() as moved:
        track = r.plane.add_track()
        source = r.plane.open_source(track, format=Format.OPAQUE, clock_rate=1)
        r.watch(own, track)
        path = own.path._replace(port=moved.getsockname()[1])
        r.plane.select_path(own.peer, path)
        r.turn()
        r.plane.inject(source, [rtp(1)])
        r.turn()
        r.plane.send_to_peer(own.peer, b"answer")
        for _ in range(2):
            assert select.select([moved], [], [], 1)[0]
            assert moved.recvfrom(2048)[1] == own.server
        assert own.datagrams() == []


def test_a_refused_connection_costs_only_its_peer() -> None:
    with _adopted() as (r, own, _):
        publisher, track, (viewer,) = r.stream()
        r.watch(own, track)
        r.turn()
        own.sock.close()
        for n in range(10):
            publisher.publish(rtp(n))
            # One turn: the packet meets the error of the one before.
            r.plane.turn(1000)
        assert [p.sequence for p in viewer.packets(10)] == list(range(1, 11))
        assert r.plane.peer_stats(viewer.peer).send_errors == 0
        stats = r.plane.peer_stats(own.peer)
        assert stats.send_errors > 0
        assert stats.packets_sent + stats.send_errors == 10
        # The error is taken from the socket: nothing turns round and round.
        r.turn()
        assert not select.select([r.plane._runner._epoll], [], [], 0)[0]
        r.plane.send_to_peer(own.peer, b"x")
        r.plane.send_to_peer(own.peer, b"x")


def test_the_callers_socket_may_be_closed_at_any_time() -> None:
    before = set(os.listdir("/proc/self/fd"))
    r = Rig(THREADED)
    r.plane.start()
    socks = [udp() for _ in range(4)]
    peers = []
    for sock in socks:
        peer = r.plane.add_peer()
        r.plane.adopt(peer, sock, Path("127.0.0.1", 9, "127.0.0.1"))
        peers.append(peer)
        sock.close()
    r.plane.remove_peer(peers[0])
    r.plane.release(peers[1])
    end = time.monotonic() + 5
    while r["adopted"] != 2 or r["graves"]:
        assert time.monotonic() < end
        list(r.plane.control_packets())
    r.plane.release(peers[2])
    r.plane.stop()
    r.close()
    assert set(os.listdir("/proc/self/fd")) == before


def test_adopting_again_replaces_the_socket() -> None:
    with _adopted() as (r, own, _), udp() as other:
        other.connect(own.sock.getsockname())
        r.plane.adopt(own.peer, other, own.path)
        r.turn()
        own.send(b"\0\1old")
        own.sock.sendto(b"\0\1new", other.getsockname())
        r.turn()
        assert [p.data for p in r.plane.control_packets()] == [b"\0\1new"]
        assert (r["adopted"], r["graves"]) == (1, 0)


def test_what_cannot_be_adopted_changes_nothing() -> None:
    with _adopted() as (r, own, _):
        closed = udp()
        closed.close()
        with pytest.raises(OSError, match="file descriptor"):
            r.plane.adopt(own.peer, closed, own.path)
        with udp() as sock:
            with pytest.raises(ValueError, match="IPv4"):
                r.plane.adopt(own.peer, sock, Path("::1", 9, "::1"))
            with pytest.raises(ValueError, match="does not exist"):
                r.plane.adopt(PeerId(60), sock, own.path)
        own.send(b"\0\1stun")
        assert [p.peer for p in _control(r, 1)] == [own.peer]
        assert r["adopted"] == 1


async def test_own_sockets_are_read_in_the_event_loop_where_threads_are_unwanted() -> (
    None
):
    with _adopted() as (r, own, _):
        woken = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(r.plane.control_fd, woken.set)
        r.plane.start()
        own.send(b"\0\1stun")
        async with asyncio.timeout(20):
            await woken.wait()
        loop.remove_reader(r.plane.control_fd)
        assert [p.peer for p in r.plane.control_packets()] == [own.peer]


async def test_a_socket_of_asyncio_can_be_adopted_and_read_again() -> None:
    with rig() as r, udp() as remote:
        loop = asyncio.get_running_loop()
        got: asyncio.Queue[bytes] = asyncio.Queue()

        class Protocol(asyncio.DatagramProtocol):
            def datagram_received(self, data: bytes, addr: object) -> None:
                got.put_nowait(data)

        transport, _ = await loop.create_datagram_endpoint(
            Protocol, local_addr=("127.0.0.1", 0)
        )
        address = transport.get_extra_info("sockname")
        # What `pause_reading` of a stream transport would do.
        sock = transport.get_extra_info("socket")
        loop._remove_reader(sock.fileno())  # type: ignore[attr-defined]
        peer = r.plane.add_peer()
        path = Path("127.0.0.1", remote.getsockname()[1], "127.0.0.1")
        r.plane.adopt(peer, sock, path)
        r.turn()
        remote.sendto(b"\0\1plane", address)
        r.turn()
        assert [p.data for p in r.plane.control_packets()] == [b"\0\1plane"]
        r.plane.release(peer)
        r.turn()
        loop._add_reader(  # type: ignore[attr-defined]
            sock.fileno(),
            transport._read_ready,  # type: ignore[attr-defined]
        )
        remote.sendto(b"asyncio", address)
        async with asyncio.timeout(20):
            assert await got.get() == b"asyncio"
        transport.close()
