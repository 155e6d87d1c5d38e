from __future__ import annotations

import time

import pytest

from live777py.relay.columns import DELAY_BUCKETS
from live777py.relay.delays import BOUNDS, FIRST_BOUND, bucket_of, buckets, note_delay
from live777py.relay.numbering import SECOND

from .support import rig, rtp


def test_a_batch_that_is_forwarded_is_counted_once() -> None:
    with rig() as r:
        publisher, _, viewers = r.stream(3)
        assert sum(buckets(r.plane.counters())) == 0
        for n in range(4):
            publisher.publish(rtp(n))
        before = r["receive_calls"]
        r.turn()
        batches = r["receive_calls"] - before
        assert [len(viewer.packets(4)) for viewer in viewers] == [4, 4, 4]
        assert 1 <= sum(buckets(r.plane.counters())) <= batches
        assert r["delay_sum"] > 0


def test_what_goes_to_nobody_is_not_counted() -> None:
    with rig() as r:
        publisher, _, _ = r.stream(0)
        publisher.publish(rtp(1))
        publisher.send(b"\x00\x01" + bytes(18))
        r.turn()
        assert sum(buckets(r.plane.counters())) == 0
        assert r["delay_sum"] == 0


@pytest.mark.parametrize(
    ("delay", "bucket"),
    [
        (0, 0),
        (FIRST_BOUND - 1, 0),
        (FIRST_BOUND, 1),
        (2 * FIRST_BOUND, 2),
        (FIRST_BOUND * 96, 7),
        ((FIRST_BOUND << DELAY_BUCKETS - 2) - 1, DELAY_BUCKETS - 2),
        (FIRST_BOUND << DELAY_BUCKETS, DELAY_BUCKETS - 1),
    ],
)
def test_each_bucket_is_twice_as_wide_as_the_one_before(
    delay: int, bucket: int
) -> None:
    assert bucket_of(delay) == bucket


@pytest.mark.parametrize(
    ("arrived", "bucket"), [(-3600 * SECOND, DELAY_BUCKETS - 1), (3600 * SECOND, 0)]
)
def test_a_delay_ends_now_and_is_never_negative(arrived: int, bucket: int) -> None:
    with rig() as r:
        state = r.plane._state
        # Without a word of the kernel the time of the turn counts as that of the arrival.
        state.input.messages[0].control_length = 0
        state.engine[0].now = time.monotonic_ns() + arrived
        note_delay(state, 0)
        counted = buckets(r.plane.counters())
        assert counted == tuple(int(n == bucket) for n in range(DELAY_BUCKETS))
        assert (r["delay_sum"] >= 3600 * SECOND) == (arrived < 0)


def test_the_bounds_are_seconds() -> None:
    assert len(BOUNDS) == DELAY_BUCKETS - 1
    assert (BOUNDS[0], BOUNDS[-1]) == (0.000064, 1.048576)
