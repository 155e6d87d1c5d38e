from __future__ import annotations

import pytest

from live777py.aio.backoff import Backoff
from live777py.core import cascades, rounds, wish


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cascades are tried again within milliseconds, and looked at as often."""
    monkeypatch.setattr(rounds, "Backoff", lambda **_: Backoff(0.001, 0.004))
    monkeypatch.setattr(cascades, "LOOK", 0.001)
    monkeypatch.setattr(cascades, "SOON", 0.001)
    monkeypatch.setattr(wish, "PROMPT", 0.02)
    monkeypatch.setattr(wish, "HOLD", 0.0)
