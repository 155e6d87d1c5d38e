"""What a page of Chromium paints of numbered pictures: which ones, and when."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from playwright.async_api import Page

from bench.chromium import NUMBER_OF
from tests.e2e import browser as chromium
from tests.support.numbered import STRIP

#: Keeps the number of every frame that the page's video element paints from now on.
_RECORD = """
(strip) => {
  const video = document.querySelector("video");
  window.painted = [];
  const look = () => {
    window.painted.push([window.numberOf({ video }, strip), Date.now() / 1000]);
    video.requestVideoFrameCallback(look);
  };
  video.requestVideoFrameCallback(look);
}
"""


@dataclass(frozen=True, slots=True)
class Painted:
    """One frame.

    Attributes:
        number: that it shows.
        at: seconds of the wall clock when it was painted.
    """

    number: int
    at: float


class Painting:
    """The player page of a stream, and what it has painted."""

    def __init__(self, page: Page) -> None:
        self.page = page

    @classmethod
    async def of(cls, page: Page, url: str, stream: str = "cam") -> Painting:
        """Open the player page of a node and keep what it paints."""
        await chromium.play(page, url, stream)
        await page.evaluate(f"() => {{ {NUMBER_OF} }}")
        await page.evaluate(_RECORD, STRIP)
        return cls(page)

    async def frames(self) -> list[Painted]:
        """All so far, in the order in which they were painted, each once.

        Where Chromium catches up, the next picture may be there before the page is told of one.

        Raises:
            AssertionError: one of them shows no number.
        """
        found = await self.page.evaluate("window.painted")
        assert all(number is not None for number, _ in found), found
        frames: list[Painted] = []
        for number, at in found:
            if not frames or frames[-1].number != number:
                frames.append(Painted(number, at))
        return frames

    async def shows(
        self, first: int, count: int, patience: float = chromium.PATIENCE
    ) -> list[Painted]:
        """Wait until so many frames with numbers from this one on are painted; those.

        Raises:
            AssertionError: they do not come; or they, or others before them, not in their order.
        """

        async def read() -> list[Painted]:
            return [frame for frame in await self.frames() if frame.number >= first]

        found = await chromium.until(
            read, lambda frames: len(frames) >= count, f"{count} pictures", patience
        )
        # Also what an upstream that was found again has kept is not painted a second time.
        numbers = [frame.number for frame in await self.frames()]
        assert all(earlier < later for earlier, later in pairwise(numbers)), numbers
        return found

    async def is_the_same(self) -> None:
        """Check that the page was not loaded anew, and made no second connection."""
        states = await self.page.evaluate("window.peers.map((p) => p.connectionState)")
        assert states == ["connected"]
