from __future__ import annotations

import os
import threading

import pytest

from live777py.relay.memory import allocate
from live777py.relay.runner import Runner

from .support import SMALL, udp


def test_a_runner_starts_once_and_ends_when_told() -> None:
    with udp() as sock:
        runner = Runner(allocate(SMALL).lanes, [sock.fileno()])
        runner.start_threads()
        with pytest.raises(RuntimeError):
            runner.start_threads()
        with pytest.raises(RuntimeError):
            runner.step(0)
        runner.stop()
        assert runner.failed is None
        runner.close()


def test_threads_that_were_started_end_when_another_cannot_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start = threading.Thread.start

    def fail_second(thread: threading.Thread) -> None:
        if thread.name == "media-1":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", fail_second)
    with udp() as sock:
        runner = Runner(allocate(SMALL, 2).lanes, [sock.fileno()] * 2)
        with pytest.raises(RuntimeError, match="new thread"):
            runner.start_threads()
        runner.stop()
        assert "media" not in {thread.name for thread in threading.enumerate()}
        assert runner.failed is None
        runner.close()


def test_the_thread_takes_no_signals() -> None:
    with udp() as sock:
        runner = Runner(allocate(SMALL).lanes, [sock.fileno()])
        runner.start_threads()
        assert len(runner._threads) == 1
        thread = runner._threads[0].native_id
        # The mask is set first thing; a command that was taken is later than that.
        while not runner._state.shared[8]:
            os.sched_yield()
        with open(f"/proc/self/task/{thread}/status") as file:
            (line,) = [line for line in file if line.startswith("SigBlk")]
        # All but SIGKILL, SIGSTOP and the two that the C library keeps for itself.
        assert int(line.split()[1], 16) & 0xFFFF == 0xFFFF & ~(1 << 8)
        runner.stop()
        runner.close()
