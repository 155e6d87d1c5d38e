"""Stock aiortc publishes and plays: pictures, sound, coming and going, addresses."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from live777py.protocol.codecs import Codec, Format
from live777py.protocol.rtcp import SenderReport
from tests.support import media
from tests.support.loopback import loopback_only
from tests.support.offers import VP8, h264, video
from tests.support.rtp_client import RtpClient
from tests.support.server import running
from tests.support.whep_client import WhepClient
from tests.support.whip_client import ColourTrack, ToneTrack, WhipClient

RED, BLUE, GREEN = (200, 40, 40), (30, 40, 210), (40, 180, 40)

#: Mean magnitude of decoded samples; the tone's is 5,000, silence's next to nothing.
LOUD = 1000

HIGH, BASELINE = h264("640028"), h264("42e01f")
RATE = 30
SSRC = 4321


async def growing(viewer: WhepClient, kind: str, frames: int = 10) -> None:
    """Wait until the viewer has decoded some more frames."""
    enough = viewer.frames[kind] + frames
    await viewer.until(lambda: viewer.frames[kind] >= enough)


async def colour(viewer: WhepClient, expected: tuple[int, int, int]) -> None:
    """Wait until the viewer shows pictures of this colour."""
    await viewer.until(lambda: viewer.shows(expected))


async def sound(viewer: WhepClient) -> None:
    """Wait until the viewer hears something."""
    await viewer.until(lambda: viewer.loudness > LOUD)


@pytest.mark.parametrize("codec", ["VP8", "H264"])
async def test_a_viewer_sees_and_hears_what_is_published(codec: str) -> None:
    picture = ColourTrack(RED)
    async with (
        running() as server,
        WhipClient(f"{server.url}/whip/cam", picture, ToneTrack(), codec=codec),
        WhepClient(f"{server.url}/whep/cam") as viewer,
    ):
        await colour(viewer, RED)
        await sound(viewer)
        await growing(viewer, "video")
        await growing(viewer, "audio")
        picture.colour = BLUE
        await colour(viewer, BLUE)


async def test_a_viewer_goes_on_when_another_publisher_takes_over() -> None:
    async with (
        running() as server,
        WhepClient(f"{server.url}/whep/cam") as viewer,
    ):
        for shown in (RED, BLUE, GREEN):
            async with WhipClient(
                f"{server.url}/whip/cam", ColourTrack(shown), ToneTrack()
            ):
                await colour(viewer, shown)
                await growing(viewer, "video")
                await growing(viewer, "audio")
                await sound(viewer)
        assert viewer.connection.connectionState == "connected"


async def test_a_viewer_who_came_first_follows_a_change_of_codec() -> None:
    async with (
        running() as server,
        WhepClient(f"{server.url}/whep/cam") as viewer,
    ):
        for codec, shown in (("VP8", RED), ("H264", BLUE)):
            async with WhipClient(
                f"{server.url}/whip/cam", ColourTrack(shown), codec=codec
            ):
                await colour(viewer, shown)
                await growing(viewer, "video")


async def test_a_stream_may_be_sound_alone() -> None:
    async with (
        running() as server,
        WhipClient(f"{server.url}/whip/cam", ToneTrack()),
        WhepClient(f"{server.url}/whep/cam") as both,
        WhepClient(f"{server.url}/whep/cam", kinds=("audio",)) as listener,
    ):
        for viewer in (both, listener):
            await sound(viewer)
            await growing(viewer, "audio")
        directions = {
            t.kind: t.currentDirection for t in both.connection.getTransceivers()
        }
    assert directions == {"video": "inactive", "audio": "recvonly"}


@asynccontextmanager
async def publishing(url: str, offered: Codec) -> AsyncIterator[RtpClient]:
    """A publisher of H.264 High that offers what it likes and listens to nobody."""
    pictures = media.encode(
        Format.H264, key_interval=10, options={"profile": "high", "preset": "veryfast"}
    )
    (parameter_set,) = (
        unit for unit in media.annex_b_units(pictures[0].data) if unit[0] & 0x1F == 7
    )
    assert parameter_set[1] == 100, "the encoder has to make High"
    async with RtpClient.publisher(url, video(offered, ssrc=SSRC)) as publisher:
        sending = asyncio.create_task(_send(publisher, pictures))
        try:
            yield publisher
        finally:
            sending.cancel()
            await asyncio.wait([sending])


async def _send(publisher: RtpClient, pictures: Sequence[media.Picture]) -> None:
    stream = media.RtpStream(96, SSRC, Format.H264)
    for index, picture in enumerate(itertools.cycle(pictures)):
        packets = stream.packets(picture.data, index * 90_000 // RATE)
        await publisher.send_rtp(*packets)
        await asyncio.sleep(1 / RATE)


@pytest.mark.parametrize(
    "offered", [HIGH, BASELINE], ids=["as it is", "as baseline, like OBS"]
)
async def test_h264_high_is_decoded(offered: Codec) -> None:
    async with (
        running() as server,
        publishing(f"{server.url}/whip/cam", offered) as publisher,
        WhepClient(f"{server.url}/whep/cam") as viewer,
    ):
        await growing(viewer, "video", 20)
        assert viewer.picture is not None
        seen = viewer.picture.to_ndarray(format="rgb24")
    (answered,) = publisher.answer.section("video").fmtp.values()
    assert str(offered.parameter("profile-level-id")) in answered
    # The test picture is of one blue, and its red grows by one from row to row.
    assert abs(seen[:, :, 2].mean() - 40) < 10
    steps = seen[100:, :, 0].mean(axis=1) - seen[:-100, :, 0].mean(axis=1)
    assert sorted(abs(steps % 256 - 100))[len(steps) // 2] < 10


@pytest.mark.parametrize(
    "offered", [HIGH, BASELINE], ids=["as it is", "as baseline, like OBS"]
)
async def test_h264_high_is_sent_as_high_to_those_who_ask_for_it(
    offered: Codec,
) -> None:
    async with (
        running() as server,
        publishing(f"{server.url}/whip/cam", offered),
        RtpClient.viewer(f"{server.url}/whep/cam", video(BASELINE, HIGH)) as viewer,
    ):
        await viewer.until(lambda: len(viewer.rtp) > 10)
        section = viewer.answer.section("video")
        live, *others = section.formats
        assert "profile-level-id=640028" in section.fmtp[live]
        assert [section.codecs[number] for number in others] == ["H264/90000"]
        assert {packet.payload_type for packet in viewer.rtp} == {live}


def has_ipv6() -> bool:
    """Whether this machine has ::1."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="there is no IPv6 loopback")
