"""The peer of a publisher, with a real server and a real client around it."""

from __future__ import annotations

import asyncio

from live777py.protocol import rtp
from live777py.protocol.rtcp import (
    FullIntraRequest,
    Packet,
    PictureLoss,
    ReceiverReport,
    Remb,
    SenderReport,
    SourceDescription,
)
from tests.rtc.test_viewer import SSRC, packets, whep, whip
from tests.support.offers import OPUS, VP8, audio, video
from tests.support.rtp_client import RtpClient
from tests.support.server import running


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
        async with asyncio.timeout(5):
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
