"""The loop: wait, apply commands, take one batch, say what there is for control."""

from __future__ import annotations

from .adoption import receive_adopted
from .cfuncs import (
    address_of,
    clock_gettime,
    compiled,
    int64,
    load_acquire,
    poll,
    read,
    store_release,
    write,
)
from .commands import apply_commands
from .injection import take_injected
from .numbering import SECOND
from .receive import receive
from .tables import RUNNING, STOP, State

CLOCK_MONOTONIC = 1
POLLIN = 1
#: How long the loop sleeps when nothing wakes it.
IDLE_MS = 1000
#: Words of `scratch`: the length for libsrtp, a timespec, an eventfd's value.
_TIME = 2
_EVENT = 4


@compiled
def read_clock(state: State) -> None:
    """Note the time of this turn, on the clock of `time.monotonic_ns()`."""
    clock_gettime(CLOCK_MONOTONIC, address_of(state.scratch) + 8 * _TIME)
    state.engine[0].now = state.scratch[_TIME] * SECOND + state.scratch[_TIME + 1]


@compiled
def turn(state: State, timeout: int) -> int:
    """Wait for at most `timeout` milliseconds and do one round of everything.

    Returns:
        How many datagrams were received and packets injected.
    """
    engine = state.engine[0]
    state.polls[0] = engine.socket | (POLLIN << 32)
    state.polls[1] = engine.wake | (POLLIN << 32)
    state.polls[2] = engine.epoll | (POLLIN << 32)
    ready = poll(address_of(state.polls), 3 if engine.adopted != 0 else 2, timeout)
    # Noted now: sending uses the third word, too.
    is_adopted_ready = ready > 0 and engine.adopted != 0 and state.polls[2] >> 48 != 0
    event = address_of(state.scratch) + 8 * _EVENT
    if ready > 0 and (state.polls[1] >> 48) & POLLIN != 0:
        read(engine.wake, event, 8)
    read_clock(state)
    apply_commands(state)
    count = int64(0)
    # Any event: a pending socket error is taken by the receive call.
    if ready > 0 and state.polls[0] >> 48 != 0:
        count = receive(state, engine.socket, int64(-1))
    if is_adopted_ready:
        count += receive_adopted(state)
    if engine.sources != 0:
        count += take_injected(state)
        if engine.injection_left != 0:
            engine.injection_left = 0
            state.scratch[_EVENT] = 1
            write(engine.wake, event, 8)
    if engine.tapped != 0:
        engine.tapped = 0
        state.scratch[_EVENT] = 1
        write(engine.tap_event, event, 8)
    if engine.announced != 0:
        engine.announced = 0
        state.scratch[_EVENT] = 1
        write(engine.control, event, 8)
    return count


@compiled
def run(state: State) -> None:
    """Turn until told to stop."""
    base = address_of(state.shared)
    store_release(base + 8 * RUNNING, 1)
    while load_acquire(base + 8 * STOP) == 0:
        turn(state, IDLE_MS)
    store_release(base + 8 * RUNNING, 0)
