"""How sessions begin and end, as series."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

import live777py
from live777py.api.metrics.sessions import CAUSES, DTLS_CAUSES, SessionSeries
from live777py.core.events import Event, Events, EventType
from live777py.core.model import Role, StreamName
from live777py.rtc.peer import CAUSES as PEER_CAUSES
from tests.api.metrics.support import Samples, key, samples


def told(*events: Event) -> Samples:
    teller = Events()
    registry = CollectorRegistry()
    SessionSeries(teller, registry)
    for event in events:
        teller.tell(event)
    return samples(registry.collect())


def event(
    type: EventType,
    role: Role | None = Role.PUBLISH,
    *,
    cause: str = "",
    elapsed: float = 0.0,
) -> Event:
    name = StreamName("cam")
    return Event(1, type, 0, name, 0, 0, role=role, cause=cause, elapsed=elapsed)


def test_every_series_is_there_from_the_beginning() -> None:
    got = told()
    for role in Role:
        assert got[key("live777_join_seconds_count", role=role.value)] == 0
        for cause in CAUSES:
            ended = key("live777_sessions_ended_total", role=role.value, cause=cause)
            assert got[ended] == 0
    for cause in DTLS_CAUSES:
        assert got[key("live777_dtls_failures_total", cause=cause)] == 0


def test_joins_are_timed_by_role() -> None:
    got = told(
        event(EventType.PUBLISH_UP, elapsed=0.12),
        event(EventType.SUBSCRIBE_UP, Role.SUBSCRIBE, elapsed=0.26),
        event(EventType.SUBSCRIBE_UP, Role.SUBSCRIBE, elapsed=20.0),
    )
    name = "live777_join_seconds"
    assert got[key(f"{name}_bucket", role="publish", le="0.1")] == 0
    assert got[key(f"{name}_bucket", role="publish", le="0.15")] == 1
    assert got[key(f"{name}_count", role="subscribe")] == 2
    assert got[key(f"{name}_sum", role="subscribe")] == pytest.approx(20.26)


def test_ends_are_counted_by_role_and_cause() -> None:
    got = told(
        event(EventType.STREAM_UP, None),
        event(EventType.PUBLISH_DOWN, cause="silent"),
        event(EventType.SUBSCRIBE_DOWN, Role.SUBSCRIBE, cause="deleted"),
        event(EventType.SESSION_FAILED, Role.SUBSCRIBE, cause="dtls_timeout"),
        event(EventType.SESSION_FAILED, cause="something new"),
    )
    grown = {labels for labels, value in got.items() if value}
    ended = "live777_sessions_ended_total"
    assert grown == {
        key(ended, role="publish", cause="silent"),
        key(ended, role="subscribe", cause="deleted"),
        key(ended, role="subscribe", cause="dtls_timeout"),
        key(ended, role="publish", cause="other"),
        key("live777_dtls_failures_total", cause="timeout"),
    }


def test_every_cause_that_a_peer_may_have_is_known() -> None:
    assert set(PEER_CAUSES.values()) <= set(CAUSES)
    found = set()
    for part in ("core", "rtc"):
        for path in (Path(live777py.__file__).parent / part).glob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                match node:
                    case ast.Call(
                        func=ast.Attribute(attr="end" | "_remove"),
                        args=[*_, ast.Constant(value=str(cause))],
                    ) if " " not in cause:
                        found.add(cause)
    # Some at least were found, or this would look at nothing.
    assert {"silent", "stopped", "replaced"} <= found <= set(CAUSES)
