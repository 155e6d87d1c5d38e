"""What control may ask for peers: addresses, keys, and sockets of their own."""

from __future__ import annotations

import os
import socket
from functools import partial

from . import commands, srtp, stats
from .arrivals import ArrivalReader
from .paths import Words, is_ipv4, path_to_words
from .registry import Key, Peer
from .seam import Arrived, Path, PeerId, PeerStats, SrtpKeys
from .settings import PlaneSettings
from .sockets import match_buffers, prepare
from .viewers import Viewers

#: Addresses of one peer that may be known at once.
MAX_ADDRESSES = 8


class Peers(Viewers):
    """The part of `Plane` that is about peers."""

    def __init__(self, sock: socket.socket, settings: PlaneSettings) -> None:
        super().__init__(sock, settings)
        self._arrivals = ArrivalReader(self._state)

    def add_peer(self) -> PeerId:
        """A new peer without addresses or keys.

        Raises:
            AtCapacity: there are as many as the settings allow.
        """
        peer = PeerId(self._peer_ids.take())
        self._peers[peer] = Peer()
        return peer

    def add_address(self, peer: PeerId, path: Path) -> None:
        """Take packets from this address for this peer's.

        Of nine, the oldest that does not carry media goes. A peer with a socket of its own
        needs none, and gets none.
        """
        owner = self._peer(peer)
        words = self._words(path, owner.sock)
        if owner.sock is not None:
            return
        key = _key(words)
        previous = self._owners.get(key)
        if previous == peer:
            return
        if previous is not None:
            self._forget_address(previous, key)
        if len(owner.addresses) >= MAX_ADDRESSES:
            oldest = next(k for k in owner.addresses if k != owner.selected)
            self._forget_address(peer, oldest)
        owner.addresses[key] = path
        self._owners[key] = peer
        self._commands.post(commands.ADD_ADDRESS, peer, *key)

    def remove_address(self, peer: PeerId, path: Path) -> None:
        """Drop what comes from this address from now on, and send nothing there."""
        key = _key(path_to_words(path))
        if self._owners.get(key) == peer:
            self._forget_address(peer, key)

    def _forget_address(self, peer: PeerId, key: Key) -> None:
        owner = self._peer(peer)
        del owner.addresses[key]
        del self._owners[key]
        self._commands.post(commands.REMOVE_ADDRESS, peer, *key)
        if owner.selected == key:
            owner.selected = None
            owner.path = owner.words = None
            self._post(owner.lane, commands.SELECT_PATH, peer, 0, 0, 0, 0, 0)

    def select_path(self, peer: PeerId, path: Path) -> None:
        """Send the peer's media this way, from the path's local address."""
        owner = self._peer(peer)
        words = self._words(path, owner.sock)
        if owner.sock is None:
            self.add_address(peer, path)
            owner.selected = _key(words)
        owner.path, owner.words = path, words
        self._post(owner.lane, commands.SELECT_PATH, peer, *words)

    def set_keys(self, peer: PeerId, keys: SrtpKeys) -> None:
        """Let media flow; what was parked for want of keys is played now.

        Payload types that are not bound by then do not find their track.
        """
        owner = self._peer(peer)
        previous = owner.sessions
        owner.sessions = srtp.create(keys, self._settings.history)
        receive, send = owner.sessions.pointers
        self._post(owner.lane, commands.SET_SENDER, peer, send)
        self._commands.post(
            commands.SET_KEYS,
            peer,
            receive,
            then=partial(_let_go, previous) if previous is not None else None,
        )

    def set_transport_cc(self, peer: PeerId, identifier: int) -> None:
        """Note when the peer's packets come that carry this header extension.

        Args:
            peer: who sends them.
            identifier: the id of the transport-wide number, 0 to note nothing.
        """
        self._peer(peer)
        if not 0 <= identifier < 256:
            raise ValueError(f"extension id {identifier} is out of range")
        self._commands.post(commands.SET_TRANSPORT_CC, peer, identifier)

    def remove_peer(self, peer: PeerId) -> None:
        """Forget a peer, its viewers and its payload types."""
        gone = self._peers.get(peer)
        if gone is None:
            return
        for viewer in tuple(gone.viewers):
            self.remove_viewer(viewer)
        for key in tuple(gone.addresses):
            self._forget_address(peer, key)
        for track in set(gone.bindings.values()):
            self._unpublish(peer, track)
        self.release(peer)
        del self._peers[peer]

        def bury() -> None:
            gone.sessions = None
            self._memory.release_peer(peer)
            self._peer_ids.give(peer)

        self._commands.post(commands.REMOVE_PEER, peer)
        self._post(gone.lane, commands.FORGET_DESTINATION, peer, then=bury)

    # Sockets of single peers

    def adopt(self, peer: PeerId, sock: socket.socket, path: Path) -> None:
        """Let a peer have a socket of its own, connected or not.

        All that comes by it is the peer's, whatever its address: media, and control packets
        of all kinds. Media leaves by it along `path`, and `send_to_peer` uses it. Whoever
        read it must have stopped. The plane works on a duplicate: the caller's socket may be
        closed at any time, but becomes a non-blocking one.

        Raises:
            OSError: the socket is closed, or there are too many open files.
            ValueError: the path is none, or not one of this socket's family.
        """
        owner = self._peer(peer)
        own = socket.socket(fileno=os.dup(sock.fileno()))
        try:
            own.setblocking(False)
            prepare(own)
            # A key frame comes as one burst, by this socket as by the shared one.
            match_buffers(own, self._sock)
            words = self._words(path, own)
        except BaseException:
            own.close()
            raise
        self.release(peer)
        for key in tuple(owner.addresses):
            self._forget_address(peer, key)
        owner.sock = own
        owner.path, owner.words = path, words
        self._commands.post(commands.ADOPT, peer, own.fileno())
        self._use_socket(owner.lane, peer, own)
        self._post(owner.lane, commands.SELECT_PATH, peer, *words)

    def release(self, peer: PeerId) -> None:
        """Give a peer's own socket back; it may be read at once. Its media has no path then."""
        owner = self._peer(peer)
        own = owner.sock
        if own is None:
            return
        owner.sock = None
        owner.path = owner.words = None
        self._use_socket(owner.lane, peer, None)
        # Closed when no lane can use it any more.
        self._commands.post(commands.RELEASE, peer, then=own.close)

    def _words(self, path: Path, own: socket.socket | None) -> Words:
        words = path_to_words(path)
        sock = own or self._sock
        if sock.family == socket.AF_INET and not is_ipv4(words):
            raise ValueError(f"{path.host} cannot be reached from an IPv4 socket")
        return words

    # Numbers

    def peer_stats(self, peer: PeerId) -> PeerStats:
        """What a peer has sent and was sent."""
        lane = self._memory.lanes[self._peer(peer).lane]
        return stats.peer_stats(self._state.peers, peer, lane.destinations)

    def arrivals(self, peer: PeerId, position: int) -> Arrived:
        """When packets of a peer came that carry a transport-wide number.

        Args:
            peer: whose they are.
            position: where the reading before ended; 0 at first.
        """
        self._peer(peer)
        return self._arrivals.read(peer, position)


def _key(words: Words) -> Key:
    return words.high, words.low, words.port


def _let_go(sessions: srtp.Sessions) -> None:
    """Nothing: that the call held a reference until now is what matters."""