async def test_media_goes_over_ipv6() -> None:
    with loopback_only("::1"):
        async with (
            running(webrtc={"listen": "[::]:0", "addresses": ["::1"]}) as server,
            WhipClient(f"{server.url}/whip/cam") as publisher,
            WhepClient(f"{server.url}/whep/cam") as viewer,
        ):
            await colour(viewer, RED)
            await sound(viewer)
            for client in (publisher, viewer):
                assert " ::1 " in client.connection.localDescription.sdp
                assert " ::1 " in client.connection.remoteDescription.sdp


def senders_of_datagrams(client: RtpClient) -> set[str]:
    """The addresses from which the client is sent datagrams from now on."""
    protocol: Any = client.pair_protocol
    receive, seen = protocol.datagram_received, set[str]()

    def datagram_received(data: bytes, address: tuple[str, int]) -> None:
        seen.add(address[0])
        receive(data, address)

    protocol.datagram_received = datagram_received
    return seen


async def connect_to(client: RtpClient, host: str) -> None:
    """Connect to one of the server's addresses alone."""
    await client.post()
    here = tuple(c for c in client.answer.candidates if f" {host} " in c)
    assert len(here) == 1
    client.answer = dataclasses.replace(client.answer, candidates=here)
    await client.connect()


async def received(client: RtpClient, packets: int) -> None:
    """Wait until that many RTP packets have come, and a report."""
    await client.until(lambda: len(client.rtp) == packets and client.rtcp)


async def test_a_wildcard_socket_answers_from_the_address_that_was_asked() -> None:
    first, second = "127.0.0.1", "127.0.0.2"
    picture = media.encode(Format.VP8, frames=1, width=640, height=480)[0].data
    packets = media.RtpStream(96, SSRC, Format.VP8).packets(picture, 0)
    assert len(packets) > 2, "the packets have to travel as segments of one message"
    async with (
        running(webrtc={"listen": "[::]:0", "addresses": [first, second]}) as server,
        AsyncExitStack() as stack,
    ):
        url = f"{server.url}/whep/cam"
        clients = {
            RtpClient.viewer(url, video(VP8)): first,
            RtpClient.viewer(url, video(VP8)): second,
            RtpClient.publisher(
                f"{server.url}/whip/cam", video(VP8, ssrc=SSRC)
            ): second,
        }
        seen = {}
        for client, host in clients.items():
            stack.push_async_callback(client.aclose)
            # aioice takes an answer only from where it has sent the check.
            await connect_to(client, host)
            seen[client] = senders_of_datagrams(client)
        *viewers, publisher = clients
        await publisher.send_rtp(*packets)
        # With it the server has something to report to the viewers at once.
        await publisher.send_rtcp(SenderReport(SSRC, 1 << 63, 0, len(packets), 1))
        for viewer in viewers:
            await received(viewer, len(packets))
        await publisher.until(lambda: publisher.rtcp)
    assert [seen[client] for client in clients] == [{first}, {second}, {second}]
