"""The peer of a viewer, with a real server and a real client around it."""

from __future__ import annotations

import asyncio
import itertools
import time

import pytest

from live777py.protocol import rtp
from live777py.protocol.codecs import Codec, Format
from live777py.protocol.extensions import URIS, Extension
from live777py.protocol.rtcp import (
    FullIntraRequest,
    GenericNack,
    PictureLoss,
    ReceiverReport,
    ReportBlock,
    SenderReport,
)
from live777py.protocol.rtp import RtpPacket
from live777py.relay.seam import Path
from live777py.rtc.tracks import StreamTracks
from live777py.rtc.viewer import Viewer
from tests.rtc.fakes import FakePlane, resources
from tests.rtc.offers import read
from tests.support import media
from tests.support.offers import AV1, OPUS, VP8, VP9, audio, h264, video
from tests.support.rtp_client import RtpClient
from tests.support.server import RunningServer, running

SSRC = 0x1234


def whip(server: RunningServer) -> str:
    return f"{server.url}/whip/cam"


def whep(server: RunningServer) -> str:
    return f"{server.url}/whep/cam"


def packets(
    count: int, *, first: int = 65_530, payload_type: int = 96, ssrc: int = SSRC
) -> list[bytes]:
    """RTP packets that are a key frame each, as VP8 sees it."""
    return [
        bytes(
            RtpPacket(
                payload_type=payload_type,
                sequence=(first + i) % 65_536,
                timestamp=(4_294_960_000 + 3000 * i) % 2**32,
                ssrc=ssrc,
                payload=b"\x10\x00\x00" + bytes([i % 256]) * 20,
                marker=True,
            )
        )
        for i in range(count)
    ]


def sps_packet(sequence: int) -> bytes:
    """An RTP packet with the SPS of a High profile stream of 16 by 16 pixels."""
    sps = "6764001eacb23d2be0220000030002000003007908"
    return bytes(
        RtpPacket(
            payload_type=96,
            sequence=sequence,
            timestamp=3000 * sequence,
            ssrc=SSRC,
            payload=bytes.fromhex(sps),
        )
    )


async def until_rtp(client: RtpClient, count: int) -> None:
    """Wait for so many packets."""
    await client.until(lambda: len(client.rtp) >= count)


async def test_a_viewer_gets_what_is_published_under_numbers_of_its_own() -> None:
    async with (
        running() as server,
        RtpClient.publisher(whip(server), video(VP8, ssrc=SSRC)) as publisher,
        RtpClient.viewer(whep(server), video(VP9, VP8, first=100)) as viewer,
    ):
        await publisher.send_rtp(*packets(20))
        await viewer.until(lambda: len(viewer.rtp) == 20)
        got = viewer.rtp_of("video")
        assert [p.payload for p in got] == [rtp.parse(p).payload for p in packets(20)]
        assert {p.payload_type for p in got} == {102}
        first = got[0].sequence
        assert 0 < first < 1 << 15
        assert [p.sequence for p in got] == list(range(first, first + 20))
        steps = {
            (b.timestamp - a.timestamp) % 2**32 for a, b in itertools.pairwise(got)
        }
        assert steps == {3000}
        assert all(p.marker for p in got)


async def test_a_wish_for_a_key_frame_reaches_the_publisher() -> None:
    async with (
        running() as server,
        RtpClient.publisher(whip(server), video(VP8, ssrc=SSRC)) as publisher,
        RtpClient.viewer(whep(server), video(VP8)) as viewer,
    ):
        await publisher.send_rtp(*packets(1))
        await viewer.until(lambda: viewer.rtp)
        asked = len(publisher.rtcp_of(PictureLoss))
        ssrc = viewer.answer.section("video").ssrcs[0]
        await viewer.send_rtcp(PictureLoss(1, ssrc))
        await publisher.until(lambda: len(publisher.rtcp_of(PictureLoss)) > asked)
        asked = len(publisher.rtcp_of(PictureLoss))
        await viewer.send_rtcp(FullIntraRequest(1, ((ssrc, 0),)))
        await publisher.until(lambda: len(publisher.rtcp_of(PictureLoss)) > asked)
        wishes = publisher.rtcp_of(PictureLoss)
        assert {w.media_ssrc for w in wishes if isinstance(w, PictureLoss)} == {SSRC}


