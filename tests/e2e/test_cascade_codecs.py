"""Every codec that a stream may have crosses pulls and pushes between our nodes."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest

from live777py.protocol import rtp
from live777py.protocol.codecs import Codec, Format
from live777py.protocol.rtp import RtpPacket
from tests.support import media
from tests.support.node import Node, node, until
from tests.support.offers import (
    AV1,
    H265,
    OPUS,
    VP8,
    VP9,
    OfferedMedia,
    audio,
    h264,
    video,
)
from tests.support.rtp_client import RtpClient

pytestmark = pytest.mark.timeout(60)

PICTURES, SOUND = 4242, 77

STEREO = Codec("audio", "opus", 48_000, 2, (("stereo", "1"), ("sprop-stereo", "1")))
SURROUND = Codec(
    "audio",
    "multiopus",
    48_000,
    6,
    (
        ("channel_mapping", "0,4,1,2,3,5"),
        ("num_streams", "4"),
        ("coupled_streams", "2"),
    ),
)


@dataclass(frozen=True)
class Case:
    """What is published.

    Attributes:
        codec: as the publisher offers it.
        seen: as a viewer offers it that plays nothing else; None for the same.
        encoding: of the pictures: arguments of `media.encode`.
    """

    codec: Codec
    seen: Codec | None = None
    encoding: dict[str, Any] = field(default_factory=dict)

    def packets(self) -> Callable[[], list[bytes]]:
        """Makes the packets of a key frame, or of some sound, each time anew."""
        times = itertools.count(3000, 3000)
        if self.codec.kind == "audio":
            sound = media.RtpStream(111, SOUND)
            return lambda: sound.packets(bytes(range(160)), next(times))
        format = self.codec.format
        size = {"width": 160, "height": 120, "frames": 1}
        [picture] = media.encode(format, **{**size, **self.encoding})
        stream = media.RtpStream(96, PICTURES, format)
        return lambda: stream.packets(picture.data, next(times))


def _profile(name: str, pixels: str = "yuv420p", level: str = "4") -> dict[str, Any]:
    return {"options": {"profile": name, "level": level}, "pixel_format": pixels}


def _profile_id(codec: Codec, profile: int) -> Codec:
    parameters = (("profile-id", str(profile)),)
    return Codec("video", codec.name, 90_000, parameters=parameters)


DEEP = {"pixel_format": "yuv420p10le"}
VIDEO = {
    "H.264 Baseline": Case(h264("42e028"), None, _profile("baseline")),
    "H.264 Main": Case(h264("4d0028"), None, _profile("main")),
    "H.264 High": Case(h264("640028"), None, _profile("high")),
    # OBS says Baseline whatever it encodes; its parameter sets tell.
    "H.264 High as OBS sends it": Case(
        h264("42e01f"), h264("640028"), _profile("high")
    ),
    "H.264 High 10": Case(h264("6e0028"), None, _profile("high10", "yuv420p10le")),
    "H.264 High 4:4:4": Case(h264("f40028"), None, _profile("high444", "yuv444p")),
    "H.264 in single units": Case(h264("42e028", mode="0"), None, _profile("baseline")),
    "H.265": Case(H265),
    "H.265 Main 10": Case(_profile_id(H265, 2), None, DEEP),
    "VP8": Case(VP8),
    "VP9": Case(VP9),
    "VP9 profile 1": Case(_profile_id(VP9, 1), None, {"pixel_format": "yuv444p"}),
    "AV1": Case(AV1),
}
AUDIO = {
    "Opus": Case(OPUS),
    "Opus in stereo": Case(STEREO),
    "multiopus": Case(SURROUND),
    "G.722": Case(Codec("audio", "G722", 8_000)),
    "PCMU": Case(Codec("audio", "PCMU", 8_000)),
    "PCMA": Case(Codec("audio", "PCMA", 8_000)),
}
ALL = {
    **{name: (case,) for name, case in {**VIDEO, **AUDIO}.items()},
    "VP8 and Opus": (VIDEO["VP8"], AUDIO["Opus"]),
    "H.264 High and G.722": (VIDEO["H.264 High"], AUDIO["G.722"]),
}


def sections(*cases: Case, sends: bool) -> list[OfferedMedia]:
    """What a client offers."""
    made = []
    for case in cases:
        if case.codec.kind == "audio":
            made.append(audio(case.codec, ssrc=SOUND if sends else None))
        elif sends:
            made.append(video(case.codec, ssrc=PICTURES))
        else:
            made.append(video(case.seen or case.codec))
    return made


def publisher(at: Node, *cases: Case) -> RtpClient:
    return RtpClient.publisher(f"{at.url}/whip/cam", *sections(*cases, sends=True))


def viewer(at: Node, stream: str, *cases: Case) -> RtpClient:
    return RtpClient.viewer(f"{at.url}/whep/{stream}", *sections(*cases, sends=False))


async def sent_until(
    client: RtpClient, sources: list[Callable[[], list[bytes]]], at: Node, stream: str
) -> None:
    """Send media until a node knows of all kinds what they are."""

    async def are_known() -> bool:
        for source in sources:
            await client.send_rtp(*source())
        return len(await at.codecs(stream)) == len(sources)

    await until(are_known)


def payloads(packets: list[RtpPacket]) -> list[bytes]:
    return [packet.payload for packet in packets]


@pytest.mark.parametrize("way", ["pull", "push"])
@pytest.mark.parametrize("cases", ALL.values(), ids=ALL)
async def test_it_comes_byte_for_byte(cases: tuple[Case, ...], way: str) -> None:
    sources = [case.packets() for case in cases]
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(node())
        last = await stack.enter_async_context(node())
        client = await stack.enter_async_context(publisher(first, *cases))
        if way == "pull":
            stream = "cam"
            location = await last.begin("cam", sourceUrl=f"{first.url}/whep/cam")
            await last.connected(location)
        else:
            stream = "far"
            await sent_until(client, sources, first, "cam")
            location = await first.begin("cam", targetUrl=f"{last.url}/whip/far")
            await first.connected(location)
        await sent_until(client, sources, last, stream)
        watching = await stack.enter_async_context(viewer(last, stream, *cases))
        for case, source in zip(cases, sources, strict=True):
            kind = case.codec.kind
            before = len(watching.rtp_of(kind))
            sent = [rtp.parse(packet) for packet in (*source(), *source())]
            await client.send_rtp(*map(bytes, sent))

            def has_come(
                kind: str = kind, begin: int = before, expected: int = len(sent)
            ) -> bool:
                return len(watching.rtp_of(kind)) >= begin + expected

            await watching.until(has_come)
            assert payloads(watching.rtp_of(kind))[-len(sent) :] == payloads(sent)
        shown = {name.lower() for name in await last.codecs(stream)}
        assert shown == {case.codec.name.lower() for case in cases}


async def test_opus_stays_stereo() -> None:
    async with (
        node() as first,
        node() as last,
        publisher(first, AUDIO["Opus in stereo"]),
    ):
        await first.server.until_published("cam")
        location = await last.begin("cam", sourceUrl=f"{first.url}/whep/cam")
        await last.connected(location)
        async with viewer(last, "cam", AUDIO["Opus"]) as watching:
            [fmtp] = watching.answer.section("audio").fmtp.values()
            assert "stereo=1" in fmtp


async def test_a_viewer_of_a_pull_follows_a_change_of_codec() -> None:
    cases = VIDEO["VP8"], VIDEO["H.264 High as OBS sends it"], VIDEO["AV1"]
    async with node() as first, node() as last:
        location = await last.begin("cam", sourceUrl=f"{first.url}/whep/cam")
        await last.connected(location)
        offered = video(VP8, h264("640028"), AV1)
        async with RtpClient.viewer(f"{last.url}/whep/cam", offered) as watching:
            for number, case in enumerate(cases):
                source = case.packets()
                async with publisher(first, case) as client:
                    expected = 96 + 2 * number

                    async def is_seen(
                        expected: int = expected,
                        client: RtpClient = client,
                        source: Callable[[], list[bytes]] = source,
                    ) -> bool:
                        await client.send_rtp(*source())
                        came = watching.rtp_of("video")
                        return bool(came) and came[-1].payload_type == expected

                    await until(is_seen)
            numbers = [packet.sequence for packet in watching.rtp_of("video")]
            assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
            assert (await last.get(location))["attempts"] == 0


async def test_a_push_follows_a_change_of_codec() -> None:
    cases = VIDEO["VP8"], VIDEO["H.264 High"]
    async with node() as first, node() as last:
        location = ""
        for case in cases:
            source = case.packets()
            async with publisher(first, case) as client:
                await sent_until(client, [source], first, "cam")
                if not location:
                    location = await first.begin(
                        "cam", targetUrl=f"{last.url}/whip/far"
                    )

                async def has_come(
                    case: Case = case,
                    client: RtpClient = client,
                    source: Callable[[], list[bytes]] = source,
                ) -> bool:
                    await client.send_rtp(*source())
                    return await last.codecs("far") == [case.codec.name.lower()]

                await until(has_come)


assert {case.codec.format for case in VIDEO.values()} == set(Format) - {Format.OPAQUE}
