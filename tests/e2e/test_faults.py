"""Bad networks and bad company: lost handshakes, moved ports, forgeries, slow readers, races."""

from __future__ import annotations

import asyncio
import itertools
import random
import socket
import struct
import time
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from aioice import stun

from live777py.protocol.rtcp import ReceiverReport
from live777py.protocol.rtp import RtpPacket
from tests.support.link import CLEAR, Conditions, Link
from tests.support.media import RtpStream
from tests.support.offers import VP8, OfferedMedia, video
from tests.support.rtp_client import RtpClient
from tests.support.server import RunningServer, running
from tests.support.signalling import Refused

SSRC = 4321
SETUPS = ("actpass", "passive")

#: Retransmissions of the handshake come after 1 s and after 2 more.
HANDSHAKE = 15.0

SENT: OfferedMedia = video(VP8, ssrc=SSRC)
WANTED: OfferedMedia = video(VP8)


def publisher_of(server: RunningServer, link: Link | None = None) -> RtpClient:
    """A publisher of the stream, through a link if there is one."""
    client = RtpClient.publisher(f"{server.url}/whip/cam", SENT)
    if link is not None:
        client.signalling.edit_answer = link.rewrite
    return client


def viewer_of(
    server: RunningServer, link: Link | None = None, *, setup: str = "actpass"
) -> RtpClient:
    """A viewer of the stream, through a link if there is one."""
    client = RtpClient.viewer(f"{server.url}/whep/cam", WANTED, setup=setup)
    if link is not None:
        client.signalling.edit_answer = link.rewrite
    return client


class Numbered:
    """RTP packets whose payloads are all different."""

    def __init__(self) -> None:
        self._stream = RtpStream(96, SSRC)
        self._number = 0

    def next(self, count: int) -> list[bytes]:
        """So many more packets."""
        packets = []
        for _ in range(count):
            packets += self._stream.packets(payload(self._number), 3000 * self._number)
            self._number += 1
        return packets


def payload(number: int) -> bytes:
    """What the nth packet of `Numbered` carries, long enough for any header of VP8."""
    return b"\x10" + struct.pack("!I", number) + bytes(200)


def numbers(packets: Iterable[RtpPacket]) -> list[int]:
    """Which packets of `Numbered` these are."""
    return [struct.unpack("!I", packet.payload[1:5])[0] for packet in packets]


def seen_by(viewer: RtpClient) -> list[int]:
    """Which packets of `Numbered` a viewer has got, in the order of arrival."""
    return numbers(viewer.rtp_of("video"))


async def until_seen(viewer: RtpClient, wanted: list[int]) -> None:
    """Wait until a viewer has got these packets of `Numbered`."""
    await viewer.until(lambda: {*wanted} <= {*seen_by(viewer)})


async def until_more(publisher: RtpClient, stream: Numbered, viewer: RtpClient) -> None:
    """Send until the viewer gets something more: paths change between two packets."""
    before = len(seen_by(viewer))
    for _ in range(500):
        await publisher.send_rtp(*stream.next(1))
        await asyncio.sleep(0.01)
        if len(seen_by(viewer)) > before:
            return
    raise AssertionError("nothing more has come")


async def eventually(condition: Callable[[], object], timeout: float = 20.0) -> None:
    """Wait for what nobody announces."""
    async with asyncio.timeout(timeout):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


# The handshake.


def flight_of(data: bytes, *, by_client: bool) -> int:
    """Which flight of the DTLS handshake a datagram belongs to, 0 for none (RFC 6347, 4.2.4)."""
    content, epoch = data[0], int.from_bytes(data[3:5])
    if content not in (20, 22):
        return 0
    message = data[13] if content == 22 and epoch == 0 else None
    if by_client:
        return 1 if message == 1 else 3
    # A new session ticket (4) belongs to the last flight.
    return 4 if message in (None, 4) else 2


class FlightLoss:
    """Loses every datagram of one flight, the first so many times that it is sent."""

    def __init__(self, flight: int, times: int) -> None:
        self.sent = 0
        self._flight = flight
        self._times = times
        self._opening: bytes | None = None

    def __call__(self, data: bytes) -> bool:
        if flight_of(data, by_client=self._flight % 2 == 1) != self._flight:
            return False
        # Content type, epoch, and of a handshake message what it is and where it begins.
        opening = data[:1] + data[3:5] + (data[13:14] + data[19:22]) * (data[4] == 0)
        if self._opening is None:
            self._opening = opening
        self.sent += opening == self._opening
        return self.sent <= self._times


