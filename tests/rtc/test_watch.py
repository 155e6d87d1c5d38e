"""Warnings about packets that were lost on this machine."""

from __future__ import annotations

import asyncio
import logging

import pytest

from live777py.rtc.engine import Engine
from live777py.rtc.watch import COMPLAINTS, Watch
from tests.rtc.test_engine import webrtc


def counters(**grown: int) -> dict[str, int]:
    return {**dict.fromkeys(COMPLAINTS, 0), **grown}


def test_nothing_is_said_while_nothing_is_lost(
    caplog: pytest.LogCaptureFixture,
) -> None:
    Watch(counters).look()
    assert caplog.text == ""


def test_a_loss_is_told_once_with_its_size_and_its_cure(
    caplog: pytest.LogCaptureFixture,
) -> None:
    watch = Watch(lambda: counters(kernel_dropped=7))
    watch.look()
    watch.look()
    assert caplog.messages == [COMPLAINTS["kernel_dropped"] % 7]
    assert "net.core.rmem_max" in caplog.text


async def test_it_looks_again_and_again_until_it_is_left() -> None:
    looks = asyncio.Semaphore(0)

    def read() -> dict[str, int]:
        looks.release()
        return counters()

    async with asyncio.timeout(20):
        with Watch(read, interval=0.001):
            await looks.acquire()
            await looks.acquire()
    while not looks.locked():
        await looks.acquire()
    await asyncio.sleep(0.01)
    assert looks.locked(), "the timer is gone"


async def test_the_engine_counts_all_that_is_complained_about() -> None:
    async with Engine(webrtc()) as engine:
        assert set(COMPLAINTS) <= set(engine._resources.plane.counters())


def test_each_complaint_names_a_number() -> None:
    logger = logging.getLogger("test")
    for complaint in COMPLAINTS.values():
        assert "%d" in complaint
        assert logger.makeRecord("", 0, "", 0, complaint, (3,), None).getMessage()
