"""The peer of a publisher, with a real server and a real client around it."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import random
import time
from collections.abc import Callable, Iterator

import pytest

from live777py.protocol import rtp
from live777py.protocol.extensions import URIS, Extension
from live777py.protocol.rtcp import (
    FullIntraRequest,
    GenericNack,
    Packet,
    PictureLoss,
    ReceiverReport,
    Remb,
    SenderReport,
    SourceDescription,
)
from live777py.protocol.transport_feedback import TransportFeedback
from live777py.relay.seam import Gap, TrackId
from live777py.rtc import loss
from live777py.rtc.loss import LossCounters
from live777py.rtc.publisher import Publisher
from live777py.rtc.tracks import StreamTracks
from tests.rtc.fakes import FakePlane, resources
from tests.rtc.test_viewer import SSRC, packets, whep, whip
from tests.support.offers import OPUS, VP8, audio, video, write_offer
from tests.support.rtp_client import RtpClient
from tests.support.server import RunningServer, running


async def until_rtcp(client: RtpClient, kind: type[Packet]) -> None:
    """Wait for an RTCP packet of some type."""
    await client.until(lambda: client.rtcp_of(kind))


async def test_a_publisher_is_told_what_arrives() -> None:
    async with (
        running() as server,
        RtpClient.publisher(whip(server), video(VP8, ssrc=SSRC)) as publisher,
    ):
        sent = packets(20, first=100)
        del sent[7]
        await publisher.send_rtp(*sent)
        ntp = rtp.ntp_from_unix_ns(1_700_000_000_000_000_000)
        await publisher.send_rtcp(SenderReport(SSRC, ntp, 1, 19, 400))
        await publisher.until(
            lambda: any(
                block.last_report
                for report in publisher.rtcp_of(ReceiverReport)
                if isinstance(report, ReceiverReport)
                for block in report.blocks
            )
        )
        blocks = [
            block
            for report in publisher.rtcp_of(ReceiverReport)
            if isinstance(report, ReceiverReport)
            for block in report.blocks
        ]
        assert {block.ssrc for block in blocks} == {SSRC}
        assert blocks[-1].packets_lost == 1
        assert blocks[-1].highest_sequence == 119
        assert blocks[-1].last_report == rtp.ntp_middle(ntp)
        assert publisher.rtcp_of(SourceDescription)


async def test_the_allowed_bitrate_goes_to_those_who_listen() -> None:
    def with_remb(offer: str) -> str:
        line = "a=rtpmap:96 VP8/90000"
        return offer.replace(line, f"{line}\r\na=rtcp-fb:96 goog-remb")

    async with running() as server:
        for edit, expected in ((with_remb, True), (str, False)):
            async with RtpClient(
                whip(server),
                [video(VP8, ssrc=SSRC)],
                direction="sendonly",
                edit_offer=edit,
            ) as publisher:
                await publisher.send_rtp(*packets(2))
                await until_rtcp(publisher, ReceiverReport)
                assert bool(publisher.rtcp_of(Remb)) == expected


async def test_a_hundred_wishes_at_once_are_one_request() -> None:
    async with (
        running() as server,
        RtpClient.publisher(whip(server), video(VP8, ssrc=SSRC)) as publisher,
        RtpClient.viewer(whep(server), video(VP8)) as viewer,
    ):
        await publisher.send_rtp(*packets(1))
        await viewer.until(lambda: viewer.rtp)
        before = len(publisher.rtcp_of(PictureLoss))
        ssrc = viewer.answer.section("video").ssrcs[0]
        for _ in range(100):
            await viewer.send_rtcp(PictureLoss(1, ssrc))
        await publisher.until(lambda: len(publisher.rtcp_of(PictureLoss)) > before)
        reports = len(publisher.rtcp_of(ReceiverReport))
        await publisher.until(
            lambda: len(publisher.rtcp_of(ReceiverReport)) >= reports + 2
        )
        # The wish is repeated twice, since no key frame comes.
        assert len(publisher.rtcp_of(PictureLoss)) <= before + 4


async def test_who_knows_only_fir_is_asked_by_fir() -> None:
    offered = video(VP8, ssrc=SSRC)
    async with (
        running() as server,
        RtpClient(
            whip(server),
            [offered],
            direction="sendonly",
            edit_offer=lambda text: text.replace("a=rtcp-fb:96 nack pli\r\n", ""),
        ) as publisher,
    ):
        await publisher.send_rtp(*packets(1))
        async with RtpClient.viewer(whep(server), video(VP8)):
            await publisher.until(lambda: publisher.rtcp_of(FullIntraRequest))
        assert not publisher.rtcp_of(PictureLoss)


async def test_who_knows_neither_is_not_asked() -> None:
    async with (
        running() as server,
        RtpClient(
            whip(server),
            [video(VP8, ssrc=SSRC)],
            direction="sendonly",
            edit_offer=lambda text: text.replace(
                "a=rtcp-fb:96 nack pli\r\n", ""
            ).replace("a=rtcp-fb:96 ccm fir\r\n", ""),
        ) as publisher,
    ):
        await publisher.send_rtp(*packets(1))
        async with RtpClient.viewer(whep(server), video(VP8)) as viewer:
            await publisher.until(lambda: publisher.rtcp_of(ReceiverReport))
            await publisher.send_rtp(*packets(2, first=65_531))
            await viewer.until(lambda: viewer.rtp)
        assert not publisher.rtcp_of(PictureLoss, FullIntraRequest)


async def test_a_publisher_of_sound_alone_is_never_asked_for_pictures() -> None:
    async with (
        running() as server,
        RtpClient.publisher(whip(server), audio(OPUS, ssrc=SSRC)) as publisher,
        RtpClient.viewer(whep(server), audio(OPUS), video(VP8)) as viewer,
    ):
        await publisher.send_rtp(*packets(5, payload_type=111))
        await viewer.until(lambda: len(viewer.rtp) == 5)
        await publisher.until(lambda: publisher.rtcp_of(ReceiverReport))
        assert not publisher.rtcp_of(PictureLoss, FullIntraRequest)


async def test_media_that_outruns_the_handshake_is_not_lost() -> None:
    async with (
        running() as server,
        RtpClient.viewer(whep(server), video(VP8)) as viewer,
        # The server is the DTLS client here, so it has its keys after the publisher.
        RtpClient.publisher(
            whip(server), video(VP8, ssrc=SSRC), setup="passive"
        ) as publisher,
    ):
        await publisher.send_rtp(*packets(10))
        async with asyncio.timeout(20):
            await viewer.until(lambda: len(viewer.rtp) == 10)


async def test_a_new_publisher_is_asked_under_its_own_ssrc_only() -> None:
    async with (
        running() as server,
        RtpClient.viewer(whep(server), video(VP8)) as viewer,
    ):
        async with RtpClient.publisher(whip(server), video(VP8, ssrc=22)) as first:
            await first.send_rtp(*packets(3, ssrc=22))
            await viewer.until(lambda: viewer.rtp)
        async with RtpClient.publisher(whip(server), video(VP8, ssrc=44)) as second:
            await until_rtcp(second, PictureLoss)
            asked = second.rtcp_of(PictureLoss)
            assert {p.media_ssrc for p in asked if isinstance(p, PictureLoss)} == {44}


async def test_a_wish_keeps_until_there_is_somebody_to_ask() -> None:
    async with (
        running() as server,
        RtpClient.viewer(whep(server), video(VP8)),
        # Without an announced SSRC nobody can be asked before the first packet.
        RtpClient.publisher(whip(server), video(VP8)) as publisher,
    ):
        await server.until_published("cam")
        delta = rtp.RtpPacket(
            payload_type=96,
            sequence=1,
            timestamp=1,
            ssrc=SSRC,
            payload=b"\x10\x01\x00\x00",
        )
        await publisher.send_rtp(bytes(delta))
        await until_rtcp(publisher, PictureLoss)


class Retransmitter:
    """Withholds packets of a publisher and sends them again when it is asked to.

    Args:
        client: the publisher.
        rtx: the payload type of retransmissions; None repeats the packets as they were.
        withholds: whether a packet that is about to be sent gets lost.
    """

    def __init__(
        self, client: RtpClient, rtx: int | None, withholds: Callable[[], bool]
    ) -> None:
        self._client = client
        self._rtx = rtx
        self._withholds = withholds
        self._sent: dict[int, bytes] = {}
        self._protected: dict[int, bytes] = {}
        self._rtx_sequence = 65_530
        self._seen = 0
        self.withheld = 0
        self.asked = 0
        #: The newest packet that did not get lost.
        self.newest = -1

    async def send(self, packet: bytes) -> None:
        """Send a new packet, unless it gets lost."""
        number = rtp.parse(packet).sequence
        self._sent[number] = packet
        # Encrypted once and in order, as a sender does that repeats its packets.
        self._protected[number] = self._client.protect(packet)
        if self._withholds():
            self.withheld += 1
        else:
            await self._client.send_datagram(self._protected[number])
            self.newest = number

    async def answer(self) -> None:
        """Send what NACKs have asked for since."""
        new, self._seen = self._client.rtcp[self._seen :], len(self._client.rtcp)
        for nack in new:
            if isinstance(nack, GenericNack):
                assert nack.media_ssrc == SSRC
                for number in nack.lost:
                    self.asked += 1
                    if not self._withholds():
                        await self._client.send_datagram(self._again(number))

    def _again(self, number: int) -> bytes:
        if self._rtx is None:
            return self._protected[number]
        original = rtp.parse(self._sent[number])
        self._rtx_sequence += 1
        repeated = dataclasses.replace(
            original,
            payload_type=self._rtx,
            ssrc=SSRC + 1,
            sequence=self._rtx_sequence & 0xFFFF,
            payload=number.to_bytes(2, "big") + original.payload,
        )
        return self._client.protect(bytes(repeated))


async def deliver_with_losses(
    publisher: RtpClient, viewer: RtpClient, sender: Retransmitter, count: int
) -> None:
    """Send numbered packets, the first and the last of which are not lost.

    No further ahead of the viewer than a few: on a busy machine a socket would overflow, and
    of what is lost in front of the viewer this one tells nobody.
    """
    sent = packets(count)
    await publisher.send_rtp(sent[0])
    await viewer.until(lambda: viewer.rtp)
    shift = viewer.rtp[0].sequence - rtp.parse(sent[0]).sequence
    for start in range(1, count - 1, 5):
        for packet in sent[start : min(start + 5, count - 1)]:
            await sender.send(packet)
        await viewer.until(
            lambda: (
                sender.newest < 0
                or (sender.newest + shift) & 0xFFFF
                in {packet.sequence for packet in viewer.rtp[-20:]}
            )
        )
        await asyncio.sleep(0.005)
        await sender.answer()
    await publisher.send_rtp(sent[-1])


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is given up for this process having stood still, server and client alike."""
    monkeypatch.setattr(loss, "PATIENCE", 3600 * 1000 * loss.MILLISECOND)


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("rtx", [97, None])
async def test_lost_packets_reach_viewers_after_a_retransmission(
    rtx: int | None,
) -> None:
    losses = iter([True, True, False, True])
    async with (
        running() as server,
        RtpClient.publisher(
            whip(server), video(VP8, ssrc=SSRC, rtx=rtx is not None)
        ) as publisher,
        RtpClient.viewer(whep(server), video(VP8)) as viewer,
    ):
        sender = Retransmitter(publisher, rtx, lambda: next(losses, False))
        await deliver_with_losses(publisher, viewer, sender, 20)
        async with asyncio.timeout(20):
            while len(viewer.rtp) < 20:
                await publisher.until(lambda: publisher.rtcp_of(GenericNack))
                await sender.answer()
                await asyncio.sleep(0.01)
        got = sorted(viewer.rtp_of("video"), key=lambda p: p.sequence)
        first = got[0].sequence
        assert [p.sequence for p in got] == list(range(first, first + 20))
        assert [p.payload for p in got] == [rtp.parse(p).payload for p in packets(20)]
        assert {p.payload_type for p in got} == {96}
        assert [p.timestamp for p in got] == [
            (got[0].timestamp + 3000 * i) % 2**32 for i in range(20)
        ]
        # What was mended under another SSRC stays a loss of the source; each counts once.
        await publisher.until(
            lambda: any(
                block.highest_sequence & 0xFFFF == (65_530 + 19) % 65_536
                for report in publisher.rtcp_of(ReceiverReport)
                if isinstance(report, ReceiverReport)
                for block in report.blocks
            )
        )
        report = publisher.rtcp_of(ReceiverReport)[-1]
        assert isinstance(report, ReceiverReport)
        assert report.blocks[0].packets_lost == (0 if rtx is None else sender.withheld)


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("rtx", [97, None])
async def test_of_five_percent_lost_on_the_way_nearly_all_come_back(
    rtx: int | None,
) -> None:
    source = random.Random(777)
    count = 2000
    async with (
        running() as server,
        RtpClient.publisher(
            whip(server), video(VP8, ssrc=SSRC, rtx=rtx is not None)
        ) as publisher,
        RtpClient.viewer(whep(server), video(VP8)) as viewer,
    ):
        sender = Retransmitter(publisher, rtx, lambda: source.random() < 0.05)
        await deliver_with_losses(publisher, viewer, sender, count)

        async def repaired() -> None:
            while len(viewer.rtp) < count:
                await sender.answer()
                await asyncio.sleep(0.005)

        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(repaired(), 20)
        numbers = {p.sequence for p in viewer.rtp_of("video")}
        assert len(numbers) == len(viewer.rtp)
        assert sender.withheld > count // 40
        assert count - len(numbers) <= 0.005 * sender.withheld


