"""Two streams side by side in Chromium, one of them through a network that loses packets."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from playwright.async_api import Page, Route

from tests.e2e import browser as chromium
from tests.support.link import Conditions, GilbertElliott, Link

CLEAR = Conditions(delay=0.01)
AT_RANDOM = Conditions(delay=0.01, loss=0.05)
IN_BURSTS = Conditions(delay=0.01, loss=GilbertElliott(0.02, 0.38))

#: Whose path loses packets.
End: TypeAlias = Literal["publisher", "viewer"]

#: Plays several streams in one page, so that all of them suffer alike when the machine is busy.
PLAY = """
async (streams) => {
  const { WhepSession } = await import("/js/whep.js");
  window.sessions = [];
  for (const stream of streams) {
    const session = new WhepSession(`/whep/${stream}`);
    const video = document.createElement("video");
    video.muted = video.autoplay = true;
    video.srcObject = session.stream;
    document.body.append(video);
    window.sessions.push(session);
    await session.start();
  }
}
"""

#: Of each peer connection of the page the statistics of its picture, or null.
READ_PICTURES = """
async () => Promise.all(
  window.peers.map(async (peer) => {
    const entries = [...(await peer.getStats()).values()];
    return entries.find(
      ({ type, kind }) => /^(in|out)bound-rtp$/.test(type) && kind === "video",
    ) ?? null;
  }),
)
"""


class Path:
    """One stream with its publisher's link and its viewer's, both clear at first."""

    def __init__(self, stream: str) -> None:
        self.stream = stream
        self.up = Link(up=CLEAR, down=CLEAR, seed=1)
        self.down = Link(up=CLEAR, down=CLEAR, seed=2)

    def impair(self, end: End, how: Conditions) -> None:
        """Make one path as bad in one direction as in the other."""
        link = self.up if end == "publisher" else self.down
        link.impair("up", how)
        link.impair("down", how)

    @property
    def lost(self) -> int:
        """Datagrams that did not arrive."""
        return sum(
            d.lost for link in (self.up, self.down) for d in (link.up, link.down)
        )


async def lead_through(page: Page, protocol: str, stream: str, link: Link) -> None:
    """Let the media of a page's sessions of a stream go through a link."""

    async def answer(route: Route) -> None:
        response = await route.fetch()
        body = await response.text()
        if response.status == 201:
            body = link.rewrite(body)
        await route.fulfill(response=response, body=body)

    await page.route(f"**/{protocol}/{stream}", answer)


@dataclass(frozen=True, slots=True)
class Run:
    """How a viewer fared while its publisher encoded `encoded` frames.

    Whole frames that came are counted, not those decoded: a busy machine is late with these.
    """

    encoded: int
    received: int
    freezes: int
    lost: int


async def pictures(page: Page) -> list[dict[str, Any]]:
    """What the page's peer connections say of their pictures."""
    found: list[dict[str, Any] | None] = await page.evaluate(READ_PICTURES)
    return [entry or {} for entry in found]


async def compare(
    url: str, end: End, codec: str, how: Conditions, frames: int
) -> tuple[Run, Run]:
    """How the viewers of two streams fare, of which one loses packets at one end.

    Args:
        url: of the server; its only candidate is on loopback.
        end: whose path loses packets.
        codec: of both streams.
        how: what the path of the second does.
        frames: how long: until so many have been encoded.

    Returns:
        The clear stream's, and the impaired one's.
    """
    paths = Path("clear"), Path("impaired")
    async with AsyncExitStack() as stack:
        for path in paths:
            await stack.enter_async_context(path.up)
            await stack.enter_async_context(path.down)
        context = await stack.enter_async_context(chromium.browser())
        publishers = [
            await publisher(await context.new_page(), url, path, codec)
            for path in paths
        ]
        viewer = await context.new_page()
        for path in paths:
            await lead_through(viewer, "whep", path.stream, path.down)
        await viewer.goto(f"{url}/tools/player.html")
        await viewer.evaluate(PLAY, [path.stream for path in paths])
        await receiving(viewer, 30)

        paths[1].impair(end, how)
        began = [(await pictures(page))[0] for page in publishers]
        seen = await pictures(viewer)
        enough = began[0]["framesEncoded"] + frames
        await chromium.until(
            lambda: pictures(publishers[0]),
            lambda now: now[0]["framesEncoded"] >= enough,
            "frames encoded",
            90,
        )
        ended = [(await pictures(page))[0] for page in publishers]
        # What is under way arrives, or is sent again.
        await asyncio.sleep(0.5)
        after = await pictures(viewer)
        clear, impaired = (
            Run(
                encoded=ended[i]["framesEncoded"] - began[i]["framesEncoded"],
                received=after[i]["framesReceived"] - seen[i]["framesReceived"],
                freezes=after[i]["freezeCount"] - seen[i]["freezeCount"],
                lost=path.lost,
            )
            for i, path in enumerate(paths)
        )
        return clear, impaired


async def publisher(page: Page, url: str, path: Path, codec: str) -> Page:
    """Publish a path's stream from a page.

    Thirty pictures a second of several packets, as cameras and encoders make them: of a stream
    with one packet a picture a loss shows only when the next picture comes.
    """
    await lead_through(page, "whip", path.stream, path.up)
    await chromium.publish(
        page, url, path.stream, video_codec=codec, interval=33, grains=150
    )
    return page


async def receiving(page: Page, frames: int) -> None:
    """Wait until every picture of a page has so many frames."""
    await chromium.until(
        lambda: pictures(page),
        lambda found: all(entry.get("framesReceived", 0) >= frames for entry in found),
        "frames received",
    )
