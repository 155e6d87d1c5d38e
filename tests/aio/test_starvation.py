from __future__ import annotations

import asyncio
import errno
import logging
import socket

import pytest

from live777py.aio.starvation import INTERVAL, Starvation


async def test_what_cannot_be_accepted_is_told_now_and_then(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = 0.0
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(Starvation(clock=lambda: now))
    with socket.socket() as full:
        context = {
            "message": "socket.accept() out of system resource",
            "exception": OSError(errno.EMFILE, "Too many open files"),
            "socket": full,
        }
        for second in (0, 1, INTERVAL):
            now = second
            loop.call_exception_handler(context)
            loop.call_exception_handler(context)
        closed = {"message": "Exception in callback Loop._start_serving()"}
        loop.call_exception_handler(closed)
    line = "connections wait to be accepted: Too many open files (see ulimit -n)"
    assert caplog.messages == [line, line]


async def test_all_else_is_told_as_ever(caplog: pytest.LogCaptureFixture) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(Starvation())
    told = ["a bug", "a bug", "Exception in callback Loop._start_serving()"]
    for message in told:
        loop.call_exception_handler({"message": message, "exception": ValueError()})
    assert caplog.messages == told
    assert {record.levelno for record in caplog.records} == {logging.ERROR}
