"""What the engine counts, in the words of the domain."""

from __future__ import annotations

from collections import defaultdict

from live777py.relay.columns import COUNTERS, DELAY_BUCKETS
from live777py.relay.delays import BOUNDS
from live777py.rtc.counters import (
    DROPPED,
    NOT_RETRANSMITTED,
    Counts,
    media_counters,
)

#: Counters of Python's side of the data plane, and of the transport.
OTHERS = {"retransmit_dropped", "stun_unknown_ufrag", "control_unsent"}


def test_every_reason_has_a_counter_and_a_name_of_its_own() -> None:
    for table in (DROPPED, NOT_RETRANSMITTED):
        assert set(table) <= {*(COUNTERS.names or ()), *OTHERS}
        assert len(set(table.values())) == len(table)


def test_counters_are_put_into_the_words_of_the_domain() -> None:
    counted = defaultdict(
        int,
        {
            "packets_in": 1,
            "bytes_out": 2,
            "srtp_failed": 3,
            "retransmit_limited": 4,
            "delay_sum": 1_500_000_000,
            "delay_2": 5,
        },
    )
    made = media_counters(counted, Counts(6, 7))
    assert (made.datagrams_in, made.bytes_out) == (1, 2)
    assert made.dropped["forged"] == 3
    assert made.not_retransmitted["limited"] == 4
    assert (made.key_frames_requested, made.key_frames_wanted) == (6, 7)
    assert made.forwarding.total == 1.5
    assert made.forwarding.bounds == BOUNDS
    assert made.forwarding.counts == tuple(5 * (n == 2) for n in range(DELAY_BUCKETS))
