"""Rates are held by address, in a table that is bounded."""

from __future__ import annotations

import logging

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from live777py.api import limits
from live777py.api.limits import (
    FAILURE_COST,
    OncePerSecond,
    RateLimiter,
    client_network,
    rate_middleware,
)
from tests.support.http import serving


class Clock:
    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


def test_a_second_of_requests_may_come_at_once_and_then_they_come_evenly() -> None:
    clock = Clock()
    limiter = RateLimiter(10, clock=clock)
    assert [limiter.admit("a") for _ in range(12)] == [True] * 10 + [False] * 2
    assert limiter.refused == 2
    clock.now += 0.1
    assert [limiter.admit("a") for _ in range(2)] == [True, False]
    clock.now += 1000
    assert [limiter.admit("a") for _ in range(11)] == [True] * 10 + [False]


def test_one_address_does_not_spend_what_another_has() -> None:
    limiter = RateLimiter(1, clock=Clock())
    assert limiter.admit("a")
    assert not limiter.admit("a")
    assert limiter.admit("b")


def test_a_rate_of_0_limits_nothing() -> None:
    limiter = RateLimiter(0, clock=Clock())
    assert all(limiter.admit("a") for _ in range(1000))
    assert limiter.punish("a")


def test_a_failed_attempt_costs_several_requests() -> None:
    limiter = RateLimiter(FAILURE_COST + 1, clock=Clock())
    assert limiter.punish("a")
    assert limiter.punish("a"), "what was left is not enough, and is taken"
    assert not limiter.punish("a")
    assert not limiter.admit("a")


def test_the_table_forgets_who_was_quiet_for_longest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "MAX_ADDRESSES", 3)
    limiter = RateLimiter(1, clock=Clock())
    for address in "abc":
        assert limiter.admit(address)
    assert not limiter.admit("a")
    assert limiter.admit("d")
    assert not limiter.admit("a"), "it asked a moment ago"
    assert limiter.admit("b"), "it was the quietest"
    assert len(limiter._buckets) == 3


@given(st.lists(st.tuples(st.floats(0, 5), st.booleans()), max_size=50))
def test_no_more_passes_than_the_rate_and_one_burst(
    steps: list[tuple[float, bool]],
) -> None:
    clock = Clock()
    limiter = RateLimiter(5, clock=clock)
    passed = 0
    for wait, failed in steps:
        clock.now += wait
        if failed:
            limiter.punish("a")
        else:
            passed += limiter.admit("a")
    assert passed <= 5 + 5 * (clock.now - 50) + 1e-6


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("", ""),
        ("unix", "unix"),
    ],
)
def test_a_client_is_an_ipv4_address_or_a_network_of_ipv6(
    address: str, network: str
) -> None:
    assert client_network(address) == network


def test_one_line_a_second_is_let_through() -> None:
    clock = Clock()
    lines = OncePerSecond(clock=clock)
    assert lines.due("a") == 0
    assert [lines.due("a") for _ in range(3)] == [None] * 3
    assert lines.due("b") == 0
    clock.now += 1
    assert lines.due("a") == 3
    assert lines.due("a") is None


def test_the_table_of_lines_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_ADDRESSES", 3)
    lines = OncePerSecond(clock=Clock())
    for address in "abcdef":
        assert lines.due(address) == 0
    assert len(lines._seen) == 3


async def test_too_many_requests_are_429_with_a_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def handler(_request: web.Request) -> web.Response:
        return web.Response()

    # The clock stands still: nothing flows back while the test is slow.
    limiter = RateLimiter(2, clock=Clock())
    app = web.Application(middlewares=[rate_middleware(limiter)])
    app.router.add_route("*", "/", handler)
    async with serving(app) as http:
        for method in ("POST", "PATCH"):
            async with http.request(method, "/") as response:
                assert response.status == 200
        for method in ("POST", "PATCH", "DELETE", "PUT"):
            async with http.request(method, "/") as response:
                assert response.status == 429
                assert response.headers["Retry-After"] == "1"
                assert "rate_limit" in await response.text()
        for method in ("GET", "HEAD", "OPTIONS"):
            async with http.request(method, "/") as response:
                assert response.status == 200
    assert limiter.refused == 4
    lines = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert 1 <= len(lines) <= 4
    assert lines[0].getMessage().startswith("127.0.0.1 asks more than")
