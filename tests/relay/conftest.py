"""Compiles the data plane before the first test, whose timeout a cold cache would exceed."""

from __future__ import annotations

import pytest

from live777py.relay import viewers
from live777py.relay.warm import warm

from . import support


def pytest_collection_finish() -> None:
    """Called when all tests are known and none has begun."""
    warm()


@pytest.fixture(params=[0, 1], ids=["first_lane", "other_lane"])
def lane(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Run a test twice: with all viewers in the lane that receives, and in another."""
    number: int = request.param
    monkeypatch.setattr(support, "LANE", number)
    if number:
        monkeypatch.setattr(viewers, "least_loaded", lambda loads: len(loads) - 1)
    return number
