"""A part of `make soak`: everything that came goes, and is given back."""

from __future__ import annotations

import os
import sys

import pytest

from bench.cascades import churn
from bench.soak import soak


@pytest.mark.slow
# Three minutes of churn, the rest for the start of a server that has to be compiled first.
@pytest.mark.timeout(600)
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_churn_leaves_nothing_behind() -> None:
    before = len(os.listdir("/proc/self/fd"))
    outcome = await soak(seconds=180, interval=30, seed=3)
    assert outcome.faults() == []
    assert outcome.joined > 500
    assert outcome.restarts >= 3
    # Neither does the load itself.
    assert len(os.listdir("/proc/self/fd")) <= before


@pytest.mark.slow
# Half a minute of cascades, one of ended sessions that are still listed, the rest for the start.
@pytest.mark.timeout(500)
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_cascades_leave_nothing_behind() -> None:
    before = len(os.listdir("/proc/self/fd"))
    # Ten of every kind.
    outcome = await churn(130, first=65, seed=3)
    assert outcome.faults() == []
    assert sum(map(len, outcome.seconds.values())) == 130
    assert len(os.listdir("/proc/self/fd")) <= before
