"""Fixtures of all tests; nothing async that spans a yield (task groups do not survive it)."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from blockbuster import blockbuster_ctx
from hypothesis import HealthCheck, settings

# How long an example takes is the machine's business, and how long a callback does.
settings.register_profile(
    "untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("untimed")
logging.getLogger("asyncio").addFilter(
    lambda record: not str(record.msg).startswith("Executing ")
)


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Of several processes none shall begin with what takes minutes when the others have ended."""
    if hasattr(config, "workerinput"):
        items.sort(key=_time_allowed, reverse=True)


def _time_allowed(item: pytest.Item) -> float:
    mark = item.get_closest_marker("timeout")
    return float(mark.args[0]) if mark else 0.0


@pytest.fixture(autouse=True)
def no_blocking_calls() -> Iterator[None]:
    """A call in live777py that blocks the event loop fails the test that made it."""
    with blockbuster_ctx("live777py") as blocking:
        # The data plane's thread is started and joined while the server starts and stops: it
        # answers within one turn of its loop, and there is nobody else to serve.
        for call in ("threading.Lock.acquire", "threading.Lock.acquire_lock"):
            if call in blocking.functions:
                blocking.functions[call].can_block_in(
                    "relay/plane.py", {"start", "stop"}
                )
        yield
