"""Reads the sockets of all viewers of this process and counts what arrives: compiled.

Nothing is decrypted: counting needs the RTP header alone. The time of a packet's arrival is
the kernel's, so that latencies do not contain this process. A thread looks at every socket
now and then; nobody sleeps on them, so that a server pays for no wake-ups of its clients.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from live777py.relay.cfuncs import (
    address_of,
    clock_gettime,
    compiled,
    int64,
    memcpy,
    recvmmsg,
)

#: Datagrams of one call, and the bytes of each.
BATCH = 64
SLOT = 2048
#: STUN and DTLS datagrams that may wait for asyncio.
WAITING = 512
MAX_VIEWERS = 1024
#: Packets of a stream whose sending times are known.
REMEMBERED = 65_536
#: Seconds between two looks at the sockets: 1 MB holds ten times as much of a stream.
REST = 0.004
RECEIVE_BUFFER = 1 << 20

#: Latencies are counted in classes of 10 µs, up to 500 ms.
CLASS_NS = 10_000
CLASSES = 50_000

SO_TIMESTAMPNS = 35
CLOCK_REALTIME = 0

#: `struct mmsghdr` on 64-bit Linux, as words.
_MESSAGE_WORDS = 8
_CONTROL = 64

ROW = np.dtype(
    [
        ("fd", "i8"),
        ("stream", "i8"),
        ("ssrc", "i8"),
        ("packets", "i8"),
        ("highest", "i8"),
        ("seen", "i8"),
        ("shift", "i8"),
        ("arrived", "i8"),
        ("gap", "i8"),
    ]
)
_NO_SSRC = -1
_UNKNOWN = -1
#: Late packets are recognised among so many: duplicates count once.
_WINDOW = 62


@compiled
def _arrival(control: Any, messages: Any, index: int) -> int:
    """When the kernel had a datagram, on the clock of `time.time_ns()`."""
    if messages[8 * index + 5] >= 32:
        return int64(control[8 * index + 2] * 1_000_000_000 + control[8 * index + 3])
    clock_gettime(CLOCK_REALTIME, address_of(control))
    return int64(control[0] * 1_000_000_000 + control[1])


@compiled
def _count(
    rows: Any,
    number: int,
    data: Any,
    at: int,
    arrived: int,
    sent: Any,
    classes: Any,
    traces: Any,
) -> None:
    """One RTP packet of a viewer."""
    row = rows[number]
    sequence = int64(data[at + 2]) << 8 | int64(data[at + 3])
    ssrc = (
        int64(data[at + 8]) << 24
        | int64(data[at + 9]) << 16
        | int64(data[at + 10]) << 8
        | int64(data[at + 11])
    )
    if row.ssrc == _NO_SSRC:
        row.ssrc = ssrc
        row.highest = sequence - 1
    if row.ssrc != ssrc:
        return
    ahead = ((sequence - row.highest + 0x8000) & 0xFFFF) - 0x8000
    if ahead > 0:
        row.highest += ahead
        row.seen = (row.seen << ahead | 1) & ((1 << _WINDOW) - 1) if ahead < 32 else 1
    else:
        if -ahead < _WINDOW and (row.seen >> -ahead) & 1 != 0:
            return
        if -ahead < _WINDOW:
            row.seen |= 1 << -ahead
    row.packets += 1
    if row.arrived != 0 and arrived - row.arrived > row.gap:
        row.gap = arrived - row.arrived
    row.arrived = arrived
    if row.shift != _UNKNOWN:
        began = sent[row.stream, (sequence + row.shift) & 0xFFFF]
        if began != 0:
            late = (arrived - began) // CLASS_NS
            classes[min(max(late, 0), CLASSES - 1)] += 1
        if number < traces.shape[0]:
            traces[number, (sequence + row.shift) & 0xFFFF] = arrived


@compiled
def drain(
    rows: Any,
    used: int,
    messages: Any,
    data: Any,
    control: Any,
    sent: Any,
    classes: Any,
    traces: Any,
    others: Any,
    lengths: Any,
) -> int:
    """Read every socket until it is empty.

    Returns:
        How many datagrams that are no media were put into `others`.
    """
    waiting = 0
    for number in range(used):
        while rows[number].fd >= 0:
            got = recvmmsg(rows[number].fd, address_of(messages), BATCH, 0x40, 0)
            for index in range(max(got, 0)):
                at = SLOT * index
                length = messages[8 * index + 7] & 0xFFFFFFFF
                if length >= 12 and 128 <= data[at] < 192:
                    if not 192 <= data[at + 1] <= 223:
                        arrived = _arrival(control, messages, index)
                        _count(rows, number, data, at, arrived, sent, classes, traces)
                elif waiting < WAITING:
                    start = address_of(others) + SLOT * waiting
                    memcpy(start, address_of(data) + at, min(length, SLOT))
                    lengths[waiting, 0] = number
                    lengths[waiting, 1] = length
                    waiting += 1
                messages[8 * index + 5] = _CONTROL
            if got < BATCH:
                break
    return waiting


class Receiver:
    """Counts for all viewers; `async with Receiver() as receiver:`.

    Attributes:
        rows: one for each viewer that was added.
        sent: when each packet of each stream was sent, by its sequence number; written by
            publishers, 0 where unknown.
        latencies: how many packets of known latency came in each class of 10 µs.
        traces: when each packet came to the first so many rows, in nanoseconds by the
            publisher's sequence number; 0 where it did not.
    """

    def __init__(self, streams: int = 1, traced: int = 0) -> None:
        self.rows: NDArray[Any] = np.zeros(MAX_VIEWERS, ROW)
        self.rows["fd"] = -1
        self.sent = np.zeros((streams, REMEMBERED), np.int64)
        self.latencies = np.zeros(CLASSES, np.int64)
        self.traces = np.zeros((traced, REMEMBERED), np.int64)
        self._used = 0
        self._data = np.zeros(BATCH * SLOT, np.uint8)
        self._control = np.zeros(BATCH * _CONTROL // 8, np.int64)
        self._vectors = np.zeros((BATCH, 2), np.int64)
        self._messages = np.zeros(BATCH * _MESSAGE_WORDS, np.int64)
        self._others = np.zeros((WAITING, SLOT), np.uint8)
        self._lengths = np.zeros((WAITING, 2), np.int64)
        for index in range(BATCH):
            self._vectors[index] = self._data.ctypes.data + SLOT * index, SLOT
            message = self._messages[_MESSAGE_WORDS * index :]
            message[2] = self._vectors.ctypes.data + 16 * index
            message[3] = 1
            message[4] = self._control.ctypes.data + _CONTROL * index
            message[5] = _CONTROL
        self._callbacks: dict[int, Callable[[bytes], None]] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="receiver", daemon=True)

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        # Compiled before anybody waits for it.
        self._drain()
        self._thread.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stopping.set()
        await asyncio.to_thread(self._thread.join)

    def add(
        self, sock: socket.socket, stream: int, other: Callable[[bytes], None]
    ) -> int:
        """Read a socket from now on.

        Args:
            sock: a viewer's, that nobody else reads.
            stream: which row of `sent` it watches.
            other: called in the event loop with datagrams that are neither RTP nor RTCP.

        Returns:
            The number of its row.
        """
        if self._used == MAX_VIEWERS:
            raise OverflowError("too many viewers")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        number = self._used
        self._callbacks[number] = other
        self.rows[number] = (-1, stream, _NO_SSRC, 0, 0, 0, _UNKNOWN, 0, 0)
        self.rows[number]["fd"] = sock.fileno()
        self._used = number + 1
        return number

    def remove(self, number: int) -> None:
        """Read a socket no more; it may be closed after this."""
        with self._lock:
            self.rows[number]["fd"] = -1
        self._callbacks.pop(number, None)

    def align(self, number: int, sequence: int) -> None:
        """What came last is what the publisher sent with this sequence number."""
        row = self.rows[number]
        if row["ssrc"] != _NO_SSRC:
            row["shift"] = (sequence - row["highest"]) & 0xFFFF

    def begin(self) -> None:
        """Forget gaps, latencies and traces."""
        self.rows["gap"] = 0
        self.rows["arrived"] = 0
        self.latencies[:] = 0
        self.traces[:] = 0

    def latency(self, share: float) -> float:
        """The latency in seconds that a share of the packets had at most."""
        total = np.cumsum(self.latencies)
        if not total[-1]:
            return float("nan")
        found = int(np.searchsorted(total, share * total[-1]))
        return (found + 0.5) * CLASS_NS / 1e9

    def _drain(self) -> list[tuple[int, bytes]]:
        with self._lock:
            count = drain(
                self.rows,
                self._used,
                self._messages,
                self._data,
                self._control,
                self.sent,
                self.latencies,
                self.traces,
                self._others,
                self._lengths,
            )
        return [
            (int(number), self._others[index, :length].tobytes())
            for index, (number, length) in enumerate(
                itertools.islice(self._lengths, count)
            )
        ]

    def _run(self) -> None:
        while not self._stopping.is_set():
            if others := self._drain():
                self._loop.call_soon_threadsafe(self._hand_over, others)
            time.sleep(REST)

    def _hand_over(self, datagrams: list[tuple[int, bytes]]) -> None:
        for number, data in datagrams:
            if callback := self._callbacks.get(number):
                callback(data)
