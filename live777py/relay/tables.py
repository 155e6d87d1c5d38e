"""What the data plane works on: sizes, and the tuple that holds all tables.

The thread is the only writer of everything here but `commands` and two words of `shared`.
`columns.py` has the tables' columns, `memory.py` makes the tables.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass
from typing import Any, NamedTuple

from numpy.typing import NDArray

from .seam import Control
from .stateref import Referenced

Table = NDArray[Any]
#: One row of a table of records; its columns are attributes.
Record = Any

#: Bytes of a packet in the history and in the output, with room for the authentication tag.
ROW = 1536
TRAILER = 32
MAX_PACKET = ROW - TRAILER
#: Bytes of a datagram on its way in, or of a control packet; longer ones are dropped.
DATAGRAM = 2048
#: Datagrams taken at once.
BATCH = 64
#: Packets of one GSO message: 40 × 1,536 bytes stay below the 64 KiB of a UDP datagram.
GSO_PACKETS = 40
PAYLOAD_TYPES = 128
MESSAGE_BYTES = 64
IOVEC_BYTES = 16
NAME_BYTES = 32
CONTROL_BYTES = 128
#: IPV6_PKTINFO takes 40 bytes of control data, IP_PKTINFO 32.
LOCAL_BYTES = 40
COMMAND_WORDS = 12
#: `struct epoll_event` is packed on x86-64 alone; the data word begins at EVENT_DATA.
EVENT_DATA = 4 if platform.machine() in ("x86_64", "AMD64") else 8
EVENT_BYTES = EVENT_DATA + 8
#: Adopted sockets that are read in one turn.
EVENTS = 32
#: Packets of each viewer of which is remembered when they were last sent again.
RESENT_ROWS = 128
#: Packets of all viewers that are to be sent once more unasked.
ECHOES = 4096
KINDS = len(Control)

#: Words of `shared`, each on a cache line of its own.
STOP = 0
RUNNING = 8
COMMAND_HEAD = 16
COMMAND_TAIL = 24
CONTROL_HEAD = 32
CONTROL_TAIL = CONTROL_HEAD + 8 * KINDS
NOTICE_HEAD = CONTROL_TAIL + 8 * KINDS
NOTICE_TAIL = NOTICE_HEAD + 8
SHARED_WORDS = NOTICE_TAIL + 8

#: Notices that may wait for control, a power of two, and the words of one.
NOTICES = 1024
NOTICE_WORDS = 8
#: Arrivals of one peer that are remembered for its congestion feedback, a power of two.
ARRIVALS = 1024

#: Words of the heads and tails of one source or tap, each on a cache line of its own.
RING_HEAD = 0
RING_TAIL = 8
RING_WORDS = 16


class Input(NamedTuple):
    """What recvmmsg fills, and the batch that is made of it."""

    bytes: Table
    messages: Table
    iovecs: Table
    names: Table
    controls: Table
    collected: Table
    dirty: Table


class Output(NamedTuple):
    """Encrypted packets on their way to sendmmsg."""

    bytes: Table
    messages: Table
    iovecs: Table
    controls: Table
    sent: Table
    retries: Table
    slots: Table
    numbers: Table
    runs: Table


class History(NamedTuple):
    """The normalised packets of all tracks; a slot is track × history + number % history."""

    bytes: Table
    packets: Table


class Paths(NamedTuple):
    """Where each peer's media goes: a socket address, and control data that names ours."""

    names: Table
    locals: Table


class Parking(NamedTuple):
    """SRTP that came before its keys, oldest first, of all peers."""

    rows: Table
    bytes: Table


class ControlRing(NamedTuple):
    """Control packets out; each kind has its own part of the rows."""

    rows: Table
    bytes: Table


class Injection(NamedTuple):
    """Packets from sources that are not WebRTC; each source has its own ring."""

    shared: Table
    lengths: Table
    bytes: Table
    #: The sources that are open, in no order.
    open: Table


class Taps(NamedTuple):
    """Packets for sinks that are not WebRTC; each tap has its own ring."""

    rows: Table
    shared: Table
    lengths: Table
    bytes: Table


class Arrivals(NamedTuple):
    """When packets of each peer came: a log of words, written over from its beginning."""

    heads: Table
    words: Table


class Lanes(NamedTuple):
    """The command rings of all lanes, and the words that each shares."""

    rows: Table
    shared: Table
    wakes: Table


@dataclass(frozen=True)
class State(Referenced):
    """Everything that one lane's loop works on.

    Its own are the fields up to `scratch`; the rest is the
    receiver's, of which other lanes read `tracks` and `history`. A row of `viewers` and its
    part of `resent` belong to one lane.
    """

    shared: Table
    engine: Table
    counters: Table
    commands: Table
    destinations: Table
    paths: Paths
    audiences: Table
    catching: Table
    echoes: Table
    input: Input
    output: Output
    polls: Table
    scratch: Table
    lanes: Lanes
    control: ControlRing
    notices: Table
    arrivals: Arrivals
    addresses: Table
    peers: Table
    bindings: Table
    tracks: Table
    history: History
    viewers: Table
    resent: Table
    parking: Parking
    injection: Injection
    taps: Taps
    events: Table
