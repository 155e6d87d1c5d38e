from __future__ import annotations

import os
import sys

import pytest

from live777py.loadtest.usage import usage


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_this_process_is_known() -> None:
    found = usage(os.getpid())
    assert found is not None
    assert found.cpu_seconds > 0
    assert found.memory > 1_000_000


def test_a_process_that_is_not_there_is_none() -> None:
    assert usage(2**30) is None
