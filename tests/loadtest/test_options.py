from __future__ import annotations

import pytest

from live777py.loadtest.options import (
    METRICS,
    Options,
    parse_bound,
    parse_rate,
    parse_seconds,
    parse_share,
    url_of,
)
from live777py.notation import parse_url


@pytest.mark.parametrize(
    ("template", "number", "count", "expected"),
    [
        ("http://h/whip/cam", 1, 1, "http://h/whip/cam"),
        ("http://h/whip/cam", 1, 2, "http://h/whip/cam-1"),
        ("http://h/whip/cam/", 3, 3, "http://h/whip/cam-3"),
        ("http://h/whip?stream=a", 2, 2, "http://h/whip-2?stream=a"),
        ("http://h/", 1, 2, "http://h/1"),
        ("http://h:80?a=1", 1, 2, "http://h:80/1?a=1"),
        ("http://h/{n}/whip", 12, 20, "http://h/12/whip"),
        ("http://h/{n}/whip", 1, 1, "http://h/1/whip"),
    ],
)
def test_streams_are_numbered(
    template: str, number: int, count: int, expected: str
) -> None:
    assert url_of(template, number, count) == expected


@pytest.mark.parametrize(
    ("text", "metric", "comparison", "limit"),
    [
        ("delivered>=0.999", "delivered", ">=", 0.999),
        ("delivered >= 99.9%", "delivered", ">=", 0.999),
        ("latency_p99<50ms", "latency_p99", "<", 0.05),
        ("join_p50 <= 1s", "join_p50", "<=", 1.0),
        ("cpu_per_packet<3us", "cpu_per_packet", "<", 3e-6),
        ("cpu_per_packet<3.5µs", "cpu_per_packet", "<", 3.5e-6),
        ("memory<200e6", "memory", "<", 200e6),
        ("joins_per_second>50", "joins_per_second", ">", 50.0),
    ],
)
def test_bounds_are_read(text: str, metric: str, comparison: str, limit: float) -> None:
    bound = parse_bound(text)
    assert (bound.metric, bound.comparison) == (metric, comparison)
    assert bound.limit == pytest.approx(limit)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not a bound"),
        ("delivered", "not a bound"),
        ("delivered=1", "not a bound"),
        ("delivered>=", "not a bound"),
        ("quality>=1", "no metric"),
        ("delivered>=many", "not a number"),
        ("delivered>=nan", "not a number"),
        ("latency_p99<soon", "not a duration"),
        ("cpu<inf", "not a number"),
    ],
)
def test_bounds_that_are_none_are_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_bound(text)


def test_a_bound_on_what_was_not_measured_does_not_hold() -> None:
    assert not parse_bound("delivered>=0").holds(None)


@pytest.mark.parametrize(
    ("comparison", "below", "equal", "above"),
    [
        (">=", False, True, True),
        (">", False, False, True),
        ("<=", True, True, False),
        ("<", True, False, False),
    ],
)
def test_bounds_compare(comparison: str, below: bool, equal: bool, above: bool) -> None:
    bound = parse_bound(f"delivered{comparison}0.5")
    assert [bound.holds(value) for value in (0.4, 0.5, 0.6)] == [below, equal, above]


def test_shares_rates_and_times() -> None:
    assert parse_share("5%") == parse_share("0.05") == 0.05
    assert parse_rate("10/s") == parse_rate("10") == 10
    assert parse_rate("max") is None
    assert parse_seconds("1m30s") == 90


@pytest.mark.parametrize("text", ["100%", "-1%", "1", "x", "nan"])
def test_shares_are_below_one(text: str) -> None:
    with pytest.raises(ValueError, match="not a"):
        parse_share(text)


@pytest.mark.parametrize("text", ["0", "-1/s", "fast", "inf", "nan"])
def test_rates_are_above_zero(text: str) -> None:
    with pytest.raises(ValueError, match="not a"):
        parse_rate(text)


@pytest.mark.parametrize("text", ["0s", "25h", "long"])
def test_times_are_bounded(text: str) -> None:
    with pytest.raises(ValueError, match="not"):
        parse_seconds(text)


@pytest.mark.parametrize("text", ["", "cam", "ftp://h/", "http://", "http://[::1"])
def test_urls_are_http(text: str) -> None:
    with pytest.raises(ValueError, match="not a URL"):
        parse_url(text)


def test_every_metric_is_known_by_its_name() -> None:
    assert all(name == metric.name for name, metric in METRICS.items())


def test_options_do_not_show_the_token() -> None:
    assert "secret" not in repr(Options(token="secret"))
