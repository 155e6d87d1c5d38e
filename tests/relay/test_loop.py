from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from live777py.relay.cfuncs import COMPILED
from live777py.relay.loop import read_clock
from live777py.relay.tables import BATCH

from .support import SMALL, rig, rtp

CORE = (
    "test_receive.py",
    "test_plane.py",
    "test_registry.py",
    "test_peers.py",
    "test_tracks.py",
    "test_viewers.py",
    "test_bridges.py",
    "test_lanes.py",
    "test_numbering.py",
    "test_fanout.py",
    "test_output.py",
    "test_injection.py",
    "test_taps.py",
    "test_adoption.py",
    "test_arrivals.py",
    "test_notices.py",
    "test_groups.py",
    "test_catchup.py",
    "test_retransmit.py",
    "test_fuzz.py",
)


def test_the_clock_is_that_of_python() -> None:
    with rig() as r:
        before = time.monotonic_ns()
        read_clock(r.plane._state)
        assert before <= r.plane._state.engine[0].now <= time.monotonic_ns()


def test_an_idle_turn_waits_and_is_woken_by_a_command() -> None:
    with rig() as r:
        r.turn()
        began = time.monotonic()
        r.plane.turn(20)
        assert time.monotonic() - began > 0.015
        r.plane.add_track()
        r.plane.remove_track(next(iter(r.plane._tracks)))
        r.plane.turn(25_000)
        assert time.monotonic() - began < 20


def test_what_follows_within_the_rest_is_in_the_same_batch() -> None:
    with rig(dataclasses.replace(SMALL, coalesce=0.5)) as r:
        publisher, _, _ = r.stream()
        for _ in range(5):
            publisher.send(rtp(1))
            late = threading.Timer(0.05, publisher.send, [rtp(2)])
            late.start()
            received = r.plane.turn(5000)
            late.join()
            if received == 2:
                return
            # This process stood still for longer than the rest is.
            r.turn()
        raise AssertionError("what follows never comes with the first")


def test_there_is_no_rest_after_a_full_batch() -> None:
    with rig() as r:
        publisher, _, _ = r.stream()
        for sequence in range(BATCH + 1):
            publisher.send(rtp(sequence))
        engine = r.plane._state.engine[0]
        assert (r.plane.turn(), engine.is_full) == (BATCH, 1)
        assert (r.plane.turn(), engine.is_full) == (1, 0)


@pytest.mark.skipif(not COMPILED, reason="this is that run already")
@pytest.mark.timeout(120)
def test_the_same_functions_pass_as_plain_python() -> None:
    _run_core(NUMBA_DISABLE_JIT="1")


@pytest.mark.slow
@pytest.mark.skipif(
    not COMPILED or "NUMBA_BOUNDSCHECK" in os.environ, reason="needs the compiler"
)
@pytest.mark.timeout(300)
def test_the_compiled_functions_stay_within_their_bounds() -> None:
    _run_core(NUMBA_BOUNDSCHECK="1")


def _run_core(**environment: str) -> None:
    here = Path(__file__).parent
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *(str(here / name) for name in CORE)],
        env={**os.environ, **environment},
        cwd=here.parent.parent,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout[-3000:]
