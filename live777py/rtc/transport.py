"""Hands what is not media from the data plane to the peer that it belongs to.

It reads the plane's ring of control packets whenever the plane says that there is something in
it. It starts no task and never sends.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Protocol, Self

from live777py.relay.seam import Control, ControlPacket, Gap, Path, PeerId, TrackId

from .ice import local_ufrag

logger = logging.getLogger(__name__)

#: Control packets handled before the event loop gets its turn.
MAX_PER_TURN = 64

KeyFrameCallback = Callable[[bytes, int], None]
GapCallback = Callable[[Gap], None]


class ControlSource(Protocol):
    """The part of the data plane that the transport needs."""

    @property
    def control_fd(self) -> int:
        """Readable while there may be control packets."""

    def control_packets(self) -> Iterator[ControlPacket]:
        """Take out what is there, one packet for each step of the iterator; never waits.

        Beginning an iteration makes `control_fd` unreadable until more arrives.
        """

    def notices(self) -> Iterator[Gap]:
        """Take out what was noticed; never waits, and comes to an end."""


class PeerReceiver(Protocol):
    """Takes what arrives for one peer; `arrived` is of `time.monotonic_ns()`."""

    def receive_stun(self, data: bytes, path: Path, arrived: int) -> None:
        """A STUN request that names the peer's username fragment, not yet authenticated."""

    def receive_dtls(self, data: bytes, path: Path, arrived: int) -> None:
        """A DTLS datagram from one of the peer's addresses."""

    def receive_rtcp(self, data: bytes, path: Path, arrived: int) -> None:
        """An SRTCP packet, still protected, from one of the peer's addresses."""


class _Registration:
    """A peer with the username fragments that lead to it."""

    def __init__(self, receiver: PeerReceiver) -> None:
        self.receiver = receiver
        self.ufrags: set[str] = set()
        #: Whether it has a socket of its own, by which nothing comes for others.
        self.has_socket = False
        self.has_failed = False


class _KeyFrames:
    """Who is told of the key frames of a track."""

    def __init__(self, callback: KeyFrameCallback) -> None:
        self.callback = callback
        self.has_failed = False


class _Gaps:
    """Who is told of the gaps in a track."""

    def __init__(self, callback: GapCallback) -> None:
        self.callback = callback
        self.has_failed = False


