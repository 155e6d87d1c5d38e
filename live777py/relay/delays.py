"""How long packets take through this machine: a histogram that the loop keeps.

It is measured once a batch, from the moment at which the kernel received the batch's newest
datagram to that at which the kernel has taken the last copy of it. What a packet waits in the
hands of others, before and after, is not in it.
"""

from __future__ import annotations

from collections.abc import Mapping

from .arrivals import received_at
from .cfuncs import (
    address_of,
    clock_gettime,
    compiled,
    int64,
    load_acquire,
    store_release,
)
from .columns import COUNTERS, DELAY_BUCKETS
from .numbering import SECOND
from .tables import State

CLOCK_MONOTONIC = 1
#: Words of `scratch` that hold a timespec.
_TIME = 2
#: Nanoseconds below which a delay is in the first bucket; each bucket is twice as wide as the
#: one before, and the last one has no bound.
FIRST_BOUND = 64_000
#: Seconds up to which each bucket but the last one goes.
BOUNDS = tuple((FIRST_BOUND << n) / SECOND for n in range(DELAY_BUCKETS - 1))
#: Bytes before the first bucket in the row of counters.
_OFFSET = 8 * (COUNTERS.names or ()).index("delay_0")


@compiled
def bucket_of(delay: int) -> int:
    """The bucket that a delay in nanoseconds falls into."""
    bound = int64(FIRST_BOUND)
    bucket = int64(0)
    while delay >= bound and bucket < DELAY_BUCKETS - 1:
        bound *= 2
        bucket += 1
    return bucket


@compiled
def note_delay(state: State, row: int) -> None:
    """Count how long the datagram in this row took until now."""
    timespec = address_of(state.scratch) + 8 * _TIME
    clock_gettime(CLOCK_MONOTONIC, timespec)
    now = state.scratch[_TIME] * SECOND + state.scratch[_TIME + 1]
    # A clock that was set meanwhile must not make it negative.
    delay = max(int64(0), int64(now - received_at(state, row)))
    address = address_of(state.counters) + _OFFSET + 8 * bucket_of(delay)
    store_release(address, load_acquire(address) + 1)
    state.counters[0].delay_sum += delay


def buckets(counters: Mapping[str, int]) -> tuple[int, ...]:
    """How many batches fell into each bucket, by the plane's counters."""
    return tuple(counters[f"delay_{n}"] for n in range(DELAY_BUCKETS))
