from __future__ import annotations

import os

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