async def test_sender_reports_tell_the_time_of_what_was_sent() -> None:
    async with (
        running() as server,
        RtpClient.publisher(whip(server), video(VP8, ssrc=SSRC)) as publisher,
        RtpClient.viewer(whep(server), video(VP8)) as viewer,
    ):
        sent = packets(20)
        await publisher.send_rtp(*sent)
        await publisher.send_rtcp(
            SenderReport(
                ssrc=SSRC,
                ntp=rtp.ntp_from_unix_ns(1_700_000_000_000_000_000),
                timestamp=rtp.parse(sent[-1]).timestamp,
                packets=20,
                octets=460,
            )
        )
        await viewer.until(lambda: viewer.rtcp_of(SenderReport))
        report = viewer.rtcp_of(SenderReport)[0]
        assert isinstance(report, SenderReport)
        last = viewer.rtp_of("video")[-1]
        assert report.ssrc == last.ssrc
        assert (report.packets, report.octets) == (20, 20 * 23)
        # The report is of at most two seconds after the last packet.
        assert 0 <= (report.timestamp - last.timestamp) % 2**32 <= 2 * 90_000


async def test_header_extensions_come_under_the_ids_of_the_viewer() -> None:
    by_extension = {extension: uri for uri, extension in URIS.items()}
    orientation = by_extension[Extension.VIDEO_ORIENTATION]
    mid = by_extension[Extension.MID]
    sent = video(VP8, ssrc=SSRC)
    sent.extensions.update({5: orientation, 4: mid})
    wanted = video(VP8)
    wanted.extensions.update({9: orientation, 10: mid})
    packet = RtpPacket(
        payload_type=96,
        sequence=1,
        timestamp=1,
        ssrc=SSRC,
        payload=b"\x10\x00\x00\x00",
        extensions={5: b"\x03", 4: b"0"},
    )
    async with (
        running() as server,
        RtpClient.publisher(whip(server), sent) as publisher,
        RtpClient.viewer(whep(server), wanted) as viewer,
    ):
        await publisher.send_rtp(bytes(packet))
        await viewer.until(lambda: viewer.rtp)
        assert viewer.rtp[0].extensions == {9: b"\x03"}


async def test_a_viewer_that_came_first_gets_the_first_publishers_first_packet() -> (
    None
):
    async with (
        running() as server,
        RtpClient.viewer(whep(server), video(VP9, VP8), audio()) as viewer,
        RtpClient.publisher(whip(server), video(VP8, ssrc=SSRC)) as publisher,
    ):
        await publisher.send_rtp(*packets(3))
        await viewer.until(lambda: len(viewer.rtp) == 3)
        assert {p.payload_type for p in viewer.rtp} == {98}


async def test_a_viewer_plays_on_when_another_publisher_follows() -> None:
    async with (
        running() as server,
        RtpClient.viewer(whep(server), video(VP8)) as viewer,
    ):
        for ssrc in (1, 2):
            async with RtpClient.publisher(
                whip(server), video(VP8, ssrc=ssrc, first=100 + ssrc)
            ) as publisher:
                await publisher.send_rtp(
                    *packets(5, payload_type=100 + ssrc, ssrc=ssrc, first=40 * ssrc)
                )
                await until_rtp(viewer, 5 * ssrc)
        got = viewer.rtp_of("video")
        assert len(got) == 10
        first = got[0].sequence
        assert [p.sequence for p in got] == list(range(first, first + 10))
        jump = (got[5].timestamp - got[4].timestamp) % 2**32
        assert 0 < jump < 60 * 90_000, "time goes on as it passed, and never back"
        assert not viewer.closed.is_set()