@pytest.mark.usefixtures("patient")
async def test_what_does_not_come_back_ends_with_a_request_for_a_key_frame() -> None:
    async with (
        running() as server,
        RtpClient.publisher(whip(server), video(VP8, ssrc=SSRC)) as publisher,
        RtpClient.viewer(whep(server), video(VP8)) as viewer,
    ):
        sent = packets(9)
        await publisher.send_rtp(*sent[:3])
        await viewer.until(lambda: len(viewer.rtp) == 3)
        del sent[5]
        await publisher.send_rtp(*sent[3:])
        await publisher.until(lambda: publisher.rtcp_of(GenericNack))
        publisher.rtcp.clear()
        await publisher.until(lambda: publisher.rtcp_of(PictureLoss))
        # It was asked for again before.
        nacks = [p for p in publisher.rtcp if isinstance(p, GenericNack)]
        assert {nack.lost for nack in nacks} == {(65_535,)}
        assert len(nacks) <= 20, "ten times, two each"


async def test_who_does_not_know_nack_is_asked_for_a_key_frame() -> None:
    async with (
        running() as server,
        RtpClient(
            whip(server),
            [video(VP8, ssrc=SSRC)],
            direction="sendonly",
            edit_offer=lambda text: text.replace("a=rtcp-fb:96 nack\r\n", ""),
        ) as publisher,
        RtpClient.viewer(whep(server), video(VP8)) as viewer,
    ):
        sent = packets(9)
        await publisher.send_rtp(*sent[:3])
        await viewer.until(lambda: len(viewer.rtp) == 3)
        publisher.rtcp.clear()
        await publisher.send_rtp(*sent[5:])
        await publisher.until(lambda: publisher.rtcp_of(PictureLoss))
        assert not publisher.rtcp_of(GenericNack)


