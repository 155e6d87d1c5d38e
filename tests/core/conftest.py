"""Time is simulated for the tests of decisions: nothing here has a socket to wait for."""

from __future__ import annotations

import asyncio
import selectors
import types
from collections.abc import Callable, Mapping

import pytest

from live777py.aio.backoff import Backoff
from live777py.core import cascades, life, rounds, stream, streams, wish


class _Selector(selectors.DefaultSelector):
    """Never waits: where a loop would, the time is that which it would have waited for."""

    now = 1_000_000.0

    def select(
        self, timeout: float | None = None
    ) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(timeout if timeout is None else 0)
        if timeout is not None and not ready:
            self.now += max(0.0, timeout)
        return ready


class SimulatedLoop(asyncio.SelectorEventLoop):
    """A loop whose clock moves only when there is nothing to do, and then at once."""

    def __init__(self) -> None:
        self._clock = _Selector()
        super().__init__(self._clock)

    def time(self) -> float:
        return self._clock.now


def pytest_asyncio_loop_factories() -> Mapping[
    str, Callable[[], asyncio.AbstractEventLoop]
]:
    """Called for every coroutine of this folder."""
    return {"simulated": SimulatedLoop}


def _now() -> float:
    return asyncio.get_running_loop().time()


@pytest.fixture(autouse=True)
def _one_clock(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock of the loop is the only one."""
    if asyncio.iscoroutinefunction(request.function):
        clock = types.SimpleNamespace(
            monotonic=_now, time_ns=lambda: int(_now() * 1_000_000_000)
        )
        for module in (life, stream, streams):
            monkeypatch.setattr(module, "time", clock)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cascades are tried again within milliseconds, and looked at as often."""
    monkeypatch.setattr(rounds, "Backoff", lambda **_: Backoff(0.001, 0.004))
    monkeypatch.setattr(cascades, "LOOK", 0.001)
    monkeypatch.setattr(cascades, "SOON", 0.001)
    monkeypatch.setattr(wish, "PROMPT", 0.02)
    monkeypatch.setattr(wish, "HOLD", 0.0)
