from __future__ import annotations

import asyncio

import pytest

from live777py.clients.whip import WhipClient
from live777py.loadtest.playback import Prepared
from live777py.loadtest.publisher import Publisher
from live777py.protocol import rtcp
from live777py.protocol.rtcp import GenericNack, PictureLoss, ReceiverReport
from live777py.rtc.dtls import Certificate
from tests.loadtest.test_playback import CLIP
from tests.support.offers import audio, h264, video
from tests.support.rtp_client import RtpClient
from tests.support.server import RunningServer, running

CERTIFICATE = Certificate.generate()


def new_publisher(server: RunningServer | None = None) -> Publisher:
    url = "http://127.0.0.1:1" if server is None else server.url
    return Publisher(
        f"{url}/whip/cam",
        1,
        Prepared.of(CLIP),
        certificate=CERTIFICATE,
        hosts=["127.0.0.1"],
        seed=1,
    )


async def test_a_clip_goes_out_in_a_loop_until_the_server_ends_it() -> None:
    async with running() as server, WhipClient() as client:
        publisher = new_publisher(server)
        await publisher.connect(client, 5.0)
        async with (
            RtpClient.viewer(
                f"{server.url}/whep/cam", video(h264("42c01f")), audio()
            ) as viewer,
            asyncio.TaskGroup() as group,
        ):
            playing = group.create_task(publisher.run())
            # Longer than the clip of 0.2 s.
            await viewer.until(lambda: len(viewer.rtp_of("audio")) > 25)
            await viewer.until(lambda: len(viewer.rtp_of("video")) > 25)
            assert publisher.packets >= len(viewer.rtp)
            assert not publisher.is_gone
            await publisher.leave(client)
            await playing
        assert publisher.is_gone


async def test_a_nack_is_answered_and_a_key_frame_comes_when_asked_for() -> None:
    publisher = new_publisher()
    track = publisher.tracks["video"]
    _, packets = track.next_sample()
    sent: list[bytes] = []

    def send(packet: bytes) -> bytes:
        sent.append(packet)
        return packet

    publisher._peer.send_rtp = send  # type: ignore[method-assign]
    number = int.from_bytes(packets[0][2:4])
    nack = GenericNack(7, track.ssrc, (number, (number + 5000) % 65536))
    publisher._receive_rtcp(rtcp.compound(ReceiverReport(7), nack))
    assert sent == [packets[0]]
    assert publisher.retransmitted == 1
    track.next_sample()
    publisher._receive_rtcp(
        rtcp.compound(ReceiverReport(7), PictureLoss(7, track.ssrc))
    )
    assert publisher.key_frames_asked == 1
    _, packets = track.next_sample()
    # Parameter sets stand before a key frame only.
    assert b"\x67" in packets[0][12:24]


@pytest.mark.parametrize("data", [b"", b"\x80", b"\x80\xc9\x00\x09" + bytes(4)])
def test_broken_rtcp_does_no_harm(data: bytes) -> None:
    publisher = new_publisher()
    publisher._receive_rtcp(data)
    assert publisher.retransmitted == 0
