from __future__ import annotations

import asyncio

import pytest

from live777py.core.demand import Demand
from live777py.core.model import Role
from live777py.core.stream import Stream, StreamPolicy, stream_name
from tests.core.fakes import OPUS, FakeRelay, settle


class Watched:
    """A demand for a stream that carries something, and whether it has ended."""

    def __init__(self, close_after: float | None) -> None:
        self.relay = FakeRelay()
        self.relay.codecs = {"audio": OPUS}
        self.stream = Stream(stream_name("cam"), self.relay, StreamPolicy())
        self.closed = asyncio.Event()
        self.demand = Demand(self.stream, close_after, self.closed.set)


async def test_without_a_limit_it_is_always_there() -> None:
    watched = Watched(None)
    assert watched.demand.is_wanted


async def test_it_ends_a_while_after_the_last_viewer_has_left() -> None:
    watched = Watched(0.001)
    demand, stream = watched.demand, watched.stream
    assert not demand.is_wanted
    viewer = stream.attach(Role.SUBSCRIBE)
    demand.watch()
    assert demand.is_wanted
    stream.detach(viewer)
    demand.watch()
    assert demand.is_wanted
    assert demand.is_about_to_end
    await asyncio.wait_for(watched.closed.wait(), 5)
    assert not demand.is_wanted
    assert not demand.is_about_to_end


@pytest.mark.parametrize("returns", [True, False])
async def test_it_goes_on_when_another_comes_in_time_or_nobody_counts(
    returns: bool,
) -> None:
    watched = Watched(3600.0)
    demand = watched.demand
    with demand.guest():
        demand.watch()
        assert demand.is_wanted
    demand.watch()
    assert demand.is_about_to_end
    if returns:
        with demand.guest():
            demand.watch()
    else:
        demand.cancel()
    assert not demand.is_about_to_end
    assert demand.is_wanted
    assert not watched.closed.is_set()


@pytest.mark.parametrize("close_after", [0.0, 3600.0])
async def test_it_ends_at_once_where_the_next_viewer_could_have_nothing(
    close_after: float,
) -> None:
    watched = Watched(close_after)
    if close_after:
        watched.relay.codecs = {}
    with watched.demand.guest():
        watched.demand.watch()
    watched.demand.watch()
    assert watched.closed.is_set()


async def test_whoever_waits_for_it_is_told() -> None:
    watched = Watched(1.0)
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        waiting = group.create_task(watched.demand.come())
        await settle()
        assert not waiting.done()
        with watched.demand.guest():
            watched.demand.watch()
            await waiting
        again = group.create_task(watched.demand.come())
        await settle()
        watched.demand.release()
        await again
    watched.demand.cancel()
