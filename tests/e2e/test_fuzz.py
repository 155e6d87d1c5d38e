"""Malformed STUN, DTLS and RTCP against a real server, correctly signed or encrypted."""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
import struct
from collections.abc import Callable, Iterable, Iterator

import pytest
from aioice import stun

from live777py.protocol.rtcp import (
    Bye,
    Chunk,
    FullIntraRequest,
    GenericNack,
    Packet,
    PictureLoss,
    ReceiverReport,
    Remb,
    ReportBlock,
    SenderReport,
    SourceDescription,
    compound,
)
from live777py.protocol.transport_feedback import TransportFeedback
from tests.support.link import Link
from tests.support.media import RtpStream
from tests.support.offers import VP8, video
from tests.support.rtp_client import RtpClient
from tests.support.server import RunningServer, running

pytestmark = pytest.mark.timeout(60)

SSRC = 4321
COUNT = 4000
#: Datagrams before the server has its turn; fewer than a ring of control packets has rows.
ROUND = 40


def mutated(r: random.Random, data: bytes, start: int = 0) -> bytes:
    """A datagram with some bytes from `start` on changed, cut, repeated or put in."""
    changed = bytearray(data)
    for _ in range(r.choice((1, 1, 2, 5))):
        if len(changed) <= start:
            break
        at = r.randrange(start, len(changed))
        match r.randrange(6):
            case 0 | 1:
                changed[at] ^= 1 << r.randrange(8)
            case 2:
                changed[at] = r.choice((0, 1, 0x7F, 0x80, 0xFF))
            case 3:
                del changed[at:]
            case 4:
                changed[at:at] = r.randbytes(r.choice((1, 2, 4, 20)))
            case _:
                changed += changed[at:]
    return bytes(changed[:1400])


def reports(ours: int, theirs: int) -> Iterator[bytes]:
    """Valid RTCP of every kind that is understood, over and over."""
    block = ReportBlock(theirs, 10, 20, 0x10005, 30, 40, 50)
    kinds: tuple[tuple[Packet, ...], ...] = (
        (SenderReport(ours, 1 << 63, 5, 6, 7, (block,)),),
        (ReceiverReport(ours, (block, block)),),
        (ReceiverReport(ours), SourceDescription((Chunk(ours, ((1, b"name"),)),))),
        (ReceiverReport(ours), Bye((ours,), "reason")),
        (PictureLoss(ours, theirs), FullIntraRequest(ours, ((theirs, 1),))),
        (GenericNack(ours, theirs, (1, 2, 3, 40)),),
        (Remb(ours, 1_000_000, (theirs,)),),
        (TransportFeedback(ours, 0, 1, 3, 7, 1, ((1, 4), (3, 900))),),
    )
    return itertools.cycle(compound(*packets) for packets in kinds)


async def flood(
    datagrams: Iterable[bytes], send: Callable[[bytes], None], count: int = COUNT
) -> None:
    """Send so many datagrams, with pauses in which the server can take them in."""
    for number, data in enumerate(itertools.islice(datagrams, count)):
        send(data)
        if number % ROUND == ROUND - 1:
            await asyncio.sleep(0.002)


