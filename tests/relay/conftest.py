"""Compiles the data plane before the first test, whose timeout a cold cache would exceed."""

from __future__ import annotations

from live777py.relay.warm import warm


def pytest_collection_finish() -> None:
    """Called when all tests are known and none has begun."""
    warm()
