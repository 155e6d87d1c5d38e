"""The loop: wait, apply commands, take one batch, say what there is for control."""

from __future__ import annotations

from .adoption import receive_adopted
from .catchup import catch_up
from .cfuncs import (
    address_of,
    clock_gettime,
    compiled,
    int64,
    load_acquire,
    nanosleep,
    poll,
    read,
    store_release,
    write,
)
from .commands import apply_commands
from .echoes import wait_at_most
from .injection import take_injected
from .numbering import SECOND
from .receive import receive
from .retransmit import send_echoes
from .tables import BATCH, RUNNING, STOP, State

CLOCK_REALTIME = 0
CLOCK_MONOTONIC = 1
POLLIN = 1
#: How long the loop sleeps when nothing wakes it.
IDLE_MS = 1000
#: And how long while a viewer is on its way to the live edge.
BURST_MS = 1
#: Words of `scratch`: the length for libsrtp, a timespec, an eventfd's value.
_TIME = 2
_EVENT = 4


@compiled
def read_clock(state: State) -> None:
    """Note the time of this turn, on the clock of `time.monotonic_ns()`.

    And how far that is from the clock by which the kernel says when a datagram came.
    """
    timespec = address_of(state.scratch) + 8 * _TIME
    clock_gettime(CLOCK_REALTIME, timespec)
    wall = state.scratch[_TIME] * SECOND + state.scratch[_TIME + 1]
    clock_gettime(CLOCK_MONOTONIC, timespec)
    state.engine[0].now = state.scratch[_TIME] * SECOND + state.scratch[_TIME + 1]
    state.engine[0].clock_offset = state.engine[0].now - wall


@compiled
def rest(state: State) -> None:
    """Let datagrams gather: fewer, larger batches make longer runs and fewer calls.

    Not after a full batch, when there is no time to lose.
    """
    engine = state.engine[0]
    if engine.coalesce == 0 or engine.is_full != 0:
        return
    duration = address_of(state.scratch) + 8 * _TIME
    state.scratch[_TIME] = 0
    state.scratch[_TIME + 1] = engine.coalesce
    nanosleep(duration, 0)


@compiled
def _turn(state: State, timeout: int) -> int:
    """Wait for at most `timeout` milliseconds and do one round of everything.

    A turn that may not wait does not rest either.

    Returns:
        How many datagrams were received and packets injected.
    """
    engine = state.engine[0]
    if engine.catching != 0 or engine.is_stalled != 0:
        timeout = min(timeout, BURST_MS)
    timeout = wait_at_most(state, timeout)
    state.polls[0] = engine.socket | (POLLIN << 32)
    state.polls[1] = engine.wake | (POLLIN << 32)
    state.polls[2] = engine.epoll | (POLLIN << 32)
    ready = poll(address_of(state.polls), 3 if engine.adopted != 0 else 2, timeout)
    # Noted now: sending uses the third word, too.
    is_adopted_ready = ready > 0 and engine.adopted != 0 and state.polls[2] >> 48 != 0
    event = address_of(state.scratch) + 8 * _EVENT
    if ready > 0 and (state.polls[1] >> 48) & POLLIN != 0:
        read(engine.wake, event, 8)
    # Any event: a pending socket error is taken by the receive call.
    is_readable = ready > 0 and state.polls[0] >> 48 != 0
    # What comes by one peer's own socket, the node that it leads to has let gather already.
    if (is_readable or (is_adopted_ready and engine.adopted > 1)) and timeout != 0:
        rest(state)
    read_clock(state)
    count = apply_commands(state)
    if is_readable:
        received = receive(state, engine.socket)
        engine.is_full = int64(received == BATCH)
        count += received
    else:
        engine.is_full = 0
    if is_adopted_ready:
        count += receive_adopted(state)
    if engine.sources != 0:
        count += take_injected(state)
        if engine.injection_left != 0:
            engine.injection_left = 0
            state.scratch[_EVENT] = 1
            write(engine.wake, event, 8)
    catch_up(state)
    send_echoes(state)
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
def _run(state: State, turns: int, timeout: int) -> int:
    # All that Python calls is here: what begins at two functions is compiled twice.
    count = int64(0)
    if turns != 0:
        for _ in range(turns):
            count += _turn(state, timeout)
        return count
    base = address_of(state.shared)
    store_release(base + 8 * RUNNING, 1)
    while load_acquire(base + 8 * STOP) == 0:
        _turn(state, timeout)
    store_release(base + 8 * RUNNING, 0)
    return count


def turn(state: State, timeout: int) -> int:
    """Wait for at most `timeout` milliseconds and do one round of everything.

    Returns:
        How many datagrams were received and packets injected.
    """
    return int(_run(state, 1, timeout))


def run(state: State) -> None:
    """Turn until told to stop."""
    _run(state, 0, IDLE_MS)
