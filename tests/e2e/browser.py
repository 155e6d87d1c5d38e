"""A real Chromium with a fake camera and microphone, and what tests ask of its pages.

The pages are driven and read through the DevTools protocol, which their Content Security
Policy does not bind. Whatever waits polls: how long a step takes depends on the machine.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote

from playwright.async_api import BrowserContext, Page, async_playwright

EXECUTABLE = shutil.which("chromium") or shutil.which("google-chrome")

ARGUMENTS = [
    "--no-sandbox",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--allow-loopback-in-peer-connection",
    "--autoplay-policy=no-user-gesture-required",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

#: Generous: starting an encoder on a busy machine takes seconds.
PATIENCE = 30.0

#: Keeps every peer connection of a page where a test can ask for its statistics.
RECORD_PEERS = """
window.peers = [];
window.RTCPeerConnection = class extends RTCPeerConnection {
  constructor(...options) {
    super(...options);
    this.bundlePolicy = options[0]?.bundlePolicy;
    window.peers.push(this);
  }
};
"""

#: Publishes through the pages' own WHIP module: a picture of 2 x 2 cells whose colours are
#: `window.cells`, and a tone in the left channel. The generator, unlike a canvas, also
#: delivers while its tab is hidden.
PUBLISH = """
async ({ stream, options, cells, hasVideo, hasAudio, interval, grains }) => {
  const { WhipSession } = await import("/js/whip.js");
  window.cells = cells;
  const media = new MediaStream();
  if (hasVideo) {
    const context = new OffscreenCanvas(320, 180).getContext("2d", { alpha: false });
    const track = new MediaStreamTrackGenerator({ kind: "video" });
    const writer = track.writable.getWriter();
    setInterval(() => {
      window.cells.forEach((colour, index) => {
        context.fillStyle = colour;
        context.fillRect((index % 2) * 160, Math.floor(index / 2) * 90, 160, 90);
      });
      for (let grain = 0; grain < grains; grain += 1) {
        context.fillStyle = `hsl(${Math.random() * 360} 100% 50%)`;
        context.fillRect(Math.random() * 320, Math.random() * 180, 6, 6);
      }
      const timestamp = performance.now() * 1000;
      writer.write(new VideoFrame(context.canvas, { timestamp })).catch(() => {});
    }, interval);
    media.addTrack(track);
  }
  if (hasAudio) {
    const context = new AudioContext({ sampleRate: 48000 });
    const tone = new OscillatorNode(context, { frequency: 440 });
    const left = new StereoPannerNode(context, { pan: -1 });
    const output = new MediaStreamAudioDestinationNode(context, { channelCount: 2 });
    tone.connect(left).connect(output);
    tone.start();
    media.addTrack(output.stream.getAudioTracks()[0]);
  }
  window.session = new WhipSession(`/whip/${encodeURIComponent(stream)}`, media, options);
  await window.session.start();
}
"""

#: The mean colour of the middle of each cell of the video element, or null without one.
READ_CELLS = """
() => {
  const video = document.querySelector("video");
  if (!video.videoWidth) return null;
  const context = new OffscreenCanvas(32, 32).getContext("2d", {
    willReadFrequently: true,
  });
  context.drawImage(video, 0, 0, 32, 32);
  return [[8, 8], [24, 8], [8, 24], [24, 24]].map(([x, y]) => {
    const { data } = context.getImageData(x - 2, y - 2, 4, 4);
    const sums = [0, 0, 0];
    data.forEach((value, index) => { if (index % 4 < 3) sums[index % 4] += value / 16; });
    return sums;
  });
}
"""

READ_STATISTICS = """
async () => {
  const peer = window.peers.at(-1);
  if (!peer) return {};
  const report = await peer.getStats();
  const found = { state: peer.connectionState };
  for (const entry of report.values()) {
    if (entry.type === "inbound-rtp" || entry.type === "outbound-rtp") {
      found[entry.kind] = { ...entry, mimeType: report.get(entry.codecId)?.mimeType };
    }
  }
  return found;
}
"""

#: How loud the left and the right channel of the video element are.
READ_LOUDNESS = """
async () => {
  const { srcObject } = document.querySelector("video");
  if (!srcObject?.getAudioTracks().length) return [0, 0];
  const context = new AudioContext();
  const splitter = new ChannelSplitterNode(context, { numberOfOutputs: 2 });
  new MediaStreamAudioSourceNode(context, { mediaStream: srcObject }).connect(splitter);
  const meters = [0, 1].map((channel) => {
    const meter = new AnalyserNode(context, { fftSize: 8192 });
    splitter.connect(meter, channel);
    return meter;
  });
  await new Promise((resolve) => setTimeout(resolve, 400));
  const loudness = meters.map((meter) => {
    const samples = new Float32Array(meter.fftSize);
    meter.getFloatTimeDomainData(samples);
    return Math.sqrt(samples.reduce((sum, x) => sum + x * x, 0) / samples.length);
  });
  await context.close();
  return loudness;
}
"""

T = TypeVar("T")


@asynccontextmanager
async def browser() -> AsyncIterator[BrowserContext]:
    """A fresh Chromium for the time of a `with` block; all that it opened is closed after."""
    if EXECUTABLE is None:
        raise RuntimeError("there is no Chromium: `make test` installs it")
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(
            executable_path=EXECUTABLE, args=ARGUMENTS
        )
        try:
            context = await chromium.new_context(viewport={"width": 800, "height": 500})
            await context.add_init_script(RECORD_PEERS)
            yield context
        finally:
            await chromium.close()


async def until(
    probe: Callable[[], Awaitable[T]],
    accept: Callable[[T], object],
    what: str,
    patience: float = PATIENCE,
) -> T:
    """Probe until the result is accepted, and return it.

    Raises:
        AssertionError: it never was; the message shows the last result.
    """
    deadline = time.monotonic() + patience
    while not accept(result := await probe()):
        assert time.monotonic() < deadline, f"{what}: last seen {result!r}"
        await asyncio.sleep(0.1)
    return result


@dataclass(frozen=True, slots=True)
class Reading:
    """What getStats of a page's newest peer connection says at one moment."""

    state: str
    frames: int
    width: int
    video_codec: str
    samples: int
    energy: float
    audio_codec: str


