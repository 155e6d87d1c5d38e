from __future__ import annotations

import pytest

from live777py.loadtest import rows
from tests.loadtest.results import FAILED, RESULT, checks


def test_all_that_was_measured_is_told() -> None:
    lines = [
        f"{section.title}: {name}: {value}"
        for section in rows.sections(RESULT)
        for name, value in section.rows
    ]
    assert lines == [
        "Published: media: synthetic H.264 (H264, 2.5 Mbit/s)",
        "Published: streams: 1 of 1",
        "Published: key frames asked for: 6",
        "Published: packets asked for again: 12",
        "Joining: connected: 199 of 200 viewers",
        "Joining: joins per second: 87.4",
        "Joining: POST to connected: p50 126 ms, p99 293 ms",
        "Joining: POST to first packet: p50 123 ms, p99 300 ms",
        "Joining: POST to first key frame: p50 465 ms, p99 1.04 s",
        "Delivery: delivered: 99.999 %",
        "Delivery: worst viewer: 98.765 %",
        "Delivery: packets missing: 3",
        "Delivery: latency: p50 4.84 ms, p99 24.4 ms",
        "Delivery: jitter: p50 381 µs, p99 4.48 ms",
        "Delivery: received: 61,985 packets/s, 505.6 Mbit/s",
        "Delivery: payloads compared: 32,613, 0 altered, 2 undecryptable",
        "Recovery: packets dropped by --loss: 840",
        "Recovery: back within 200 ms: 99.600 %",
        "Recovery: back within 1 s: 100 %",
        "Server process: CPU: 0.21 cores",
        "Server process: CPU per packet: 3.39 µs",
        "Server process: memory: 273 MB",
        "This tool: measured: 6.0 s",
        "This tool: CPU: 0.95 cores",
        "This tool: datagrams not read in time: 0",
        "This tool: latest frame sent: 46 ms late",
    ]


def test_a_test_without_viewers_tells_only_that() -> None:
    assert [section.rows for section in rows.sections(FAILED)] == [
        (("connected", "0 of 2 viewers"),)
    ]


def test_bounds_are_told_with_what_was_measured() -> None:
    found = rows.checked(checks("delivered>=0.9", "latency_p50<1ms", "cpu<0.1"))
    assert found == [
        (True, "delivered>=0.9", "99.999 %"),
        (False, "latency_p50<1ms", "4.84 ms"),
        (False, "cpu<0.1", "0.21"),
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (0.0, "0.00 µs"),
        (2.5e-6, "2.50 µs"),
        (0.000381, "381 µs"),
        (0.012345, "12.3 ms"),
        (90.0, "90.0 s"),
        (240.0, "240 s"),
    ],
)
def test_times_have_the_unit_that_suits(seconds: float | None, text: str) -> None:
    assert rows.duration(seconds) == text


def test_what_is_nearly_all_is_not_all() -> None:
    assert rows.share(0.9999999) == "99.999 %"
    assert rows.share(1.0) == "100 %"
    assert rows.share(None) == "–"
