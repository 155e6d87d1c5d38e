"""Python's side of the data plane: what control may ask, and what it gets back.

The plane's state is written by its thread alone. Everything here either posts a command, or
reads counters and rings. What commands refer to is checked before they are posted.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from live777py.errors import AtCapacity
from live777py.protocol.codecs import Format
from live777py.protocol.extensions import FORWARDED, Extension

from . import commands, srtp, stats
from .arrivals import ArrivalReader
from .cfuncs import COMPILED
from .groups import usable
from .injection import SourceWriter
from .notices import NoticeReader
from .paths import Words, is_ipv4, path_to_words
from .rings import CommandWriter, ControlReader
from .runner import Runner
from .seam import (
    Arrived,
    ControlPacket,
    Found,
    Gap,
    Path,
    PeerId,
    PeerStats,
    SourceId,
    SourceStats,
    SrtpKeys,
    TapId,
    TapStats,
    TrackId,
    TrackStats,
    ViewerId,
    ViewerStats,
)
from .settings import PlaneSettings
from .sockets import has_gso, prepare, send_control
from .tables import COMMAND_WORDS, COUNTERS, PAYLOAD_TYPES, Memory, allocate
from .taps import TapReader

logger = logging.getLogger(__name__)

#: Addresses of one peer that may be known at once.
MAX_ADDRESSES = 8
#: Commands for one list of losses: each holds ten numbers with the sixteen after each.
MAX_LOSS_COMMANDS = 4
_Key = tuple[int, int, int]


def pack_extensions(ids: Mapping[Extension, int]) -> int:
    """Eight bits for the id of each forwarded extension, 0 where it has none."""
    packed = 0
    for extension, identifier in ids.items():
        if not 0 < identifier < 256:
            raise ValueError(f"extension id {identifier} is out of range")
        if extension in FORWARDED:
            packed |= identifier << (8 * (extension - 1))
    return packed


def pack_losses(sequences: Iterable[int]) -> list[int]:
    """16-bit numbers as words of a number and a mask of the sixteen after it."""
    words: list[int] = []
    first = -1
    for number in dict.fromkeys(sequences):
        ahead = (number - first) & 0xFFFF
        if words and 1 <= ahead <= 16:
            words[-1] |= 1 << (15 + ahead)
        else:
            words.append(number & 0xFFFF)
            first = number
    return words


@dataclass(slots=True)
class _Peer:
    addresses: dict[_Key, Path] = field(default_factory=dict)
    selected: _Key | None = None
    sessions: srtp.Sessions | None = None
    viewers: set[ViewerId] = field(default_factory=set)
    bindings: dict[int, TrackId] = field(default_factory=dict)
    #: Where media goes.
    path: Path | None = None
    #: Its own socket: our duplicate of what was adopted.
    sock: socket.socket | None = None


@dataclass(slots=True)
class _Track:
    viewers: set[ViewerId] = field(default_factory=set)
    taps: set[TapId] = field(default_factory=set)
    publisher: PeerId | None = None


@dataclass(slots=True)
class _Viewer:
    peer: PeerId
    track: TrackId


@dataclass(slots=True)
class _Source:
    track: TrackId | None
    dropped: int = 0


class _Ids:
    """The free rows of a table, handed out in the order in which they came back.

    Args:
        count: how many rows there are.
        what: one of them is, for a sentence.
        reclaim: gives back the rows that the thread has let go since anybody looked.
    """

    def __init__(self, count: int, what: str, reclaim: Callable[[], None]) -> None:
        self._free = deque(range(count))
        self._what = what
        self._reclaim = reclaim

    def take(self) -> int:
        if not self._free:
            self._reclaim()
        if not self._free:
            raise AtCapacity(f"no room for another {self._what}: try again later")
        return self._free.popleft()

    def give(self, number: int) -> None:
        self._free.append(number)


class Plane:
    """The packet path of all peers over one UDP socket.

    All methods are for the thread of the event loop, and none blocks but `stop`. After
    `start`, packets flow whatever that thread does. `control_fd` becomes readable when there
    is something for `control_packets`. An id is valid until its `remove_…`; removing what is
    gone already does nothing, anything else with such an id raises ValueError.

    The socket stays the caller's, to be closed after `stop`.
    """

    def __init__(self, sock: socket.socket, settings: PlaneSettings) -> None:
        prepare(sock)
        self._sock = sock
        self._settings = settings
        self._memory: Memory = allocate(settings)
        self._state = self._memory.state
        #: Called once, in the event loop's thread, when the loop has ended by itself.
        self.on_failure: Callable[[BaseException], None] | None = None
        self._failure_told = False
        self._control_unsent = 0
        self._losses_dropped = 0
        self._runner = Runner(self._state, sock.fileno())
        engine = self._state.engine[0]
        engine.is_ipv6 = int(sock.family == socket.AF_INET6)
        engine.gso = int(settings.gso and has_gso(sock))
        engine.seed = secrets.randbits(31)
        engine.now = time.monotonic_ns()
        self._commands = CommandWriter(self._state, self._runner.wake)
        self._control = ControlReader(self._state)
        self._notices = NoticeReader(self._state)
        self._arrivals = ArrivalReader(self._state)
        reclaim = self._commands.advance
        self._peer_ids = _Ids(settings.max_peers, "peer", reclaim)
        self._track_ids = _Ids(settings.max_tracks, "track", reclaim)
        self._viewer_ids = _Ids(settings.max_viewers, "viewer", reclaim)
        self._source_ids = _Ids(settings.max_sources, "source", reclaim)
        self._tap_ids = _Ids(settings.max_taps, "tap", reclaim)
        self._writer = SourceWriter(self._memory)
        self._reader = TapReader(self._memory)
        self._peers: dict[PeerId, _Peer] = {}
        self._tracks: dict[TrackId, _Track] = {}
        self._viewers: dict[ViewerId, _Viewer] = {}
        self._sources: dict[SourceId, _Source] = {}
        self._taps: dict[TapId, TrackId] = {}
        self._inject_dropped = 0
        self._owners: dict[_Key, PeerId] = {}

    # Life

    def start(self) -> None:
        """Begin to take packets, on a thread or (`threads` = 0) in the running loop."""
        if not COMPILED:
            logger.warning("numba is missing or off: packets are forwarded slowly")
        if self._settings.threads == 0:
            self._runner.start_in_loop(asyncio.get_running_loop())
        else:
            self._runner.start_thread()

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

    # Peers

    def add_peer(self) -> PeerId:
        """A new peer without addresses or keys.

        Raises:
            AtCapacity: there are as many as the settings allow.
        """
        peer = PeerId(self._peer_ids.take())
        self._peers[peer] = _Peer()
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

    def _forget_address(self, peer: PeerId, key: _Key) -> None:
        owner = self._peer(peer)
        del owner.addresses[key]
        del self._owners[key]
        self._commands.post(commands.REMOVE_ADDRESS, peer, *key)
        if owner.selected == key:
            owner.selected = None
            owner.path = None
            self._commands.post(commands.SELECT_PATH, peer, 0, 0, 0, 0, 0)

    def select_path(self, peer: PeerId, path: Path) -> None:
        """Send the peer's media this way, from the path's local address."""
        owner = self._peer(peer)
        words = self._words(path, owner.sock)
        if owner.sock is None:
            self.add_address(peer, path)
            owner.selected = _key(words)
        owner.path = path
        self._commands.post(commands.SELECT_PATH, peer, *words)

    def set_keys(self, peer: PeerId, keys: SrtpKeys) -> None:
        """Let media flow; what was parked for want of keys is played now.

        Payload types that are not bound by then do not find their track.
        """
        owner = self._peer(peer)
        previous = owner.sessions
        owner.sessions = srtp.create(keys, self._settings.history)
        self._commands.post(
            commands.SET_KEYS,
            peer,
            *owner.sessions.pointers,
            then=partial(_let_go, previous) if previous is not None else None,
        )

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

        self._commands.post(commands.REMOVE_PEER, peer, then=bury)

    # Tracks

    def add_track(self) -> TrackId:
        """A new track that nobody feeds.

        Raises:
            AtCapacity: there are as many as the settings allow.
        """
        track = TrackId(self._track_ids.take())
        self._tracks[track] = _Track()
        return track

    def remove_track(self, track: TrackId) -> None:
        """Forget a track, its viewers and what fed it."""
        gone = self._tracks.get(track)
        if gone is None:
            return
        for viewer in tuple(gone.viewers):
            self.remove_viewer(viewer)
        for peer, owner in self._peers.items():
            for payload_type in [
                number for number, fed in owner.bindings.items() if fed == track
            ]:
                del owner.bindings[payload_type]
                self._commands.post(commands.UNBIND, peer, payload_type)
        for source, feeding in self._sources.items():
            if feeding.track == track:
                feeding.track = None
                self._commands.post(commands.UNBIND, self._publisher(source), 0)
        for tap in tuple(gone.taps):
            self.close_tap(tap)
        del self._tracks[track]

        def bury() -> None:
            self._memory.release_track(track)
            self._track_ids.give(track)

        self._commands.post(commands.REMOVE_TRACK, track, then=bury)

    def bind(
        self,
        peer: PeerId,
        payload_type: int,
        track: TrackId,
        *,
        format: Format,
        clock_rate: int,
        extensions: Mapping[int, Extension],
    ) -> None:
        """Feed a track from a payload type of a peer, which becomes its only publisher."""
        owner, fed = self._peer(peer), self._track(track)
        _check_payload_type(payload_type, 0)
        _check_clock_rate(clock_rate)
        packed = pack_extensions({e: number for number, e in extensions.items()})
        is_new = fed.publisher != peer
        fed.publisher = peer
        replaced = owner.bindings.get(payload_type)
        owner.bindings[payload_type] = track
        if replaced is not None and replaced not in owner.bindings.values():
            self._unpublish(peer, replaced)
        self._commands.post(
            commands.BIND,
            peer,
            payload_type,
            track,
            int(format),
            clock_rate,
            packed,
            int(is_new),
        )

    def bind_rtx(self, peer: PeerId, rtx_payload_type: int, payload_type: int) -> None:
        """Take retransmissions (RFC 4588) of what `payload_type` was bound for."""
        owner = self._peer(peer)
        _check_payload_type(rtx_payload_type, 0)
        if payload_type not in owner.bindings or rtx_payload_type in owner.bindings:
            raise ValueError(
                f"payload type {rtx_payload_type} cannot repeat {payload_type}"
            )
        self._commands.post(commands.BIND_RTX, peer, rtx_payload_type, payload_type)

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

    def _unpublish(self, peer: PeerId, track: TrackId) -> None:
        fed = self._tracks.get(track)
        if fed is not None and fed.publisher == peer:
            fed.publisher = None

    # Viewers

    def add_viewer(
        self,
        peer: PeerId,
        track: TrackId,
        *,
        payload_type: int,
        ssrc: int,
        first_sequence: int,
        timestamp_offset: int,
        extensions: Mapping[Extension, int],
        rtx_payload_type: int = -1,
        rtx_ssrc: int = 0,
        catch_up: bool = False,
    ) -> ViewerId:
        """Send a track to a peer, from the next packet on that arrives.

        Args:
            peer: who gets it.
            track: what is sent.
            payload_type: as the viewer negotiated it, -1 to be silent for now.
            ssrc: of what is sent.
            first_sequence: 1 to 32,767, or SRTP's roll-over counter may be mistaken.
            timestamp_offset: what is added to the track's RTP timestamps.
            extensions: the ids that the viewer negotiated.
            rtx_payload_type: of retransmissions (RFC 4588), -1 to repeat packets as they were.
            rtx_ssrc: of retransmissions.
            catch_up: begin with the latest key frame where the history holds it, now and
                whenever the payload type changes or a pause ends.

        Raises:
            AtCapacity: there are as many viewers as the settings allow.
        """
        owner, watched = self._peer(peer), self._track(track)
        _check_payload_type(payload_type, -1)
        if not 0 < first_sequence < 1 << 15:
            raise ValueError(f"first sequence {first_sequence} is out of range")
        _check_payload_type(rtx_payload_type, -1)
        packed = pack_extensions(extensions)
        viewer = ViewerId(self._viewer_ids.take())
        self._viewers[viewer] = _Viewer(peer, track)
        owner.viewers.add(viewer)
        watched.viewers.add(viewer)
        self._commands.post(
            commands.ADD_VIEWER,
            viewer,
            peer,
            track,
            payload_type,
            ssrc & 0xFFFFFFFF,
            first_sequence,
            timestamp_offset & 0xFFFFFFFF,
            packed,
            rtx_payload_type,
            rtx_ssrc & 0xFFFFFFFF,
            (1 + secrets.randbelow((1 << 15) - 1)) << 1 | catch_up,
        )
        return viewer

    def set_payload_type(
        self, viewer: ViewerId, payload_type: int, rtx_payload_type: int = -1
    ) -> None:
        """Send under another payload type, or nothing (-1); retransmissions under theirs."""
        self._viewer(viewer)
        _check_payload_type(payload_type, -1)
        _check_payload_type(rtx_payload_type, -1)
        self._commands.post(
            commands.SET_PAYLOAD_TYPE, viewer, payload_type, rtx_payload_type
        )

    def retransmit(self, viewer: ViewerId, sequences: Iterable[int]) -> None:
        """Send again what a viewer says that it lacks, as far as it is there and allowed.

        Args:
            viewer: who asks.
            sequences: the numbers that it knows the packets by, 0 to 65,535. Of a long list
                the end is left out: who lost so much needs a key frame.
        """
        self._viewer(viewer)
        words = pack_losses(sequences)
        size = COMMAND_WORDS - 2
        for at in range(0, min(len(words), MAX_LOSS_COMMANDS * size), size):
            if self._commands.waiting:
                # The loop is behind; what is asked for now, the viewer will ask for again.
                self._losses_dropped += 1
                return
            part = words[at : at + size]
            part += [-1] * (size - len(part))
            self._commands.post(commands.RETRANSMIT, viewer, *part)

    def pause(self, viewer: ViewerId, paused: bool) -> None:
        """Send a viewer nothing while it is paused; afterwards it goes on.

        Where it was, if the history still has that, otherwise as one that is new.
        """
        self._viewer(viewer)
        self._commands.post(commands.PAUSE, viewer, int(paused))

    def remove_viewer(self, viewer: ViewerId) -> None:
        """Stop sending a track to a peer."""
        gone = self._viewers.pop(viewer, None)
        if gone is None:
            return
        self._peer(gone.peer).viewers.discard(viewer)
        self._track(gone.track).viewers.discard(viewer)
        self._commands.post(
            commands.REMOVE_VIEWER,
            viewer,
            then=lambda: self._viewer_ids.give(viewer),
        )

    # Sources and sinks that are not WebRTC

    def open_source(
        self, track: TrackId, *, format: Format, clock_rate: int
    ) -> SourceId:
        """Feed a track by `inject` from now on, which excludes any other publisher.

        Raises:
            AtCapacity: there are as many sources as the settings allow.
        """
        fed = self._track(track)
        _check_clock_rate(clock_rate)
        source = SourceId(self._source_ids.take())
        self._sources[source] = _Source(track)
        fed.publisher = self._publisher(source)
        binding = (0, track, int(format), clock_rate, 0, 1)
        self._commands.post(commands.BIND, fed.publisher, *binding)
        self._commands.post(commands.OPEN_SOURCE, source)
        return source

    def inject(self, source: SourceId, packets: Iterable[bytes]) -> int:
        """Put RTP packets into a source's track.

        Numbers, timestamps and SSRC are the source's own; another SSRC takes over when the
        old one was silent, as a peer's would. Header extensions do not travel.

        Returns:
            How many were taken; there was no room for the rest, which is counted.
        """
        feeding = self._source(source)
        if self._runner.is_stopped:
            return 0
        taken, dropped = self._writer.put(source, packets)
        feeding.dropped += dropped
        self._inject_dropped += dropped
        if taken:
            self._runner.wake()
        return taken

    def close_source(self, source: SourceId) -> None:
        """Forget a source, and what the loop has not seen of it."""
        gone = self._sources.pop(source, None)
        if gone is None:
            return
        if gone.track is not None:
            self._unpublish(self._publisher(source), gone.track)

        def bury() -> None:
            self._memory.release_source(source)
            self._source_ids.give(source)

        self._commands.post(commands.CLOSE_SOURCE, source, then=bury)

    def _publisher(self, source: SourceId) -> PeerId:
        """The row that a source has among the peers."""
        return PeerId(self._settings.max_peers + source)

    def open_tap(self, track: TrackId, *, packets: int = 512) -> TapId:
        """Collect a track's packets for `read_tap`, from the next one on that arrives.

        They are plain RTP in the track's outgoing numbering, with payload type and SSRC zero.
        Where `packets` are waiting, whole frames are dropped: up to the next frame, or to the
        next key frame of a video whose frames depend on each other.

        Raises:
            AtCapacity: there are as many taps as the settings allow.
        """
        tapped = self._track(track)
        if not 0 < packets <= self._settings.tap_packets:
            raise ValueError(f"{packets} packets are out of range")
        tap = TapId(self._tap_ids.take())
        self._taps[tap] = track
        tapped.taps.add(tap)
        self._commands.post(commands.OPEN_TAP, tap, track, packets)
        return tap

    @property
    def tap_fd(self) -> int:
        """Readable when `tapped` has something to give."""
        return self._runner.tap_fd

    def tapped(self) -> Iterator[tuple[TapId, list[bytes]]]:
        """What all taps have; to be drained whenever `tap_fd` is readable."""
        if self._runner.is_stopped:
            return
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._runner.tap_fd)
        for tap in tuple(self._taps):
            if tap in self._taps and (packets := self._reader.read(tap)):
                yield tap, packets

    def read_tap(self, tap: TapId) -> list[bytes]:
        """What one tap has."""
        self._check_tap(tap)
        return self._reader.read(tap)

    def close_tap(self, tap: TapId) -> None:
        """Forget a tap, and what was not read of it."""
        track = self._taps.pop(tap, None)
        if track is None:
            return
        self._track(track).taps.discard(tap)

        def bury() -> None:
            self._memory.release_tap(tap)
            self._tap_ids.give(tap)

        self._commands.post(commands.CLOSE_TAP, tap, then=bury)

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
            words = self._words(path, own)
        except BaseException:
            own.close()
            raise
        self.release(peer)
        for key in tuple(owner.addresses):
            self._forget_address(peer, key)
        owner.sock = own
        owner.path = path
        is_ipv6 = int(own.family == socket.AF_INET6)
        self._commands.post(commands.ADOPT, peer, own.fileno(), is_ipv6)
        self._commands.post(commands.SELECT_PATH, peer, *words)

    def release(self, peer: PeerId) -> None:
        """Give a peer's own socket back; it may be read at once. Its media has no path then."""
        owner = self._peer(peer)
        own = owner.sock
        if own is None:
            return
        owner.sock = None
        owner.path = None
        # Closed when the loop cannot use it any more.
        self._commands.post(commands.RELEASE, peer, then=own.close)

    # Numbers

    def source_stats(self, source: SourceId) -> SourceStats:
        """What a source has put in."""
        dropped = self._source(source).dropped
        row = stats.peer_stats(self._state.peers, self._publisher(source))
        waiting = self._writer.waiting(source)
        return SourceStats(row.packets_received, row.bytes_received, waiting, dropped)

    def tap_stats(self, tap: TapId) -> TapStats:
        """What a tap was given."""
        self._check_tap(tap)
        return stats.tap_stats(self._state.taps.rows, tap, self._reader.waiting(tap))

    def peer_stats(self, peer: PeerId) -> PeerStats:
        """What a peer has sent and was sent."""
        self._peer(peer)
        return stats.peer_stats(self._state.peers, peer)

    def track_stats(self, track: TrackId) -> TrackStats:
        """How a track is doing."""
        self._track(track)
        age = int(self._state.engine[0].catch_up_age)
        now = time.monotonic_ns()
        row = self._state.tracks[track]
        group = int(usable(row, self._settings.history, now, age))
        return stats.track_stats(self._state.tracks, track, group)

    def viewer_stats(self, viewer: ViewerId) -> ViewerStats:
        """What a viewer was sent of its track."""
        self._viewer(viewer)
        return stats.viewer_stats(self._state.viewers, viewer)

    def find_packets(self, track: TrackId, numbers: Sequence[int]) -> Found:
        """Which of some packets of a track are in its history."""
        self._track(track)
        return stats.find_packets(self._state, track, numbers)

    def arrivals(self, peer: PeerId, position: int) -> Arrived:
        """When packets of a peer came that carry a transport-wide number.

        Args:
            peer: whose they are.
            position: where the reading before ended; 0 at first.
        """
        self._peer(peer)
        return self._arrivals.read(peer, position)

    def counters(self) -> dict[str, int]:
        """Everything that the plane counts since it was made."""
        row = self._state.counters[0]
        counted = {name: int(row[name]) for name in COUNTERS.names or ()}
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

    # Checks

    def _peer(self, peer: PeerId) -> _Peer:
        try:
            return self._peers[peer]
        except KeyError:
            raise ValueError(f"peer {peer} does not exist") from None

    def _track(self, track: TrackId) -> _Track:
        try:
            return self._tracks[track]
        except KeyError:
            raise ValueError(f"track {track} does not exist") from None

    def _viewer(self, viewer: ViewerId) -> _Viewer:
        try:
            return self._viewers[viewer]
        except KeyError:
            raise ValueError(f"viewer {viewer} does not exist") from None

    def _source(self, source: SourceId) -> _Source:
        try:
            return self._sources[source]
        except KeyError:
            raise ValueError(f"source {source} does not exist") from None

    def _check_tap(self, tap: TapId) -> None:
        if tap not in self._taps:
            raise ValueError(f"tap {tap} does not exist")

    def _words(self, path: Path, own: socket.socket | None) -> Words:
        words = path_to_words(path)
        sock = own or self._sock
        if sock.family == socket.AF_INET and not is_ipv4(words):
            raise ValueError(f"{path.host} cannot be reached from an IPv4 socket")
        return words


def _key(words: Words) -> _Key:
    return words.high, words.low, words.port


def _let_go(sessions: srtp.Sessions) -> None:
    """Nothing: that the call held a reference until now is what matters."""


def _check_clock_rate(clock_rate: int) -> None:
    if not 0 < clock_rate <= 10_000_000:
        raise ValueError(f"clock rate {clock_rate} is out of range")


def _check_payload_type(payload_type: int, lowest: int) -> None:
    if not lowest <= payload_type < PAYLOAD_TYPES:
        raise ValueError(f"payload type {payload_type} is out of range")