async def test_a_viewer_goes_on_in_another_codec_if_it_has_agreed_to_it() -> None:
    async with (
        running() as server,
        RtpClient.viewer(whep(server), video(VP8, VP9)) as viewer,
    ):
        for codec in (VP8, VP9):
            offered = video(codec, ssrc=SSRC)
            async with RtpClient.publisher(whip(server), offered) as publisher:
                before = len(viewer.rtp)
                await publisher.send_rtp(*packets(2))
                await until_rtp(viewer, before + 2)
        assert [p.payload_type for p in viewer.rtp] == [96, 96, 98, 98]


@pytest.mark.parametrize("codec", [VP9, h264(), AV1], ids=str)
async def test_a_viewer_that_cannot_follow_to_another_codec_is_told_goodbye(
    codec: Codec,
) -> None:
    async with (
        running() as server,
        RtpClient.viewer(whep(server), video(VP8)) as viewer,
        RtpClient.publisher(whip(server), video(codec, ssrc=SSRC)),
    ):
        async with asyncio.timeout(20):
            await viewer.closed.wait()


async def test_a_profile_that_was_only_offered_ends_nobody_until_it_is_seen() -> None:
    high10 = h264("6e0028")
    async with (
        running() as server,
        RtpClient.viewer(whep(server), video(h264("42e01f"))) as viewer,
        RtpClient.publisher(whip(server), video(high10, ssrc=SSRC)) as publisher,
    ):
        # The first tells the profile, and with it the payload type of all that follow.
        async with asyncio.timeout(20):
            for sequence in range(1, 1000):
                await publisher.send_rtp(sps_packet(sequence))
                await asyncio.sleep(0.01)
                if viewer.rtp:
                    break
        assert viewer.rtp
        assert not viewer.closed.is_set()


async def test_a_profile_of_vp9_is_believed_when_it_is_seen() -> None:
    third = Codec("video", "VP9", 90_000, 1, (("profile-id", "2"),))
    [picture] = media.encode(Format.VP9, frames=1)
    async with (
        running() as server,
        RtpClient.viewer(whep(server), video(VP9)) as viewer,
        RtpClient.publisher(whip(server), video(third, ssrc=SSRC)) as publisher,
    ):
        stream = media.RtpStream(96, SSRC, Format.VP9)
        async with asyncio.timeout(20):
            for number in range(1000):
                await publisher.send_rtp(*stream.packets(picture.data, 3000 * number))
                await asyncio.sleep(0.01)
                if viewer.rtp:
                    break
        assert viewer.rtp
        assert not viewer.closed.is_set()


async def test_who_posts_an_offer_and_never_connects_changes_nothing() -> None:
    async with (
        running() as server,
        RtpClient.viewer(whep(server), video(VP8)) as viewer,
    ):
        lurker = RtpClient.publisher(whip(server), video(VP9, ssrc=SSRC))
        await lurker.post()
        async with RtpClient.viewer(whep(server), video(VP8)):
            assert not viewer.closed.is_set()
        await lurker.vanish()


async def test_a_kind_that_the_viewer_did_not_ask_for_is_not_sent() -> None:
    async with (
        running() as server,
        RtpClient.publisher(
            whip(server), video(VP8, ssrc=SSRC), audio(OPUS, ssrc=7)
        ) as publisher,
        RtpClient.viewer(whep(server), audio(OPUS)) as viewer,
    ):
        await publisher.send_rtp(*packets(3))
        sound = RtpPacket(
            payload_type=111, sequence=1, timestamp=1, ssrc=7, payload=b"\xfc\xff\xfe"
        )
        await publisher.send_rtp(bytes(sound))
        await viewer.until(lambda: viewer.rtp)
        assert [p.payload for p in viewer.rtp] == [sound.payload]