async def connect_through(viewer: RtpClient, what: str) -> None:
    try:
        await viewer.post()
        await viewer.connect(HANDSHAKE)
    except Exception as error:
        error.add_note(what)
        raise


@pytest.mark.slow
@pytest.mark.timeout(60)
@pytest.mark.parametrize("times", [1, 2], ids=["once", "twice"])
async def test_a_handshake_survives_the_loss_of_any_flight(times: int) -> None:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(running())
        losses: dict[str, FlightLoss] = {}
        viewers: list[RtpClient] = []
        async with asyncio.TaskGroup() as joins:
            for setup, flight in itertools.product(SETUPS, (1, 2, 3, 4)):
                link = await stack.enter_async_context(Link())
                viewer = viewer_of(server, link, setup=setup)
                stack.push_async_callback(viewer.aclose)
                viewers.append(viewer)
                what = f"flight {flight}, the client is {setup}"
                losses[what] = FlightLoss(flight, times)
                goes_up = (flight % 2 == 1) == (setup == "actpass")
                (link.up if goes_up else link.down).drop = losses[what]
                joins.create_task(connect_through(viewer, what))
        assert {
            what: loss.sent > times for what, loss in losses.items()
        } == dict.fromkeys(losses, True)
        publisher = await stack.enter_async_context(publisher_of(server))
        await publisher.send_rtp(*Numbered().next(3))
        for viewer in viewers:
            await until_seen(viewer, [0, 1, 2])


@pytest.mark.timeout(60)
async def test_a_handshake_survives_duplicates_and_disorder() -> None:
    mess = Conditions(duplicate=0.4, reorder=0.3, reorder_by=0.03, jitter=0.02)
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(running())
        viewers: list[RtpClient] = []
        async with asyncio.TaskGroup() as joins:
            for seed, setup in itertools.product(range(4), SETUPS):
                link = Link(up=mess, down=mess, seed=seed)
                await stack.enter_async_context(link)
                viewer = viewer_of(server, link, setup=setup)
                stack.push_async_callback(viewer.aclose)
                viewers.append(viewer)
                joins.create_task(
                    connect_through(viewer, f"seed {seed}, the client is {setup}")
                )
        publisher = await stack.enter_async_context(publisher_of(server))
        await publisher.send_rtp(*Numbered().next(3))
        for viewer in viewers:
            await until_seen(viewer, [0, 1, 2])


# Addresses.


def check(client: RtpClient, *, nominate: bool) -> bytes:
    """A connectivity check of a connected client."""
    connection = client._ice._connection
    request: stun.Message = connection.build_request(
        connection._nominated[1], nominate=nominate
    )
    assert connection.remote_password is not None
    request.add_message_integrity(connection.remote_password.encode())
    return bytes(request)


@pytest.mark.parametrize("nominates", [True, False], ids=["nominated", "not nominated"])
async def test_a_viewer_whose_port_changes_goes_on(nominates: bool) -> None:
    stream = Numbered()
    async with (
        running() as server,
        Link() as link,
        publisher_of(server) as publisher,
        viewer_of(server, link) as viewer,
    ):
        await publisher.send_rtp(*stream.next(3))
        await viewer.until(lambda: len(seen_by(viewer)) == 3)
        link.move()
        # The new address says nothing before the check.
        link.up.drop = lambda data: True
        if not nominates:
            # Without USE-CANDIDATE an address is believed only when the old one is silent,
            # also where the server stood still meanwhile: then it ends nobody, but may move.
            await asyncio.sleep(0.3)
            time.sleep(1.9)  # noqa: ASYNC251
        answered = link.down.taken
        link.to_server(check(viewer, nominate=nominates))
        await eventually(lambda: link.down.taken > answered)
        await until_more(publisher, stream, viewer)
        got = viewer.rtp_of("video")
        # What went to the old port is lost; nothing else is.
        assert got[3].sequence - got[2].sequence == numbers(got)[3] - numbers(got)[2]
        link.up.drop = lambda data: False
        await until_more(publisher, stream, viewer)


