"""A short form of `make soak`: everything that came goes, and is given back."""

from __future__ import annotations

import os
import sys

import pytest

from bench.soak import soak


@pytest.mark.slow
@pytest.mark.timeout(420)
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_churn_leaves_nothing_behind() -> None:
    before = len(os.listdir("/proc/self/fd"))
    outcome = await soak(seconds=35, interval=10, seed=3)
    assert outcome.faults() == []
    assert outcome.joined > 100
    assert outcome.restarts >= 3
    # Neither does the load itself.
    assert len(os.listdir("/proc/self/fd")) <= before
