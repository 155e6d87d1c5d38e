"""Lines: in order within one, none holds up another, and all share one bound."""

from __future__ import annotations

import asyncio

from live777py.clients.lines import Lines


async def take_all(lines: Lines[str, int]) -> list[tuple[str, int]]:
    """Everything in the order in which one worker gets it."""
    taken = []
    while len(lines):
        line = await lines.take()
        taken.append((line.key, line.head))
        lines.done(line)
    return taken


async def test_a_line_keeps_its_order_and_lines_take_turns() -> None:
    lines: Lines[str, int] = Lines(10)
    for number in (1, 2, 3):
        assert lines.put("a", number) is None
    lines.put("b", 4)
    assert await take_all(lines) == [("a", 1), ("b", 4), ("a", 2), ("a", 3)]


async def test_nobody_gets_a_line_that_is_under_way() -> None:
    lines: Lines[str, int] = Lines(10)
    lines.put("a", 1)
    lines.put("a", 2)
    first = await lines.take()
    lines.put("b", 3)
    assert (await lines.take()).key == "b"
    async with asyncio.TaskGroup() as group:
        third = group.create_task(lines.take())
        await asyncio.sleep(0)
        assert not third.done()
        lines.done(first)
    assert third.result().head == 2


async def test_a_postponed_line_comes_back_with_the_same_head() -> None:
    lines: Lines[str, int] = Lines(10)
    lines.put("a", 1)
    line = await lines.take()
    lines.put("a", 2)
    lines.put("b", 3)
    lines.postpone(line, 0.01)
    other = await lines.take()
    assert other.key == "b"
    lines.done(other)
    assert await take_all(lines) == [("a", 1), ("a", 2)]


async def test_the_oldest_goes_for_a_new_one() -> None:
    lines: Lines[str, int] = Lines(2)
    lines.put("a", 1)
    lines.put("b", 2)
    assert lines.put("c", 3) == 1
    assert lines.put("c", 4) == 2
    assert len(lines) == 2
    assert await take_all(lines) == [("c", 3), ("c", 4)]


async def test_what_is_under_way_does_not_go() -> None:
    lines: Lines[str, int] = Lines(2)
    lines.put("a", 1)
    line = await lines.take()
    lines.put("a", 2)
    assert lines.put("b", 3) == 2
    assert lines.put("b", 4) == 3
    assert line.head == 1
    lines.done(line)
    assert await take_all(lines) == [("b", 4)]


async def test_with_everything_under_way_the_new_one_goes() -> None:
    lines: Lines[str, int] = Lines(1)
    lines.put("a", 1)
    line = await lines.take()
    assert lines.put("a", 2) == 2
    assert lines.put("b", 3) == 3
    lines.done(line)
    assert len(lines) == 0


async def test_a_postponed_one_that_goes_leaves_nothing_behind() -> None:
    lines: Lines[str, int] = Lines(1)
    lines.put("a", 1)
    lines.postpone(await lines.take(), 0.001)
    assert lines.put("b", 2) == 1
    await asyncio.sleep(0.01)
    assert await take_all(lines) == [("b", 2)]
    assert not lines._lines
    assert not lines._ready


async def test_a_postponed_head_that_goes_leaves_the_pause_to_the_next() -> None:
    lines: Lines[str, int] = Lines(2)
    lines.put("a", 1)
    line = await lines.take()
    lines.put("a", 2)
    lines.postpone(line, 3600)
    assert lines.put("b", 3) == 1
    first = await lines.take()
    assert first.key == "b"
    lines.done(first)
    assert line.timer is not None
    assert not lines._ready
    assert lines.close() == 1


async def test_emptied_waits_for_what_is_under_way() -> None:
    lines: Lines[str, int] = Lines(10)
    await lines.emptied()
    lines.put("a", 1)
    line = await lines.take()
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(lines.emptied())
        await asyncio.sleep(0)
        assert not waiting.done()
        lines.done(line)


async def test_closing_tells_how_much_was_left() -> None:
    lines: Lines[str, int] = Lines(10)
    lines.put("a", 1)
    lines.put("b", 2)
    lines.postpone(await lines.take(), 3600)
    assert lines.close() == 2
    assert lines.close() == 0
    await lines.emptied()