async def test_a_publisher_whose_port_changes_goes_on() -> None:
    stream = Numbered()
    async with (
        running() as server,
        Link() as link,
        viewer_of(server) as viewer,
        publisher_of(server, link) as publisher,
    ):
        await publisher.send_rtp(*stream.next(3))
        await viewer.until(lambda: len(seen_by(viewer)) == 3)
        link.move()
        # Media from an address that was never checked is dropped.
        await publisher.send_rtp(*stream.next(2))
        await eventually(lambda: server.counters["unknown_address"] >= 2)
        assert seen_by(viewer) == [0, 1, 2]
        link.to_server(check(publisher, nominate=False))
        await until_more(publisher, stream, viewer)


async def test_forged_checks_from_a_third_address_do_not_move_the_path() -> None:
    stream = Numbered()
    loop = asyncio.get_running_loop()
    async with (
        running() as server,
        publisher_of(server) as publisher,
        viewer_of(server) as viewer,
    ):
        connection = viewer._ice._connection
        forged = []
        for password in (b"guessed", None):
            request: Any = connection.build_request(
                connection._nominated[1], nominate=True
            )
            request.attributes.pop("MESSAGE-INTEGRITY", None)
            request.attributes.pop("FINGERPRINT", None)
            if password is not None:
                request.add_message_integrity(password)
            forged.append(bytes(request))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as third:
            third.setblocking(False)
            third.bind(("127.0.0.1", 0))
            for data in forged:
                await loop.sock_sendto(third, data, viewer.remote_address)
                reply = await asyncio.wait_for(loop.sock_recv(third, 2000), 20)
                assert stun.parse_message(reply).message_class is stun.Class.ERROR
            await publisher.send_rtp(*stream.next(5))
            await viewer.until(lambda: seen_by(viewer) == [0, 1, 2, 3, 4])
            with pytest.raises(BlockingIOError):
                third.recv(2000)


# Packets that are not what they seem.


def is_rtp(data: bytes) -> bool:
    """Whether a datagram of a client is SRTP (RFC 7983, RFC 5761)."""
    return 128 <= data[0] <= 191 and not 192 <= data[1] <= 223


async def test_replayed_and_forged_media_costs_nothing() -> None:
    stream, noise = Numbered(), random.Random(1)
    seen: list[bytes] = []
    async with (
        running() as server,
        Link() as link,
        viewer_of(server) as viewer,
        publisher_of(server, link) as publisher,
    ):

        def note(data: bytes) -> bool:
            seen.append(data)
            return False

        link.up.drop = note
        await publisher.send_rtp(*stream.next(20))
        await publisher.send_rtcp(ReceiverReport(SSRC))
        await viewer.until(lambda: len(seen_by(viewer)) == 20)
        await eventually(lambda: server.counters["control_rtcp"])
        media = [data for data in seen if is_rtp(data)]
        control = [data for data in seen if data[0] >= 128 and not is_rtp(data)]
        assert len(media) == 20
        # From the wrong key: the next numbers, and some far away.
        forged = [
            media[0][:2]
            + ((int.from_bytes(media[-1][2:4]) + step) & 0xFFFF).to_bytes(2)
            + media[0][4:12]
            + noise.randbytes(100)
            for step in (1, 2, 3, 5000, 40_000)
        ]
        for data in (*media, *control, *forged):
            link.to_server(data)
        await eventually(lambda: server.counters["srtp_replayed"] >= len(media))
        await eventually(lambda: server.counters["srtp_failed"] >= len(forged))
        await publisher.send_rtp(*stream.next(5))
        await viewer.until(lambda: len(seen_by(viewer)) >= 25)
        assert seen_by(viewer) == list(range(25))
        sequences = [packet.sequence for packet in viewer.rtp_of("video")]
        assert sequences == list(range(sequences[0], sequences[0] + 25))
        assert server.counters["control_receiver_errors"] == 0


