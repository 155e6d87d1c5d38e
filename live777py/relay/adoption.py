"""Sockets of single peers: those that we connected ourselves.

They are in one epoll set, which the loop polls beside the shared socket: that costs nothing
where no socket was adopted. What comes by such a socket is its peer's whatever its address,
since many of them may lead to one remote address; SRTP and DTLS are authenticated, and who
sends STUN is for control to judge.
"""

from __future__ import annotations

from .cfuncs import address_of, compiled, epoll_ctl, epoll_wait, inlined, int64
from .delays import note_delay
from .fanout import deliver
from .receive import take
from .tables import EVENT_BYTES, EVENT_DATA, EVENTS, State
from .wire import get_native32, put_native32

EPOLL_CTL_ADD = 1
EPOLL_CTL_DEL = 2
EPOLLIN = 1


@inlined
def uses_ipv6(state: State, peer: int) -> bool:
    """Whether the socket that a peer uses takes IPv6 addresses."""
    if state.destinations[peer].socket_plus_one != 0:
        return bool(state.destinations[peer].socket_is_ipv6 != 0)
    return bool(state.engine[0].is_ipv6 != 0)


@compiled
def adopt(state: State, peer: int, descriptor: int) -> None:
    """Receive from a peer's own socket."""
    state.peers[peer].socket_plus_one = descriptor + 1
    state.peers[peer].socket_drops = 0
    engine = state.engine[0]
    engine.adopted += 1
    put_native32(state.events, 0, 0, EPOLLIN)
    put_native32(state.events, 0, EVENT_DATA, peer)
    put_native32(state.events, 0, EVENT_DATA + 4, 0)
    event = address_of(state.events)
    if epoll_ctl(engine.epoll, EPOLL_CTL_ADD, descriptor, event) != 0:
        state.counters[0].adopt_failed += 1


@compiled
def release(state: State, peer: int) -> None:
    """Receive from a peer's own socket no more."""
    row = state.peers[peer]
    engine = state.engine[0]
    event = address_of(state.events)
    epoll_ctl(engine.epoll, EPOLL_CTL_DEL, row.socket_plus_one - 1, event)
    engine.adopted -= 1
    row.socket_plus_one = 0


@compiled
def use_socket(state: State, peer: int, socket_plus_one: int, is_ipv6: int) -> None:
    """Send to a peer by a socket of its own, once a path is selected; by the lane's for 0."""
    row = state.destinations[peer]
    before = int64(row.socket_plus_one != 0)
    state.engine[0].own_sockets += int64(socket_plus_one != 0) - before
    row.socket_plus_one = socket_plus_one
    row.socket_is_ipv6 = is_ipv6
    row.name_length = 0


@compiled
def receive_adopted(state: State) -> int:
    """Take what peers' own sockets have, at most one batch of each, and forward it at once.

    The kernel lists those that are ready in turn, so that none is forgotten.

    Returns:
        How many datagrams there were.
    """
    count = epoll_wait(state.engine[0].epoll, address_of(state.events), EVENTS, 0)
    before = state.counters[0].packets_out
    received = int64(0)
    newest = int64(-1)
    for i in range(count):
        peer = get_native32(state.events, 0, i * EVENT_BYTES + EVENT_DATA)
        taken = take(state, state.peers[peer].socket_plus_one - 1, peer)
        received += taken
        if taken > 0:
            newest = int64(taken - 1)
    deliver(state)
    if newest >= 0 and state.counters[0].packets_out != before:
        note_delay(state, newest)
    return received