async def stats(page: Page) -> Reading:
    """Read a viewer's statistics; what it does not receive is zero or empty."""
    found: dict[str, Any] = await page.evaluate(READ_STATISTICS)
    video, audio = found.get("video", {}), found.get("audio", {})
    return Reading(
        state=found.get("state", ""),
        frames=video.get("framesDecoded", 0),
        width=video.get("frameWidth", 0),
        video_codec=video.get("mimeType") or "",
        samples=audio.get("totalSamplesReceived", 0),
        energy=audio.get("totalAudioEnergy", 0.0),
        audio_codec=audio.get("mimeType") or "",
    )


async def growing_video(page: Page, frames: int = 10) -> Reading:
    """Wait until so many more frames have been decoded."""
    first = await stats(page)
    return await until(
        lambda: stats(page),
        lambda reading: reading.frames >= first.frames + frames,
        "frames decoded",
    )


async def growing_audio(page: Page) -> Reading:
    """Wait for half a second more of sound that is not silence."""
    first = await stats(page)
    return await until(
        lambda: stats(page),
        lambda reading: (
            reading.samples >= first.samples + 24_000 and reading.energy > first.energy
        ),
        "audio samples received",
    )


async def publish(
    page: Page,
    url: str,
    stream: str = "cam",
    *,
    cells: Sequence[str] = ("red", "lime", "blue", "white"),
    video_codec: str | None = "VP8",
    video: bool = True,
    audio: bool = True,
    interval: int = 66,
    grains: int = 0,
) -> None:
    """Publish coloured cells and a tone from a page, and wait until it is connected.

    Args:
        page: where; it is taken to a page of the server.
        url: the server's.
        stream: the name to publish to.
        cells: CSS colours of the four cells; `window.cells` changes them later.
        video_codec: the only one to offer.
        video: whether there is a picture.
        audio: whether there is a tone.
        interval: between two pictures, in milliseconds.
        grains: dots of any colour in any place of each picture, which make it many packets.
    """
    await page.goto(f"{url}/tools/player.html")
    await page.evaluate(
        PUBLISH,
        {
            "stream": stream,
            "options": {"videoCodec": video_codec, "audioCodec": "opus"},
            "cells": list(cells),
            "hasVideo": video,
            "hasAudio": audio,
            "interval": interval,
            "grains": grains,
        },
    )
    await connected(page)


async def connected(page: Page) -> None:
    """Wait until the newest peer connection of the page is connected."""
    await until(
        lambda: stats(page), lambda reading: reading.state == "connected", "connection"
    )


async def play(page: Page, url: str, stream: str = "cam") -> None:
    """Open the player page."""
    await page.goto(f"{url}/tools/player.html?id={quote(stream, safe='')}&autoplay")


async def picture(page: Page) -> tuple[str, ...] | None:
    """The four cells that the page shows, each as its nearest of the eight pure colours.

    Codecs move colours a little, and players a little more; a channel that was full stays
    on the upper half.
    """
    cells: list[list[float]] | None = await page.evaluate(READ_CELLS)
    if cells is None:
        return None
    return tuple(PURE[tuple(value > 127 for value in cell)] for cell in cells)


#: CSS names by which of red, green and blue are on.
PURE: dict[tuple[bool, ...], str] = {
    (False, False, False): "black",
    (False, False, True): "blue",
    (False, True, False): "lime",
    (False, True, True): "cyan",
    (True, False, False): "red",
    (True, False, True): "magenta",
    (True, True, False): "yellow",
    (True, True, True): "white",
}


async def shows(page: Page, cells: Sequence[str]) -> None:
    """Wait until the page shows these colours."""
    await until(lambda: picture(page), lambda seen: seen == tuple(cells), "picture")


async def says(page: Page, selector: str, text: str) -> None:
    """Wait until an element is visible and its text contains this."""

    async def read() -> str:
        element = page.locator(selector)
        return await element.inner_text() if await element.is_visible() else ""

    await until(read, lambda seen: text in seen, f"{selector} says {text!r}")


async def loudness(page: Page) -> tuple[float, float]:
    """How loud the left and the right channel are that the page plays."""
    left, right = await page.evaluate(READ_LOUDNESS)
    return left, right
