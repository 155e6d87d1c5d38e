from __future__ import annotations

import asyncio

import pytest

from live777py.core.held import HeldRequests
from live777py.core.lineage import Node, check, encode
from live777py.core.stream import Stream, StreamPolicy, stream_name
from live777py.errors import Loop, NotPublished
from tests.core.fakes import FakeRelay, caught

HERE, ONE, TWO = (Node(name).entry("cam") for name in ("here", "x", "y"))


async def test_whoever_is_asked_is_told_for_whom_a_stream_is() -> None:
    stream = Stream(stream_name("cam"), FakeRelay(), StreamPolicy(), entry=HERE)
    held = stream.held
    found = asyncio.Event()

    async def finds() -> None:
        await found.wait()

    async with asyncio.TaskGroup() as group:
        for path in ((ONE, TWO), (TWO,), ()):
            group.create_task(held.hold(path, finds()))
        await asyncio.sleep(0)
        assert held.path == (ONE, TWO, TWO)
        assert list(stream.downstream) == [HERE, ONE, TWO]
        found.set()
    assert len(stream.downstream) == 1


async def test_one_through_which_a_loop_leads_is_refused_and_no_other() -> None:
    held = HeldRequests()
    found = asyncio.Event()

    async def finds() -> None:
        await found.wait()

    async with asyncio.TaskGroup() as group:
        refused = group.create_task(caught(held.hold((ONE,), finds())))
        other = group.create_task(caught(held.hold((TWO,), finds())))
        await asyncio.sleep(0)
        with pytest.raises(Loop) as loop:
            check((ONE,), (HERE, *held.path))
        assert not held.refuse()
        held.suspect(loop.value)
        # Somebody else may have it.
        assert list(held.path) == [ONE, TWO]
        assert held.refuse()
        assert list(held.path) == [TWO]
        assert len(held) == 1
        error = await refused
        assert isinstance(error, Loop)
        assert error is not loop.value
        assert str(error) == str(loop.value)
        assert not other.done()
        found.set()
    assert other.result() is None


async def test_one_that_was_suspected_gets_what_another_has() -> None:
    held = HeldRequests()
    found = asyncio.get_running_loop().create_future()
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(caught(held.hold((ONE,), found)))
        await asyncio.sleep(0)
        held.suspect(Loop("x/cam → x/cam", encode((ONE, ONE))))
        found.set_result(None)
    assert waiting.result() is None


async def test_what_is_held_may_fail_for_other_reasons() -> None:
    held = HeldRequests()

    async def fails(error: Exception) -> None:
        raise error

    for error in (NotPublished("cam"), TimeoutError("its own")):
        assert await caught(held.hold((ONE,), fails(error))) is error
    assert held.path == ()
