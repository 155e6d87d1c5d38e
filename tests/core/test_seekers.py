from __future__ import annotations

import asyncio

import pytest

from live777py.core import seekers
from live777py.core.seekers import Seekers, settled
from live777py.errors import AtCapacity, LiveError, NotPublished


def otherwise() -> LiveError:
    return AtCapacity("too late")


async def test_all_are_told_once_and_each_raises_it() -> None:
    asking = Seekers()
    assert not asking
    with asking.added() as one, asking.added() as two:
        assert asking
        asking.tell(NotPublished("cam"))
        # What comes later is for those who come later.
        asking.tell(None)
        with asking.added() as three:
            asking.tell(None)
            await settled(three, otherwise)
        for verdict in (one, two):
            with pytest.raises(NotPublished):
                await settled(verdict, otherwise)
    assert not asking


async def test_nobody_waits_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seekers, "PATIENCE", 0.001)
    asking = Seekers()
    with asking.added() as verdict:
        with pytest.raises(AtCapacity, match="too late"):
            await settled(verdict, otherwise)
        # It is no use any more, and does no harm.
        asking.tell(None)


async def test_who_does_not_ask_any_more_is_gone() -> None:
    asking = Seekers()

    async def ask() -> None:
        with asking.added() as verdict:
            await settled(verdict, otherwise)

    task = asyncio.create_task(ask())
    await asyncio.sleep(0)
    assert asking
    task.cancel()
    await asyncio.wait([task])
    assert not asking
    asking.tell(None)
