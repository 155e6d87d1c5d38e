"""Joins as they are seen in Chromium: how soon there is a picture, and how late it is.

All viewers share one page, so they share a clock; the page is answered here under the
server's own origin, so no server has to allow others, and each plays by the same script.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import statistics
from collections.abc import AsyncIterator
from types import ModuleType
from typing import TYPE_CHECKING, Any

from yarl import URL

from bench import numbered
from bench.load import Result
from bench.stream import KEY_SECONDS, Publisher
from bench.target import Endpoint, Target

if TYPE_CHECKING:
    from playwright.async_api import Page

#: Joins at random moments of the key frame interval.
JOINS = 10
#: Seconds from a POST until the new viewer is compared with an earlier one, and from there
#: until it leaves: it has seen a whole interval then.
COMPARED = 1.0
REST = 1.2
#: Seconds that a picture may take at most: a Chromium that starts on a busy machine needs many.
PATIENCE = 30.0
#: Seconds until the earlier viewer has settled, and our server may ask for a key frame again.
SETTLE = 2.0

_PAGE = "/live777py-bench"
_HTML = "<!doctype html><title>bench</title><body>"

#: `numberOf` is what a viewer's `video` shows, or null: `cell` is a cell's part of the width.
NUMBER_OF = """
window.numberOf = ({ video }, { cell, bits }) => {
  const size = Math.round(video.videoWidth * cell);
  const canvas = new OffscreenCanvas(2 * bits, 4);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(video, 0, 0, bits * size, 2 * size, 0, 0, 2 * bits, 4);
  const { data } = context.getImageData(0, 0, 2 * bits, 4);
  let number = 0;
  for (let bit = 0; bit < bits; bit += 1) {
    const [upper, lower] = [0, 2].map((row) => {
      // The mean of the four pixels that a cell has become.
      const at = [0, 1].flatMap((y) => [0, 1].map((x) => (row + y) * 2 * bits + 2 * bit + x));
      return at.reduce((sum, index) => sum + data[4 * index], 0) / at.length;
    });
    if (Math.abs(upper - lower) < 64) return null;
    if (upper > lower) number |= 1 << bit;
  }
  return number;
};
"""

#: `join` resolves with the seconds from the POST to the first painted frame, `compare` with
#: the numbers that two viewers show at the same moment.
_SCRIPT = """
window.viewers = [];

window.join = async ({ url, token, patience }) => {
  const peer = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
  const video = document.createElement("video");
  Object.assign(video, { muted: true, autoplay: true, playsInline: true, width: 320 });
  document.body.append(video);
  const viewer = { peer, video, session: null, token, posted: 0 };
  window.viewers.push(viewer);
  const painted = new Promise((resolve, reject) => {
    video.requestVideoFrameCallback(() => resolve(performance.now()));
    setTimeout(() => reject(new Error("no picture was painted")), patience * 1000);
  });
  painted.catch(() => {});
  peer.addEventListener("track", ({ track }) => {
    video.srcObject = new MediaStream([track]);
  });
  peer.addTransceiver("video", { direction: "recvonly" });
  const { sdp } = await peer.createOffer();
  const headers = { "Content-Type": "application/sdp" };
  if (token) headers.Authorization = `Bearer ${token}`;
  viewer.posted = performance.now();
  const reply = await fetch(url, { method: "POST", headers, body: sdp });
  if (reply.status !== 201) throw new Error(`${reply.status}: ${await reply.text()}`);
  viewer.session = new URL(reply.headers.get("Location"), reply.url).href;
  await peer.setLocalDescription({ type: "offer", sdp });
  await peer.setRemoteDescription({ type: "answer", sdp: await reply.text() });
  return (await painted - viewer.posted) / 1000;
};

window.compare = async ({ after, strip }) => {
  const [first, last] = [window.viewers[0], window.viewers.at(-1)];
  const wait = last.posted + after * 1000 - performance.now();
  await new Promise((resolve) => setTimeout(resolve, Math.max(0, wait)));
  await new Promise(requestAnimationFrame);
  return [first, last].map((viewer) => window.numberOf(viewer, strip));
};

