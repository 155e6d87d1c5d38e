"""A result as a test had it, to be shown."""

from __future__ import annotations

from live777py.loadtest.options import Options, parse_bound
from live777py.loadtest.result import Check, Result, empty_metrics

OPTIONS = Options(
    whip="http://127.0.0.1:7777/whip/cam",
    whep="http://127.0.0.1:7777/whep/<cam>",
    publishers=1,
    viewers=200,
    token="secret-token",
)

RESULT = Result(
    metrics={
        **empty_metrics(),
        "connected": 1.0,
        "joins_per_second": 87.44,
        "join_p50": 0.1257,
        "join_p99": 0.29266,
        "first_packet_p50": 0.1232,
        "first_packet_p99": 0.30013,
        "first_key_frame_p50": 0.46457,
        "first_key_frame_p99": 1.03661,
        "delivered": 0.99999999,
        "worst_delivered": 0.987654,
        "latency_p50": 0.00484,
        "latency_p99": 0.02444,
        "jitter_p50": 0.000381,
        "jitter_p99": 0.00448,
        "recovered_200ms": 0.996,
        "recovered_1s": 1.0,
        "cpu": 0.21,
        "cpu_per_packet": 3.388e-06,
        "memory": 272_699_000.0,
        "bits_per_second": 505_570_000.0,
    },
    media="synthetic H.264 (H264, 2.5 Mbit/s)",
    publishers=1,
    viewers=200,
    publishers_connected=1,
    viewers_connected=199,
    viewers_ended=0,
    seconds=6.0,
    packets=371_910,
    packets_lost=3,
    payloads_compared=32_613,
    payloads_altered=0,
    undecryptable=2,
    retransmitted=12,
    key_frames_asked=6,
    dropped=840,
    own_cpu=0.95,
    own_drops=0,
    latest_send=0.0457,
    errors={"watching: http://127.0.0.1:7777/whep/<cam> answered 503: full": 1},
    warnings=("the tool itself was the bottleneck: it used 95% of a core",),
)

FAILED = Result(
    metrics=empty_metrics(),
    media=None,
    publishers=0,
    viewers=2,
    publishers_connected=0,
    viewers_connected=0,
    viewers_ended=0,
    seconds=0.0,
    packets=0,
    packets_lost=0,
    payloads_compared=0,
    payloads_altered=0,
    undecryptable=0,
    retransmitted=0,
    key_frames_asked=0,
    dropped=0,
    own_cpu=0.0,
    own_drops=0,
    latest_send=0.0,
    errors={"watching: http://h/whep answered 404: Not Found": 2},
    interrupted=True,
)


def checks(*bounds: str) -> list[Check]:
    return RESULT.check(map(parse_bound, bounds))