async def test_only_what_this_publisher_lost_is_asked_for() -> None:
    """Its sound may be put in by somebody else, and its pictures were another's before."""
    shared = resources(FakePlane())
    tracks = StreamTracks(shared.plane, shared.transport, "cam")
    offer = write_offer(
        [video(VP8, ssrc=SSRC)],
        direction="sendonly",
        ufrag="client",
        password="p" * 24,
        fingerprint="sha-256 " + ":".join(["AB"] * 32),
    )
    async with Publisher(shared, tracks) as publisher:
        await publisher.answer(offer)
        tracks.begin(publisher, ())
        now = time.monotonic_ns()
        gap = Gap(TrackId(0), SSRC, first=70_000, missing=2, sequence=5, arrived=now)
        tracks._gap("audio", gap)
        tracks._gap("video", gap._replace(arrived=publisher._started))
        assert publisher.losses() == {"video": LossCounters()}
        assert publisher._loss_timer is None
        tracks._gap("video", gap)
        assert publisher.losses()["video"].missing == 2
        assert publisher._loss_timer is not None


def congestion_client(server: RunningServer, ssrc: int) -> RtpClient:
    """A publisher that offers transport-cc, under id 5, and REMB."""
    uri = next(u for u, e in URIS.items() if e is Extension.TRANSPORT_CC)
    line = "a=rtpmap:96 VP8/90000"
    more = "a=rtcp-fb:96 transport-cc\r\na=rtcp-fb:96 goog-remb"
    return RtpClient(
        whip(server),
        [dataclasses.replace(video(VP8, ssrc=ssrc), extensions={5: uri})],
        direction="sendonly",
        edit_offer=lambda offer: offer.replace(line, f"{line}\r\n{more}"),
    )


