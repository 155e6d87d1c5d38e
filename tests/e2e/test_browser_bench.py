"""What `python -m bench --only chromium` measures with shows what was published."""

from __future__ import annotations

import asyncio

import pytest

from bench import chromium, numbered
from bench.__main__ import Bench
from bench.stream import Publisher
from bench.table import FIGURES
from bench.target import Endpoint, Peer
from tests.e2e import browser
from tests.support.server import running

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]


async def settles_at(page: chromium.ViewersPage, number: int, patience: float) -> bool:
    """Whether both viewers come to show this number."""
    try:
        await browser.until(
            page.numbers, lambda shown: shown == (number, number), "number", patience
        )
    except AssertionError:
        return False
    return True


async def test_viewers_in_chromium_show_the_number_that_was_published_last() -> None:
    period = await asyncio.to_thread(numbered.pictures)
    async with (
        running() as server,
        Publisher(
            Endpoint(f"{server.url}/whip/cam"), is_deaf=True, period=period
        ) as publisher,
        chromium.opened(Endpoint(f"{server.url}/whep/cam")) as page,
    ):
        assert await page.join() > 0
        assert await page.join() > 0
        is_shown = False
        for patience in (5, 5, browser.PATIENCE):
            await publisher.pause()
            latest = (publisher.pictures - 1) % numbered.PICTURES
            if is_shown := await settles_at(page, latest, patience):
                break
            # On a busy machine Chromium passes over a picture that is late, and none comes
            # behind the last one.
            publisher.resume()
        assert is_shown
        counts = await page.leave()
    assert counts["decoded"] > 0


async def test_a_join_in_chromium_has_every_figure_of_its_row() -> None:
    async with running() as server:
        url = server.url
        peer = Peer("ours", f"{url}/whip/{{n}}", f"{url}/whep/{{n}}", pid=0)
        result = await chromium.joins(peer, count=1)
    assert result.keys() == {figure.key for figure in FIGURES["chromium"]}
    assert result["painted_ms"] == result["painted_worst_ms"] > 0


async def test_without_chromium_its_row_is_left_out_with_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(browser, "EXECUTABLE", None)
    peer = Peer("ours", "http://localhost/{n}", "http://localhost/{n}", pid=0)
    bench = Bench([peer, peer])
    await bench.run(["chromium"], runs=2, limit=60)
    assert bench.faults == []
    assert bench.results == {}
    assert bench.missing == {
        "chromium": "Chromium is not here: `make tools` installs it"
    }


@pytest.mark.parametrize(
    ("earlier", "later", "pictures"),
    [(7, 7, 0), (9, 7, 2), (7, 9, -2), (1, 239, 2), (239, 1, -2)],
)
def test_the_distance_goes_round_with_the_numbers(
    earlier: int, later: int, pictures: int
) -> None:
    assert numbered.distance(earlier, later) == pictures
