"""FFmpeg's own `whip` muxer publishes: what viewers get is what it was given."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.e2e.test_cascade_processes import ffmpeg
from tests.support import ffmpeg_whip, media
from tests.support.offers import ParsedAnswer, audio, h264, video
from tests.support.rtp_client import RtpClient
from tests.support.server import running
from tests.support.whep_client import WhepClient

HIGH, BASELINE = h264("640028"), h264("42e01f")


@asynccontextmanager
async def publishing(url: str, record: Path, *, seconds: float) -> AsyncIterator[None]:
    """FFmpeg publishes inside; leaving waits until it has ended, and well."""
    process = await ffmpeg_whip.start(url, record, seconds=seconds)
    try:
        yield
        _, errors = await asyncio.wait_for(process.communicate(), 20)
        assert process.returncode == 0, errors.decode()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def stereo(answer: ParsedAnswer) -> set[str]:
    """What an answer says about the channels of its first audio codec."""
    section = answer.section("audio")
    fmtp = section.fmtp.get(section.formats[0], "")
    return {text for text in fmtp.split(";") if "stereo" in text}


async def test_high_and_stereo_opus_arrive_bit_exact(tmp_path: Path) -> None:
    record = tmp_path / "sent"
    async with (
        running() as server,
        # There before the publisher, so that it misses nothing.
        RtpClient.viewer(
            f"{server.url}/whep/cam", video(BASELINE, HIGH), audio()
        ) as viewer,
    ):
        async with publishing(f"{server.url}/whip/cam", record, seconds=2):
            await viewer.until(lambda: viewer.rtp)
        sent = ffmpeg_whip.read_recording(record)
        await viewer.until(lambda: len(viewer.rtp_of("audio")) >= len(sent.audio))
        pictures = media.h264_access_units(viewer.rtp_of("video"))
        sounds = [packet.payload for packet in viewer.rtp_of("audio")]
    assert len(sent.video) > 50
    assert len(sent.audio) > 90
    assert [ffmpeg_whip.media_units(picture) for picture in pictures] == sent.video
    assert sounds == sent.audio
    assert all(unit in pictures[0] for unit in sent.parameter_sets)
    (profile,) = {unit[1] for unit in sent.parameter_sets if unit[0] & 0x1F == 7}
    assert profile == 100, "the encoder has to make High"


async def test_who_comes_later_is_told_what_it_is_and_decodes_it(
    tmp_path: Path,
) -> None:
    async with (
        running() as server,
        RtpClient.viewer(f"{server.url}/whep/cam", audio()) as early,
        ffmpeg(f"{server.url}/whip/cam", tmp_path),
    ):
        await early.until(lambda: early.rtp)
        async with (
            RtpClient.viewer(
                f"{server.url}/whep/cam", video(BASELINE, HIGH), audio()
            ) as late,
            WhepClient(f"{server.url}/whep/cam") as decoding,
        ):
            await late.until(lambda: late.rtp_of("video"))
            await decoding.until(lambda: decoding.frames["video"] > 20)
            await decoding.until(lambda: decoding.loudness > 1000)
    assert stereo(late.answer) == {"stereo=1", "sprop-stereo=1"}
    section = late.answer.section("video")
    assert "profile-level-id=640028" in section.fmtp[section.formats[0]]
    assert late.rtp_of("video")[0].payload_type == section.formats[0]


async def test_a_stream_is_free_as_soon_as_ffmpeg_has_gone(tmp_path: Path) -> None:
    async with running() as server:
        url = f"{server.url}/whip/cam"
        async with publishing(url, tmp_path / "sent", seconds=0.2):
            pass
        async with RtpClient.publisher(url, audio(ssrc=1)) as publisher:
            assert publisher.answer.section("audio").direction == "recvonly"


async def test_sound_that_is_not_said_to_be_stereo_is_not_answered_so() -> None:
    async with (
        running() as server,
        RtpClient.publisher(f"{server.url}/whip/cam", audio(ssrc=1)),
        RtpClient.viewer(f"{server.url}/whep/cam", audio()) as viewer,
    ):
        assert stereo(viewer.answer) == set()
