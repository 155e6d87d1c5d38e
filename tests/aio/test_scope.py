"""Tasks that have one owner and do not share their fate."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from live777py.aio.scope import TaskScope
from live777py.errors import ShuttingDown, StreamNotFound


async def forever(log: list[str], name: str = "task") -> None:
    log.append(f"{name} begins")
    try:
        await asyncio.Event().wait()
    finally:
        log.append(f"{name} ends")


async def fail() -> None:
    raise ValueError("broken")


async def serve(started: Callable[[str], None], log: list[str], value: str) -> None:
    """A well-behaved task: sets up, hands over, lives on."""
    log.append("set up")
    await asyncio.sleep(0)
    started(value)
    await forever(log)


async def test_leaving_the_scope_cancels_and_awaits_what_is_left() -> None:
    log: list[str] = []
    async with TaskScope() as scope:
        scope.spawn(forever, log, "one")
        scope.spawn(forever, log, "two")
        await asyncio.sleep(0)
        assert log == ["one begins", "two begins"]
    assert sorted(log[2:]) == ["one ends", "two ends"]


async def test_a_task_cancelled_before_its_first_step_leaves_no_warning() -> None:
    log: list[str] = []
    async with TaskScope() as scope:
        scope.spawn(forever, log)
    assert log == []


async def test_a_failing_task_is_logged_and_its_siblings_carry_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log: list[str] = []
    async with TaskScope() as scope:
        scope.spawn(forever, log)
        scope.spawn(fail)
        for _ in range(3):
            await asyncio.sleep(0)
        assert log == ["task begins"]
    assert [record.getMessage() for record in caplog.records] == ["fail failed"]
    assert log == ["task begins", "task ends"]


async def test_an_error_of_the_body_comes_out_as_it_is() -> None:
    log: list[str] = []

    async def own() -> None:
        async with TaskScope() as scope:
            scope.spawn(forever, log)
            await asyncio.sleep(0)
            raise StreamNotFound("cam")

    with pytest.raises(StreamNotFound):
        await own()
    assert log == ["task begins", "task ends"]


async def test_cancelling_the_owner_ends_its_tasks() -> None:
    log: list[str] = []

    async def own() -> None:
        async with TaskScope() as scope:
            scope.spawn(forever, log)
            await asyncio.Event().wait()

    owner = asyncio.create_task(own())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    owner.cancel()
    with pytest.raises(asyncio.CancelledError):
        await owner
    assert log == ["task begins", "task ends"]


async def test_a_task_may_spawn_another() -> None:
    log: list[str] = []
    async with TaskScope() as scope:

        async def parent() -> None:
            scope.spawn(forever, log)

        scope.spawn(parent)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert log == ["task begins"]


async def test_nothing_can_be_added_outside_the_block() -> None:
    scope = TaskScope()
    with pytest.raises(ShuttingDown):
        scope.spawn(fail)
    async with scope:
        pass
    with pytest.raises(ShuttingDown):
        scope.spawn(fail)
    with pytest.raises(ShuttingDown):
        await scope.start(serve, [], "value")


async def test_nothing_can_be_added_while_the_scope_closes() -> None:
    refused: list[Exception] = []
    async with TaskScope() as scope:

        async def spawn_at_the_end() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                try:
                    scope.spawn(fail)
                except ShuttingDown as error:
                    refused.append(error)

        scope.spawn(spawn_at_the_end)
        await asyncio.sleep(0)
    assert len(refused) == 1


async def test_a_second_cancellation_interrupts_a_clean_up_that_hangs() -> None:
    hangs = asyncio.Event()

    async def hang_at_the_end() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            hangs.set()
            await asyncio.Event().wait()

    async def own() -> None:
        async with TaskScope() as scope:
            scope.spawn(hang_at_the_end)
            await asyncio.sleep(0)

    owner = asyncio.create_task(own())
    await hangs.wait()
    owner.cancel()
    with pytest.raises(asyncio.CancelledError):
        await owner


async def test_start_returns_what_the_task_hands_over_and_the_task_lives_on() -> None:
    log: list[str] = []
    async with TaskScope() as scope:
        assert await scope.start(serve, log, "answer") == "answer"
        await asyncio.sleep(0)
        assert log == ["set up", "task begins"]
    assert log == ["set up", "task begins", "task ends"]


async def test_an_error_before_the_start_is_raised_in_the_caller_only(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def refuse(started: Callable[[str], None]) -> None:
        raise StreamNotFound("cam")

    async with TaskScope() as scope:
        with pytest.raises(StreamNotFound):
            await scope.start(refuse)
    assert caplog.records == []


async def test_an_error_after_the_start_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def break_down(started: Callable[[int], None]) -> None:
        started(1)
        await fail()

    async with TaskScope() as scope:
        assert await scope.start(break_down) == 1
        await asyncio.sleep(0)
    [record] = caplog.records
    assert record.getMessage().endswith("break_down failed")


async def test_a_task_that_ends_without_having_started_is_an_error() -> None:
    async def forget(started: Callable[[int], None]) -> None:
        await asyncio.sleep(0)

    async with TaskScope() as scope:
        with pytest.raises(RuntimeError, match="forget ended without having started"):
            await scope.start(forget)


async def test_a_task_may_end_right_after_it_has_started() -> None:
    async def end_at_once(started: Callable[[int], None]) -> None:
        started(1)

    async with TaskScope() as scope:
        assert await scope.start(end_at_once) == 1


async def test_starting_twice_is_an_error(caplog: pytest.LogCaptureFixture) -> None:
    async def start_twice(started: Callable[[int], None]) -> None:
        started(1)
        started(2)

    async with TaskScope() as scope:
        assert await scope.start(start_twice) == 1
    [record] = caplog.records
    assert record.exc_info is not None
    assert "once only" in str(record.exc_info[1])


async def test_cancelling_the_caller_before_the_start_ends_the_task_first() -> None:
    log: list[str] = []

    async def slow(started: Callable[[int], None]) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            started(1)  # of no effect: nobody waits for it
            log.append("cleaned up")

    async with TaskScope() as scope:
        caller = asyncio.create_task(scope.start(slow))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        assert log == ["cleaned up"]


async def test_a_caller_cancelled_in_the_moment_of_the_start_leaves_nothing() -> None:
    log: list[str] = []
    async with TaskScope() as scope:
        caller: asyncio.Task[int]

        async def start_and_cancel(started: Callable[[int], None]) -> None:
            started(1)
            caller.cancel()
            await forever(log)

        caller = asyncio.create_task(scope.start(start_and_cancel))
        with pytest.raises(asyncio.CancelledError):
            await caller
        assert log == ["task begins", "task ends"]


async def test_an_error_in_the_moment_of_a_cancellation_leaves_no_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with TaskScope() as scope:
        caller: asyncio.Task[int]

        async def fail_and_cancel(started: Callable[[int], None]) -> None:
            asyncio.get_running_loop().call_soon(caller.cancel)
            raise ValueError("broken")

        caller = asyncio.create_task(scope.start(fail_and_cancel))
        with pytest.raises((asyncio.CancelledError, ValueError)):
            await caller
    assert caplog.records == []


async def test_a_scope_that_closes_tells_callers_who_wait_for_a_start() -> None:
    async def slow(started: Callable[[int], None]) -> None:
        await asyncio.Event().wait()

    async with TaskScope() as scope:
        begun = asyncio.create_task(scope.start(slow))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        not_begun = asyncio.create_task(scope.start(slow))
        await asyncio.sleep(0)
    for caller in (begun, not_begun):
        with pytest.raises(ShuttingDown):
            await caller