def numbered(first: int, count: int, *, ssrc: int) -> Iterator[tuple[int, bytes]]:
    """Packets with their transport-wide numbers."""
    for number, packet in enumerate(packets(count, ssrc=ssrc), first):
        number &= 0xFFFF
        element = b"\xbe\xde\0\1\x51" + number.to_bytes(2, "big") + b"\0"
        yield number, bytes([packet[0] | 0x10]) + packet[1:12] + element + packet[12:]


def reported(client: RtpClient) -> tuple[set[int], set[int]]:
    """The SSRCs that congestion feedback named, and the numbers that have arrived."""
    found = [p for p in client.rtcp if isinstance(p, TransportFeedback)]
    numbers = {number for packet in found for number, _ in packet.received}
    return {packet.media_ssrc for packet in found}, numbers


async def test_arrivals_are_reported_where_transport_cc_was_agreed() -> None:
    async with running() as server, congestion_client(server, SSRC) as publisher:
        sent = dict(numbered(65_520, 30, ssrc=SSRC))
        del sent[65_530]
        await publisher.send_rtp(*sent.values())
        await publisher.until(lambda: reported(publisher) == ({SSRC}, set(sent)))
        await publisher.until(lambda: publisher.rtcp_of(ReceiverReport))
        assert not publisher.rtcp_of(Remb)


async def test_arrivals_are_reported_under_the_publishers_own_ssrc() -> None:
    async with running() as server, RtpClient.viewer(whep(server), video(VP8)):
        for ssrc in (0xFFFF_0000, 5, 0x8000_0000):
            async with congestion_client(server, ssrc) as publisher:
                sent = dict(numbered(1, 3, ssrc=ssrc))
                await publisher.send_rtp(*sent.values())
                expected = {ssrc}, set(sent)
                await publisher.until(lambda: reported(publisher) == expected)  # noqa: B023
