"""Complaints: the first at once, the others together."""

from __future__ import annotations

import asyncio
import logging

import pytest

from live777py.clients import complaints
from live777py.clients.complaints import Complaints


async def until_quiet(complaining: Complaints) -> None:
    async with asyncio.timeout(20):
        while complaining._timer is not None:  # noqa: ASYNC110 - nobody is told
            await asyncio.sleep(0.001)


async def test_the_first_is_told_at_once_and_the_others_together(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(complaints, "PAUSE", 0.01)
    complaining = Complaints(logging.getLogger("test"), "the sky")
    for text in ("is grey", "rains", "falls"):
        complaining.add(text)
    assert caplog.messages == ["the sky: is grey"]
    await until_quiet(complaining)
    assert caplog.messages == ["the sky: is grey", "the sky: falls (and 1 more)"]
    complaining.add("clears")
    assert caplog.messages[2:] == ["the sky: clears"]
    complaining.close()


async def test_what_is_left_is_told_at_the_end(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(complaints, "PAUSE", 3600)
    complaining = Complaints(logging.getLogger("test"), "the sky")
    complaining.add("is grey")
    complaining.add("rains")
    await asyncio.sleep(0.01)
    assert caplog.messages == ["the sky: is grey"]
    complaining.close()
    complaining.close()
    assert caplog.messages == ["the sky: is grey", "the sky: rains"]
