"""A real Chromium raises its bitrate, since it is told when its packets arrive."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from playwright.async_api import Page

from tests.e2e import browser as chromium
from tests.support.server import running

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(120),
]

#: What Chromium allows itself before it knows its path.
BEGINNING = 300_000
RAMPED_UP = 1_000_000

#: Publishes the fake camera, large enough for an encoder that wants more than 1 Mbit/s.
PUBLISH_CAMERA = """
async ({ withTransportFeedback }) => {
  const { WhipSession } = await import("/js/whip.js");
  if (!withTransportFeedback) {
    const { fetch } = window;
    window.fetch = (url, options = {}) => {
      if (typeof options.body === "string") {
        options.body = options.body.replace(/^a=rtcp-fb:\\d+ transport-cc\\r\\n/gm, "");
      }
      return fetch(url, options);
    };
  }
  const video = { width: 1280, height: 720, frameRate: 30 };
  const media = await navigator.mediaDevices.getUserMedia({ video });
  window.session = new WhipSession("/whip/cam", media, { videoCodec: "VP8" });
  await window.session.start();
}
"""

READ_BITRATES = """
async () => {
  const found = { available: 0, target: 0, packets: 0, answer: "" };
  for (const entry of (await window.peers.at(-1).getStats()).values()) {
    if (entry.type === "candidate-pair") {
      found.available = Math.max(found.available, entry.availableOutgoingBitrate ?? 0);
    } else if (entry.type === "outbound-rtp") {
      found.target = entry.targetBitrate ?? 0;
      found.packets = entry.packetsSent;
    }
  }
  found.answer = window.peers.at(-1).remoteDescription?.sdp ?? "";
  return found;
}
"""


@dataclass(frozen=True, slots=True)
class Bitrates:
    """What a sending Chromium thinks of its path, in bit/s."""

    available: float
    target: float
    packets: int
    answer: str


async def bitrates(page: Page) -> Bitrates:
    """Read them."""
    found: dict[str, Any] = await page.evaluate(READ_BITRATES)
    return Bitrates(**found)


async def publish_camera(
    page: Page, url: str, *, with_transport_feedback: bool
) -> None:
    """Publish the fake camera, and wait until it is connected."""
    await page.goto(f"{url}/tools/player.html")
    await page.evaluate(
        PUBLISH_CAMERA, {"withTransportFeedback": with_transport_feedback}
    )
    await chromium.connected(page)


async def test_a_publisher_ramps_up() -> None:
    async with running() as server, chromium.browser() as context:
        page = await context.new_page()
        await publish_camera(page, server.url, with_transport_feedback=True)

        reading = await chromium.until(
            lambda: bitrates(page),
            # What the encoder then aims at depends on the machine, too.
            lambda seen: seen.available > RAMPED_UP and seen.target > BEGINNING,
            "bitrates",
        )

    assert "transport-cc" in reading.answer
    assert "goog-remb" not in reading.answer


async def test_a_publisher_without_transport_feedback_gets_remb_and_sends() -> None:
    async with running() as server, chromium.browser() as context:
        page = await context.new_page()
        await publish_camera(page, server.url, with_transport_feedback=False)

        reading = await chromium.until(
            lambda: bitrates(page),
            lambda seen: seen.packets > 100 and seen.available > BEGINNING,
            "bitrates",
        )

    assert "goog-remb" in reading.answer
    assert "transport-cc" not in reading.answer
