"""Python's side of the data plane: what control may ask, and what it gets back.

The plane's state is written by its thread alone. Everything here and in the parts that `Plane`
is made of either posts a command, or reads counters and rings. What commands refer to is
checked before they are posted.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Callable, Iterator

from .cfuncs import COMPILED
from .columns import COUNTERS
from .notices import NoticeReader
from .peers import Peers
from .rings import ControlReader
from .seam import ControlPacket, Gap, Path, PeerId
from .settings import PlaneSettings
from .sockets import send_control
from .tracks import Tracks

logger = logging.getLogger(__name__)


class Plane(Peers, Tracks):
    """The packet path of all peers over one UDP socket.

    All methods are for the thread of the event loop, and none blocks but `stop`. After
    `start`, packets flow whatever that thread does. `control_fd` becomes readable when there
    is something for `control_packets`. An id is valid until its `remove_…`; removing what is
    gone already does nothing, anything else with such an id raises ValueError.

    The socket stays the caller's, to be closed after `stop`.
    """

    def __init__(self, sock: socket.socket, settings: PlaneSettings) -> None:
        super().__init__(sock, settings)
        #: Called once, in the event loop's thread, when the loop has ended by itself.
        self.on_failure: Callable[[BaseException], None] | None = None
        self._failure_told = False
        self._control_unsent = 0
        self._control = ControlReader(self._state)
        self._notices = NoticeReader(self._state)

    # Life

    def start(self) -> None:
        """Begin to take packets, on threads or (`threads` = 0) in the running loop."""
        if not COMPILED:
            logger.warning("numba is missing or off: packets are forwarded slowly")
        if self._settings.threads == 0:
            self._runner.start_in_loop(asyncio.get_running_loop())
        else:
            self._runner.start_threads()

    def stop(self) -> None:
        """End the loop and free everything but the socket. Does nothing the second time."""
        if self._runner.is_stopped:
            return
        self._runner.stop()
        self._commands.abandon()
        for peer in self._peers.values():
            peer.sessions = None
            if peer.sock is not None:
                peer.sock.close()
                peer.sock = None
        self._runner.close()
        for sender in self._senders:
            sender.close()

    def turn(self, timeout_ms: int = 0) -> int:
        """One round of the loop in this thread, for planes that were not started.

        Returns:
            How many datagrams were received and packets injected.
        """
        received = self._runner.step(timeout_ms)
        self._commands.advance()
        return received

    @property
    def failed(self) -> BaseException | None:
        """Why the loop has ended by itself; None while all is well."""
        return self._runner.failed

    # Control packets

    @property
    def control_fd(self) -> int:
        """Readable when `control_packets` has something to do."""
        return self._runner.control_fd

    def control_packets(self) -> Iterator[ControlPacket]:
        """What has arrived for control; to be drained whenever `control_fd` is readable."""
        if self._runner.is_stopped:
            return
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._runner.control_fd)
        self._tell_failure()
        self._commands.advance()
        yield from self._control

    def notices(self) -> Iterator[Gap]:
        """What the plane has noticed; to be drained after `control_packets`."""
        if not self._runner.is_stopped:
            yield from self._notices

    def _tell_failure(self) -> None:
        failure = self._runner.failed
        if failure is None or self._failure_told:
            return
        self._failure_told = True
        logger.error("the data plane has ended", exc_info=failure)
        if self.on_failure is not None:
            self.on_failure(failure)

    def send(self, data: bytes, path: Path) -> None:
        """Send one control datagram; what the socket refuses is dropped and counted."""
        self._send(self._sock, data, path)

    def send_to_peer(self, peer: PeerId, data: bytes) -> None:
        """Send one control datagram the way that the peer's media takes, counted alike."""
        owner = self._peer(peer)
        self._send(owner.sock or self._sock, data, owner.path)

    def _send(self, sock: socket.socket, data: bytes, path: Path | None) -> None:
        try:
            if path is None or self._runner.is_stopped:
                raise ValueError("there is no way to this peer")
            send_control(sock, data, path)
        except (OSError, ValueError):
            self._control_unsent += 1

    # Numbers

    def counters(self) -> dict[str, int]:
        """Everything that the plane counts since it was made."""
        rows = [lane.counters[0] for lane in self._memory.lanes]
        counted = {
            name: sum(int(row[name]) for row in rows) for name in COUNTERS.names or ()
        }
        counted["retransmit_dropped"] = self._losses_dropped
        counted["control_unsent"] = self._control_unsent
        counted["peers"] = len(self._peers)
        counted["tracks"] = len(self._tracks)
        counted["viewers"] = len(self._viewers)
        counted["sources"] = len(self._sources)
        counted["taps"] = len(self._taps)
        counted["adopted"] = int(self._state.engine[0].adopted)
        counted["inject_dropped"] = self._inject_dropped
        counted["commands_waiting"] = self._commands.waiting
        counted["graves"] = self._commands.buried
        return counted
