"""What is sent once more without being asked for: promises, in the order in which they are due.

Who has lost packets loses some of those that are sent again, and of its requests, too; and of
a loss at the end of a frame it knows only when the next frame comes. So a viewer that asked
for packets lately gets each that is sent again a second time, and the newest packet once more
when nothing follows it: a moment later, to escape the burst that may have taken the first.

This module keeps the list; `retransmit` sends.
"""

from __future__ import annotations

from .cfuncs import compiled, inlined, int64
from .tables import ECHOES, Record, State

#: For how long a viewer that asked for packets counts as one that loses some.
LOSSY = 5_000_000_000
_MILLISECOND = 1_000_000


@inlined
def promise(state: State, index: int, number: int, is_probe: int) -> None:
    """Send a packet once more to a viewer; a full list forgets it."""
    engine = state.engine[0]
    if engine.echoes == ECHOES or engine.echo_delay == 0:
        return
    echo = state.echoes[(engine.echo_first + engine.echoes) % ECHOES]
    echo.viewer = index
    echo.number = number
    echo.due = engine.now + engine.echo_delay
    echo.is_probe = is_probe
    engine.echoes += 1


@inlined
def probe(state: State, index: int, viewer: Record) -> None:
    """After a batch: its last packet may be lost, and no later one would tell."""
    if viewer.lossy_until <= state.engine[0].now or viewer.started == 0:
        return
    newest_plus_one = viewer.last_sent_plus_one - viewer.shift
    if newest_plus_one != viewer.probed_plus_one:
        viewer.probed_plus_one = newest_plus_one
        promise(state, index, newest_plus_one - 1, 1)


@compiled
def wait_at_most(state: State, timeout: int) -> int:
    """For how many milliseconds the loop may wait before something is due."""
    engine = state.engine[0]
    if engine.echoes == 0:
        return int64(timeout)
    left = state.echoes[engine.echo_first].due - engine.now
    return int64(min(timeout, max(left, 0) // _MILLISECOND + 1))