async def test_a_report_on_a_kind_that_is_not_sent_does_no_harm() -> None:
    both = (video(VP8, ssrc=SSRC), audio(OPUS, ssrc=7))
    async with (
        running() as server,
        RtpClient.publisher(whip(server), *both),
        RtpClient.viewer(whep(server), video(VP8)) as other,
        RtpClient.viewer(whep(server), audio(OPUS)) as viewer,
    ):
        (picture,) = other.answer.section("video").ssrcs
        (sound,) = viewer.answer.section("audio").ssrcs
        reports = [
            ReportBlock(ssrc, 0, lost, 9, 9, 0, 0)
            for ssrc, lost in ((picture, 5), (sound, 3))
        ]
        await viewer.send_rtcp(ReceiverReport(1, tuple(reports)))
        async with asyncio.timeout(20):
            while True:
                (stream,) = await server.streams()
                lost = [s["stats"]["lost"] for s in stream["subscribe"]["sessions"]]
                if lost == [0, 3]:
                    break
                await asyncio.sleep(0.01)


@pytest.mark.parametrize("has_rtx", [True, False])
async def test_what_a_viewer_lacks_is_sent_again(has_rtx: bool) -> None:
    async with (
        running() as server,
        RtpClient.publisher(whip(server), video(VP8, ssrc=SSRC)) as publisher,
        RtpClient.viewer(whep(server), video(VP8, rtx=has_rtx)) as viewer,
    ):
        await publisher.send_rtp(*packets(5))
        await viewer.until(lambda: len(viewer.rtp) == 5)
        ssrc, *others = viewer.answer.section("video").ssrcs
        lost = viewer.rtp[2]
        # What names the SSRC of retransmissions, or nobody's, asks for nothing.
        for media_ssrc in (*others, 77, ssrc):
            await viewer.send_rtcp(GenericNack(1, media_ssrc, (lost.sequence,)))
        if not has_rtx:
            # SRTP drops what came already, at the client.
            plane = server.server._engine._resources.plane
            async with asyncio.timeout(20):
                while not plane.counters()["retransmitted"]:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            return
        await viewer.until(lambda: len(viewer.rtp) == 6)
        again = viewer.rtp[5]
        assert (again.ssrc, again.payload_type) == (others[0], 97)
        assert again.payload == lost.sequence.to_bytes(2) + lost.payload
        assert again.timestamp == lost.timestamp
        assert 0 < again.sequence < 1 << 15


async def test_a_viewer_begins_with_the_latest_key_frame_and_nobody_is_asked() -> None:
    async with (
        running() as server,
        RtpClient.publisher(whip(server), video(VP8, ssrc=SSRC)) as publisher,
        RtpClient.viewer(whep(server), video(VP8)) as early,
    ):
        key, *others = packets(30)
        await publisher.send_rtp(
            key, *(p.replace(b"\x10\0", b"\x10\1") for p in others)
        )
        await until_rtp(early, 30)
        asked = len(publisher.rtcp_of(PictureLoss))
        async with RtpClient.viewer(whep(server), video(VP8)) as viewer:
            await until_rtp(viewer, 30)
            payloads = [p.payload for p in viewer.rtp]
            assert payloads == [p.payload for p in early.rtp]
        assert len(publisher.rtcp_of(PictureLoss)) == asked


async def test_a_viewer_that_is_silent_is_sent_nothing_until_it_speaks() -> None:
    plane = FakePlane()
    shared = resources(plane)
    tracks = StreamTracks(shared.plane, shared.transport, "cam")
    async with Viewer(shared, tracks) as viewer:
        await viewer.answer(read("chromium-156-whep-initial"))
        viewer._ready()
        rows = list(plane.viewers.values())
        assert len(rows) == 2
        viewer._look(7.4)
        assert not any("paused" in row for row in rows)
        viewer._look(7.6)
        assert [row["paused"] for row in rows] == [True, True]
        path = Path("127.0.0.1", 9, "127.0.0.1")
        viewer._heard = 1
        viewer.receive_rtcp(b"forged", path, time.monotonic_ns())
        viewer.receive_stun(b"forged", path, time.monotonic_ns())
        assert [row["paused"] for row in rows] == [True, True]
        plane.last_received = time.monotonic_ns()
        viewer.receive_stun(b"", path, time.monotonic_ns())
        assert [row["paused"] for row in rows] == [False, False]