async def test_disorder_and_duplicates_reach_viewers_as_each_packet_once() -> None:
    mess = Conditions(duplicate=0.02, reorder=0.05, reorder_by=0.004, jitter=0.002)
    stream, count = Numbered(), 600
    async with (
        running() as server,
        Link() as link,
        viewer_of(server) as viewer,
        publisher_of(server, link) as publisher,
    ):
        # The numbering begins with whatever comes first.
        await publisher.send_rtp(*stream.next(1))
        await viewer.until(lambda: seen_by(viewer))
        link.impair("up", mess)
        for _ in range(count // 4):
            await publisher.send_rtp(*stream.next(4))
            await asyncio.sleep(0.002)
        link.impair("up", CLEAR)
        await viewer.until(lambda: len(seen_by(viewer)) >= count + 1)
        got = viewer.rtp_of("video")
        assert numbers(got) != list(range(count + 1)), "nothing was out of order"
        assert server.counters["srtp_replayed"] > 0, "nothing came twice"
        by_number = sorted(zip((p.sequence for p in got), numbers(got), strict=True))
        first = by_number[0][0]
        assert by_number == [(first + n, n) for n in range(count + 1)]


# Others.


@pytest.mark.timeout(60)
async def test_slow_viewers_disturb_nobody() -> None:
    slow = Conditions(rate=64_000, queue=0.5)
    stream, count = Numbered(), 1000
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(running())
        link = await stack.enter_async_context(Link(down=slow))
        good = await stack.enter_async_context(viewer_of(server))
        narrow = await stack.enter_async_context(viewer_of(server, link))
        deaf = await stack.enter_async_context(viewer_of(server))
        transport: Any = deaf.pair_protocol.transport
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        transport.pause_reading()
        publisher = await stack.enter_async_context(publisher_of(server))
        for _ in range(count // 10):
            await publisher.send_rtp(*stream.next(10))
            await asyncio.sleep(0.005)
        await good.until(lambda: len(seen_by(good)) >= count)
        assert seen_by(good) == list(range(count))
        assert link.down.lost > 0
        assert len(seen_by(narrow)) < count
        transport.resume_reading()
        # Both are still there, and hear what comes when they can.
        link.impair("down", CLEAR)
        for viewer in (deaf, narrow):
            await until_more(publisher, stream, viewer)


async def test_of_two_publishers_who_race_one_wins() -> None:
    stream = Numbered()
    async with running() as server, viewer_of(server) as viewer:
        for turn in range(5):
            racers = [publisher_of(server) for _ in range(2)]
            results = await asyncio.gather(
                *(racer.post() for racer in racers), return_exceptions=True
            )
            (winner,) = (r for r, o in zip(racers, results, strict=True) if o is None)
            (refused,) = (o for o in results if o is not None)
            assert isinstance(refused, Refused)
            assert refused.status == 409
            async with asyncio.timeout(20):
                await winner.connect()
            await winner.send_rtp(*stream.next(1))
            await until_seen(viewer, [turn])
            for racer in racers:
                await racer.aclose()


async def test_a_publisher_who_vanished_may_return_when_it_counts_as_gone() -> None:
    async with (
        running(webrtc={"idle_timeout": 1.0}) as server,
        viewer_of(server) as viewer,
    ):
        reading = asyncio.create_task(_stay(viewer))
        first = publisher_of(server)
        await first.post()
        await first.connect()
        stream = Numbered()
        await first.send_rtp(*stream.next(3))
        await until_seen(viewer, [0, 1, 2])
        await first.vanish()
        second, refused = await post_until_accepted(server)
        assert {*refused} == {409}
        await second.connect()
        await second.send_rtp(*stream.next(3))
        await until_seen(viewer, [3, 4, 5])
        sequences = [packet.sequence for packet in viewer.rtp_of("video")]
        assert sequences == list(range(sequences[0], sequences[0] + 6))
        await second.aclose()
        reading.cancel()


async def post_until_accepted(server: RunningServer) -> tuple[RtpClient, list[int]]:
    """A publisher whose offer was answered, and with which status it was refused before."""
    refused = []
    async with asyncio.timeout(20):
        while True:
            client = publisher_of(server)
            try:
                await client.post()
            except Refused as answer:
                refused.append(answer.status)
                await client.vanish()
                await asyncio.sleep(0.1)
            else:
                return client, refused


async def _stay(viewer: RtpClient) -> None:
    """Report often enough to count as present."""
    while True:
        await viewer.send_rtcp(ReceiverReport(7))
        await asyncio.sleep(0.2)


async def test_a_publisher_who_says_goodbye_may_return_at_once() -> None:
    stream = Numbered()
    async with running() as server, viewer_of(server) as viewer:
        for first in (0, 3, 6):
            async with publisher_of(server) as publisher:
                await publisher.send_rtp(*stream.next(3))
                await until_seen(viewer, [first, first + 1, first + 2])
        sequences = [packet.sequence for packet in viewer.rtp_of("video")]
        assert sequences == list(range(sequences[0], sequences[0] + 9))
