"""The commands that README and the pages show publish and play, run as they stand there.

Whether a program of this machine can do it is asked first: FFmpeg has a `whip` muxer since
8.0, and GStreamer's elements come from gst-plugins-rs. The commands are read in any case.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import shutil
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest

from tests.support import media
from tests.support.commands import after, shown
from tests.support.offers import audio, h264, video
from tests.support.rtp_client import RtpClient
from tests.support.server import RunningServer, running

README, PUBLISH, PLAY = "README.md", "docs/howto/publish.md", "docs/howto/play.md"

#: Seconds that a program may take to start, to encode and to connect.
PATIENCE = 20.0
IDR = 5

FFMPEG = [
    pytest.param(page, id=page, marks=pytest.mark.ffmpeg) for page in (README, PUBLISH)
]


@functools.cache
def ffmpeg() -> str | None:
    """An FFmpeg with a `whip` muxer: that of the system, or of the package imageio-ffmpeg."""
    found = [shutil.which("ffmpeg")]
    with suppress(ImportError):
        found.append(importlib.import_module("imageio_ffmpeg").get_ffmpeg_exe())
    for program in filter(None, found):
        muxers = subprocess.run([program, "-muxers"], capture_output=True, check=True)
        if b" whip " in muxers.stdout:
            return program
    return None


@functools.cache
def has_element(name: str) -> bool:
    """Whether GStreamer is here and has an element."""
    inspect = shutil.which("gst-inspect-1.0")
    return inspect is not None and not subprocess.call(
        [inspect, name], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def here(server: RunningServer, argument: str) -> str:
    """An argument with the address of this server in it."""
    for shown_host in ("http://HOST:7777", "http://127.0.0.1:7777"):
        argument = argument.replace(shown_host, server.url)
    return argument


@asynccontextmanager
async def started(*command: str, folder: Path) -> AsyncIterator[None]:
    """A command that runs inside and is killed in the end; a failure shows what it said."""
    log = folder / "log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=folder,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
        try:
            yield
        except BaseException as error:
            error.add_note(f"status {process.returncode}: {log.read_text()[-2000:]}")
            raise
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


def viewer_of(server: RunningServer) -> RtpClient:
    """A viewer of `cam`; it comes before the publisher, who takes all the CPU there is."""
    return RtpClient.viewer(
        f"{server.url}/whep/cam", video(h264("42e01f"), h264("64001f")), audio()
    )


async def arrives(viewer: RtpClient) -> None:
    """Wait until a viewer has received a key frame and sound."""
    await viewer.until(lambda: viewer.rtp_of("audio"), PATIENCE)
    await viewer.until(
        lambda: any(
            unit[0] & 0x1F == IDR
            for units in media.h264_access_units(viewer.rtp_of("video"))
            for unit in units
        ),
        PATIENCE,
    )


async def routed(server: RunningServer, url: str) -> bool:
    """Whether the server takes a POST there, if not this one."""
    async with aiohttp.ClientSession() as http, http.post(here(server, url)) as reply:
        # WHIP wants an offer; WHEP makes one for who has none.
        return reply.status == (406 if "/whep/" in url else 415)


def endpoint(arguments: Sequence[str], name: str) -> str:
    """The value of a property of a GStreamer element."""
    (value,) = [a.partition("=")[2] for a in arguments if a.startswith(f"{name}=")]
    return value


@pytest.mark.parametrize("page", FFMPEG)
async def test_the_ffmpeg_command_is_one_that_webrtc_viewers_can_play(
    page: str,
) -> None:
    (arguments,) = shown(page, "ffmpeg")
    assert after("-c:v", arguments) == "libx264"
    assert after("-bf", arguments) == "0"
    assert after("-pix_fmt", arguments) == "yuv420p"
    assert after("-c:a", arguments) == "libopus"
    *_, muxer, url = arguments
    assert muxer == after("-f", arguments) == "whip"
    assert urlsplit(url).path == "/whip/cam"
    async with running() as server:
        assert await routed(server, url)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("page", FFMPEG)
async def test_the_ffmpeg_command_publishes(page: str, tmp_path: Path) -> None:
    program = ffmpeg()
    if program is None:
        pytest.skip(
            "no FFmpeg here has a whip muxer: pip install 'imageio-ffmpeg>=0.8'"
        )
    (arguments,) = shown(page, "ffmpeg")
    clip = tmp_path / after("-i", arguments)
    await asyncio.to_thread(write_clip, clip)
    async with running() as server, viewer_of(server) as viewer:
        command = [program, *(here(server, argument) for argument in arguments)]
        async with started(*command, folder=tmp_path):
            await arrives(viewer)


def write_clip(path: Path) -> None:
    """A file with a picture and a tone, made by the FFmpeg that is here."""
    program = ffmpeg()
    assert program is not None
    sources = ("testsrc2=size=320x240:rate=30", "sine")
    inputs = [part for source in sources for part in ("-f", "lavfi", "-i", source)]
    subprocess.run(
        [
            program,
            "-loglevel",
            "error",
            *inputs,
            "-t",
            "30",
            "-threads",
            "1",
            str(path),
        ],
        check=True,
    )


async def test_the_gstreamer_commands_name_the_endpoints_of_a_stream() -> None:
    (publish,) = shown(PUBLISH, "gst-launch-1.0")
    (play,) = shown(PLAY, "gst-launch-1.0")
    whip = endpoint(publish, "signaller::whip-endpoint")
    whep = endpoint(play, "signaller::whep-endpoint")
    assert urlsplit(whip).path == "/whip/cam"
    assert urlsplit(whep).path == "/whep/cam"
    async with running() as server:
        assert await routed(server, whip)
        assert await routed(server, whep)


@pytest.mark.timeout(60)
async def test_the_gstreamer_command_publishes(tmp_path: Path) -> None:
    if not has_element("whipclientsink"):
        pytest.skip("GStreamer's whipclientsink is not here")
    (arguments,) = shown(PUBLISH, "gst-launch-1.0")
    async with running() as server:
        command = ["gst-launch-1.0", *(here(server, a) for a in arguments)]
        async with started(*command, folder=tmp_path):
            await server.until_published("cam", PATIENCE)
            streams = await server.streams()
    assert {codec["kind"] for codec in streams[0]["codecs"]} == {"audio", "video"}
