"""Clean-ups that a cancellation must not interrupt."""

from __future__ import annotations

import asyncio
import logging

import pytest

from live777py.aio.finish import finish


async def add(a: int, b: int) -> int:
    await asyncio.sleep(0)
    return a + b


async def fail() -> None:
    await asyncio.sleep(0)
    raise ValueError("broken")


class CleanUp:
    """A clean-up that waits in the middle until it is let go."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.gate = asyncio.Event()
        self.ended = False

    async def run(self) -> None:
        self.begun.set()
        await self.gate.wait()
        self.ended = True

    async def run_and_fail(self) -> None:
        await self.run()
        raise ValueError("broken")


async def test_the_result_is_returned() -> None:
    assert await finish(add, 1, 2) == 3


async def test_an_error_is_raised() -> None:
    with pytest.raises(ValueError, match="broken"):
        await finish(fail)


async def test_a_cancelled_caller_waits_for_the_end_and_is_cancelled_then() -> None:
    clean_up = CleanUp()
    caller = asyncio.create_task(finish(clean_up.run))
    await clean_up.begun.wait()
    caller.cancel()
    await asyncio.sleep(0)
    caller.cancel("again")
    await asyncio.sleep(0)
    assert not caller.done()
    clean_up.gate.set()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert clean_up.ended


async def test_a_cancellation_that_came_before_does_not_prevent_the_clean_up() -> None:
    clean_up = CleanUp()
    clean_up.gate.set()

    async def cancelled_at_once() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await finish(clean_up.run)

    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(cancelled_at_once())
    assert clean_up.ended


async def test_a_timeout_around_it_still_counts_as_a_timeout() -> None:
    clean_up = CleanUp()
    asyncio.get_running_loop().call_later(0.02, clean_up.gate.set)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await finish(clean_up.run)
    assert clean_up.ended


async def test_the_cancellation_wins_over_an_error_which_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clean_up = CleanUp()
    caller = asyncio.create_task(finish(clean_up.run_and_fail))
    await clean_up.begun.wait()
    caller.cancel()
    await asyncio.sleep(0)
    clean_up.gate.set()
    with pytest.raises(asyncio.CancelledError):
        await caller
    [record] = caplog.records
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ValueError)


async def test_a_clean_up_that_cancels_itself_is_a_cancellation() -> None:
    async def cancel_myself() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await finish(cancel_myself)


async def test_a_cancelled_caller_of_a_cancelled_clean_up_is_cancelled() -> None:
    clean_up = CleanUp()

    async def wait_and_cancel_myself() -> None:
        await clean_up.run()
        raise asyncio.CancelledError

    caller = asyncio.create_task(finish(wait_and_cancel_myself))
    await clean_up.begun.wait()
    caller.cancel()
    await asyncio.sleep(0)
    clean_up.gate.set()
    with pytest.raises(asyncio.CancelledError):
        await caller


async def test_a_cancelled_caller_may_wait_for_a_while_only() -> None:
    clean_up = CleanUp()

    async def wait() -> None:
        await finish(clean_up.run, grace=0.02)

    caller = asyncio.create_task(wait())
    await clean_up.begun.wait()
    caller.cancel()
    await asyncio.sleep(0)
    # Being asked again gives it no more time.
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert not clean_up.ended


async def test_what_ends_in_time_is_not_cut_short() -> None:
    clean_up = CleanUp()

    async def wait() -> None:
        await finish(clean_up.run, grace=30)

    caller = asyncio.create_task(wait())
    await clean_up.begun.wait()
    caller.cancel()
    await asyncio.sleep(0)
    clean_up.gate.set()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert clean_up.ended
