"""Waits of the conformance checks, shortened: the fake server needs none of them."""

from __future__ import annotations

import pytest

from live777py.conformance import bench, exchange, run
from live777py.conformance.checks import lifetime


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pause between requests, and short ones wherever a fault is waited for."""
    monkeypatch.setattr(exchange, "INTERVAL", 0.0)
    monkeypatch.setattr(bench, "MEDIA_TIMEOUT", 0.05)
    monkeypatch.setattr(run, "_SETTLE", 0.05)
    monkeypatch.setattr(lifetime, "CONSENT", 0.05)
    monkeypatch.setattr(lifetime, "GOODBYE", 0.05)