async def check_that_all_is_well(
    server: RunningServer,
    publisher: RtpClient,
    viewers: Iterable[RtpClient],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Media and feedback still flow, and nothing has surprised the server."""
    stream = RtpStream(96, SSRC, sequence=random.Random(1).randrange(1 << 15))
    for viewer in viewers:
        before = len(viewer.rtp)
        for number in range(200):
            await publisher.send_rtp(
                *stream.packets(b"\x10\x00" + bytes(50), 3000 * number)
            )
            await asyncio.sleep(0.01)
            if len(viewer.rtp) > before:
                break
        assert len(viewer.rtp) > before
        publisher.rtcp.clear()
        ssrc = viewer.answer.section("video").ssrcs[0]
        async with asyncio.timeout(20):
            # Requests are throttled; one of them gets through.
            while not publisher.rtcp_of(PictureLoss):
                await viewer.send_rtcp(ReceiverReport(7), PictureLoss(7, ssrc))
                await asyncio.sleep(0.05)
    assert server.counters["control_receiver_errors"] == 0
    noted = [r for r in caplog.records if r.levelno >= logging.ERROR]
    assert not noted, noted[0].getMessage()


async def test_malformed_rtcp_that_was_encrypted_well_costs_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    r = random.Random(1)
    async with (
        running() as server,
        RtpClient.publisher(
            f"{server.url}/whip/cam", video(VP8, ssrc=SSRC)
        ) as publisher,
        RtpClient.viewer(f"{server.url}/whep/cam", video(VP8)) as viewer,
    ):
        for client, ssrc in ((publisher, SSRC), (viewer, 7)):
            theirs = viewer.answer.section("video").ssrcs[0]

            def send(data: bytes, client: RtpClient = client) -> None:
                protected = client._dtls._tx_srtp.protect_rtcp(data)
                client.pair_protocol.transport.sendto(protected, client.remote_address)

            # libsrtp wants a header; the rest may be anything.
            garbage = (
                bytes([0x80 | data[0] & 0x3F]) + mutated(r, data)[1:].ljust(8, b"\0")
                for data in reports(ssrc, theirs)
            )
            await flood(garbage, send)
        await check_that_all_is_well(server, publisher, [viewer], caplog)
        assert server.counters["control_rtcp"] > COUNT


def checks(r: random.Random, client: RtpClient) -> Iterator[bytes]:
    """Connectivity checks with wrong attributes, most of them signed well."""
    connection = client._ice._connection
    password = connection.remote_password
    assert password is not None
    key = password.encode()
    username = f"{connection.remote_username}:{connection.local_username}".encode()
    while True:
        attributes = [(0x0006, username), (0x0024, bytes(4)), (0x802A, bytes(8))]
        for _ in range(r.randrange(4)):
            kind = r.choice(
                (*stun.ATTRIBUTES_BY_TYPE, 0x8029, 0x7FFF, r.getrandbits(16))
            )
            size = r.choice((0, 1, 3, 4, 8, 20, 100))
            attributes.insert(
                r.randrange(len(attributes) + 1), (kind, r.randbytes(size))
            )
        # Not the one that would be nominated: the viewer stays where it is.
        body = b"".join(
            struct.pack("!HH", kind, len(value)) + value + bytes(-len(value) % 4)
            for kind, value in attributes
            if kind != 0x0025
        )
        head = struct.pack("!HHI12s", 1, len(body), stun.COOKIE, r.randbytes(12))
        data = head + body
        if r.random() < 0.8:
            data += struct.pack("!HH", 8, 20) + stun.message_integrity(data, key)
            data = stun.set_body_length(data, len(data) - stun.HEADER_LENGTH)
        yield data if r.random() < 0.7 else mutated(r, data)


async def test_malformed_checks_that_were_signed_well_cost_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    r = random.Random(2)
    async with (
        running() as server,
        RtpClient.publisher(
            f"{server.url}/whip/cam", video(VP8, ssrc=SSRC)
        ) as publisher,
        RtpClient.viewer(f"{server.url}/whep/cam", video(VP8)) as viewer,
    ):

        def send(data: bytes) -> None:
            viewer.pair_protocol.transport.sendto(data, viewer.remote_address)

        await flood(checks(r, viewer), send)
        await check_that_all_is_well(server, publisher, [viewer], caplog)
        assert server.counters["control_stun"] > COUNT * 0.9


async def test_malformed_dtls_ends_neither_an_association_nor_another_handshake(
    caplog: pytest.LogCaptureFixture,
) -> None:
    r = random.Random(3)
    seen: list[bytes] = []
    async with (
        running() as server,
        Link() as link,
        RtpClient.publisher(
            f"{server.url}/whip/cam", video(VP8, ssrc=SSRC)
        ) as publisher,
        RtpClient.viewer(f"{server.url}/whep/cam", video(VP8)) as other,
    ):

        def note(data: bytes) -> bool:
            if 20 <= data[0] <= 63:
                seen.append(data)
            return False

        link.up.drop = note
        viewer = RtpClient.viewer(f"{server.url}/whep/cam", video(VP8))
        viewer.signalling.edit_answer = link.rewrite
        async with viewer:
            handshake = tuple(seen)
            assert handshake
            garbage = (mutated(r, data, start=1) for data in itertools.cycle(handshake))
            await flood(garbage, link.to_server)
            await check_that_all_is_well(server, publisher, [viewer, other], caplog)
            assert not viewer.closed.is_set()


async def test_a_handshake_that_is_spoilt_ends_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    r = random.Random(4)
    async with (
        running(webrtc={"connect_timeout": 6.0}) as server,
        RtpClient.publisher(
            f"{server.url}/whip/cam", video(VP8, ssrc=SSRC)
        ) as publisher,
        RtpClient.viewer(f"{server.url}/whep/cam", video(VP8)) as other,
    ):

        async def join(setup: str) -> None:
            async with Link() as link:

                def spoil(data: bytes) -> bool:
                    is_dtls = 20 <= data[0] <= 63
                    if is_dtls:
                        for _ in range(5):
                            link.to_server(mutated(r, data, start=1))
                    return is_dtls and r.random() < 0.5

                link.up.drop = spoil
                viewer = RtpClient.viewer(
                    f"{server.url}/whep/cam", video(VP8), setup=setup
                )
                viewer.signalling.edit_answer = link.rewrite
                try:
                    await viewer.post()
                    await viewer.connect(3)
                except (ConnectionError, TimeoutError):
                    await viewer.vanish()
                else:
                    await viewer.aclose()

        async with asyncio.TaskGroup() as joins:
            for _ in range(10):
                joins.create_task(join("actpass"))
                joins.create_task(join("passive"))
        await check_that_all_is_well(server, publisher, [other], caplog)
        async with asyncio.timeout(20):
            # Whoever could not connect is gone: the publisher and a viewer are left.
            while server.counters["peers"] > 2:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