class Transport:
    """Demultiplexes control packets: STUN by username fragment, the rest by peer or track.

    Notices of the plane go to their tracks in the same round.

    Use it as `with Transport(plane) as transport:` while the plane runs. `register` a peer before
    its answer leaves the server, since the first check may overtake it, and `unregister` it when
    it ends. What nobody is registered for is dropped and counted.
    """

    def __init__(
        self, source: ControlSource, *, max_per_turn: int = MAX_PER_TURN
    ) -> None:
        self._source = source
        self._max_per_turn = max_per_turn
        self._peers: dict[int, _Registration] = {}
        self._ufrags: dict[str, _Registration] = {}
        self._key_frames: dict[int, _KeyFrames] = {}
        self._gaps: dict[int, _Gaps] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._fd = -1
        self._again: asyncio.Handle | None = None
        self._packets: Iterator[ControlPacket] | None = None
        self._unknown_ufrag = 0
        self._unknown_peer = 0
        self._receiver_errors = 0

    def __enter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._fd = self._source.control_fd
        self._loop.add_reader(self._fd, self._drain)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._loop is not None:
            self._loop.remove_reader(self._fd)
            self._loop = None
        if self._again is not None:
            self._again.cancel()
            self._again = None
        self._packets = None

    def register(self, peer: PeerId, ufrag: str, receiver: PeerReceiver) -> None:
        """Hand packets of `peer`, and checks addressed to `ufrag`, to `receiver`."""
        if peer in self._peers:
            raise ValueError(f"peer {peer} is registered already")
        registration = _Registration(receiver)
        self._link(registration, ufrag)
        self._peers[peer] = registration

    def register_own(self, peer: PeerId, receiver: PeerReceiver) -> None:
        """Hand all packets of a peer with a socket of its own to `receiver`, STUN too."""
        if peer in self._peers:
            raise ValueError(f"peer {peer} is registered already")
        registration = _Registration(receiver)
        registration.has_socket = True
        self._peers[peer] = registration

    def add_ufrag(self, peer: PeerId, ufrag: str) -> None:
        """Hand checks addressed to another `ufrag` to a registered peer (ICE restart)."""
        self._link(self._peers[peer], ufrag)

    def remove_ufrag(self, peer: PeerId, ufrag: str) -> None:
        """Forget a username fragment of before an ICE restart."""
        registration = self._peers[peer]
        if ufrag in registration.ufrags:
            registration.ufrags.remove(ufrag)
            del self._ufrags[ufrag]

    def unregister(self, peer: PeerId) -> None:
        """Forget a peer and its username fragments; an unknown peer is fine."""
        registration = self._peers.pop(peer, None)
        if registration is not None:
            for ufrag in registration.ufrags:
                del self._ufrags[ufrag]

    def register_key_frames(self, track: TrackId, callback: KeyFrameCallback) -> None:
        """Call `callback(data, arrived)` for key frame packets of `track`."""
        self._key_frames[track] = _KeyFrames(callback)

    def unregister_key_frames(self, track: TrackId) -> None:
        """Forget the callback of a track; one without is fine."""
        self._key_frames.pop(track, None)

    def register_gaps(self, track: TrackId, callback: GapCallback) -> None:
        """Call `callback(gap)` for packets of `track` that were passed over."""
        self._gaps[track] = _Gaps(callback)

    def unregister_gaps(self, track: TrackId) -> None:
        """Forget the callback of a track; one without is fine."""
        self._gaps.pop(track, None)

    def counters(self) -> dict[str, int]:
        """What was dropped since the start, and why."""
        return {
            "stun_unknown_ufrag": self._unknown_ufrag,
            "control_unknown_peer": self._unknown_peer,
            "control_receiver_errors": self._receiver_errors,
        }

    def _link(self, registration: _Registration, ufrag: str) -> None:
        if ufrag in self._ufrags:
            raise ValueError(f"username fragment {ufrag} is in use")
        registration.ufrags.add(ufrag)
        self._ufrags[ufrag] = registration

    def _drain(self) -> None:
        if self._again is None:
            self._handle_some()

    def _drain_again(self) -> None:
        self._again = None
        self._handle_some()

    def _handle_some(self) -> None:
        # An iteration is carried on where it stopped: a new one would begin with the kind that
        # is being flooded, and the others would never have their turn.
        if self._packets is None:
            self._packets = self._source.control_packets()
        count = 0
        for packet in itertools.islice(self._packets, self._max_per_turn):
            self._dispatch(packet)
            if self._loop is None:  # a receiver has stopped us
                return
            count += 1
        # After the descriptor was read, which is what beginning an iteration does.
        for gap in self._source.notices():
            self._gap(gap)
        if count < self._max_per_turn:
            self._packets = None
        elif self._loop is not None:
            # The descriptor may have been read empty when the iteration began.
            self._again = self._loop.call_soon(self._drain_again)

    def _dispatch(self, packet: ControlPacket) -> None:
        if packet.kind is Control.KEY_FRAME:
            self._key_frame(packet)
            return
        registration = self._peers.get(packet.peer)
        has_socket = registration is not None and registration.has_socket
        if packet.kind is Control.STUN and not has_socket:
            ufrag = local_ufrag(packet.data)
            registration = None if ufrag is None else self._ufrags.get(ufrag)
            if registration is None:
                # Indications and responses, which an ICE-lite agent has no use for, end here too.
                self._unknown_ufrag += 1
                return
        elif registration is None:
            self._unknown_peer += 1
            return
        try:
            _deliver(registration.receiver, packet)
        except Exception:
            self._receiver_errors += 1
            if not registration.has_failed:
                registration.has_failed = True
                logger.exception(
                    "peer %d failed on a %s", packet.peer, packet.kind.name
                )

    def _gap(self, gap: Gap) -> None:
        registration = self._gaps.get(gap.track)
        if registration is None:
            self._unknown_peer += 1
            return
        try:
            registration.callback(gap)
        except Exception:
            self._receiver_errors += 1
            if not registration.has_failed:
                registration.has_failed = True
                logger.exception("track %d failed on a gap", gap.track)

    def _key_frame(self, packet: ControlPacket) -> None:
        registration = self._key_frames.get(packet.peer)
        if registration is None:
            self._unknown_peer += 1
            return
        try:
            registration.callback(packet.data, packet.arrived)
        except Exception:
            self._receiver_errors += 1
            # The next key frame may be fine, but one like it comes several times a second.
            if not registration.has_failed:
                registration.has_failed = True
                logger.exception("track %d failed on a key frame", packet.peer)


def _deliver(receiver: PeerReceiver, packet: ControlPacket) -> None:
    if packet.kind is Control.STUN:
        receiver.receive_stun(packet.data, packet.path, packet.arrived)
    elif packet.kind is Control.DTLS:
        receiver.receive_dtls(packet.data, packet.path, packet.arrived)
    else:
        receiver.receive_rtcp(packet.data, packet.path, packet.arrived)