window.leave = async () => {
  const { peer, video, session, token } = window.viewers.pop();
  const found = { freezes: 0, plis: 0, decoded: 0, dropped: 0 };
  for (const entry of (await peer.getStats()).values()) {
    if (entry.type === "inbound-rtp" && entry.kind === "video") {
      found.freezes = entry.freezeCount ?? 0;
      found.plis = entry.pliCount ?? 0;
      found.decoded = entry.framesDecoded ?? 0;
      found.dropped = entry.framesDropped ?? 0;
    }
  }
  peer.close();
  video.remove();
  if (session) {
    const headers = token ? { Authorization: `Bearer ${token}` } : {};
    await fetch(session, { method: "DELETE", headers }).catch(() => {});
  }
  return found;
};
"""


class Missing(Exception):
    """What a measurement needs is not installed; the message says what to do."""


async def joins(target: Target, count: int = JOINS) -> Result:
    """Joins in Chromium to a publisher that sends a key frame each two seconds and no others.

    Raises:
        Missing: there is no Chromium, or nothing to drive it with.
    """
    _browser()
    noise = random.Random(count)
    painted: list[float] = []
    behind: list[int] = []
    freezes = plis = dropped = 0
    period = await asyncio.to_thread(numbered.pictures)
    async with (
        target.running() as server,
        Publisher(server.whip(0), is_deaf=True, period=period),
        opened(server.whep(0)) as page,
    ):
        await page.join()
        await asyncio.sleep(SETTLE)
        for _ in range(count):
            await asyncio.sleep(noise.random() * KEY_SECONDS)
            painted.append(await page.join())
            first, last = await page.numbers(COMPARED)
            behind.append(numbered.distance(first, last))
            await asyncio.sleep(REST)
            statistic = await page.leave()
            freezes += statistic["freezes"]
            plis += statistic["plis"]
            dropped += statistic["dropped"]
    return {
        "painted_ms": statistics.median(painted) * 1e3,
        "painted_worst_ms": max(painted) * 1e3,
        "behind": statistics.median(behind),
        "behind_worst": float(max(behind, key=abs)),
        "freezes": float(freezes),
        "plis": float(plis),
        "dropped": float(dropped),
    }


class ViewersPage:
    """One page of Chromium with viewers of one stream; the first to join is the earlier one."""

    def __init__(self, page: Page, endpoint: Endpoint) -> None:
        self._page = page
        self._endpoint = endpoint

    async def join(self) -> float:
        """One viewer more; returns the seconds from its POST to its first painted frame."""
        join = {
            "url": self._endpoint.url,
            "token": self._endpoint.token,
            "patience": PATIENCE,
        }
        seconds: float = await self._page.evaluate("window.join", join)
        return seconds

    async def numbers(self, after: float = 0.0) -> tuple[int, int]:
        """What the first and the latest viewer show so many seconds after the latter's POST.

        Raises:
            ValueError: one of them shows no number.
        """
        strip = {"cell": float(numbered.CELL), "bits": numbered.BITS}
        shown: list[int | None] = await self._page.evaluate(
            "window.compare", {"after": after, "strip": strip}
        )
        first, last = shown
        if first is None or last is None:
            raise ValueError("what is painted is not what was published")
        return first, last

    async def leave(self) -> dict[str, int]:
        """The latest viewer goes; returns what its statistics count."""
        counts: dict[str, int] = await self._page.evaluate("window.leave")
        return counts


@contextlib.asynccontextmanager
async def opened(endpoint: Endpoint) -> AsyncIterator[ViewersPage]:
    """A page of a fresh Chromium, without a viewer yet.

    Raises:
        Missing: there is no Chromium, or nothing to drive it with.
    """
    async with _browser().browser() as context:
        page = await context.new_page()
        url = str(URL(endpoint.url).with_path(_PAGE).with_query(None))

        async def answer(route: Any) -> None:
            await route.fulfill(body=_HTML, content_type="text/html")

        await page.route(url, answer)
        await page.goto(url)
        await page.add_script_tag(content=NUMBER_OF + _SCRIPT)
        yield ViewersPage(page, endpoint)


def _browser() -> ModuleType:
    """What starts Chromium, which `make bench` does not install."""
    try:
        from tests.e2e import browser
    except ImportError:
        raise Missing("Playwright is not here: `make test` installs it") from None
    if browser.EXECUTABLE is None:
        raise Missing("Chromium is not here: `make tools` installs it")
    return browser
