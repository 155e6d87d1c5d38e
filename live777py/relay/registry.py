"""What exists: peers, tracks, viewers, sources and taps, their ids and what each refers to.

Control's own picture of the tables. Everything is checked against it before a command is
posted, for in the loop an index out of range would be a segmentation fault.
"""

from __future__ import annotations

import secrets
import socket
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from live777py.errors import AtCapacity
from live777py.protocol.extensions import FORWARDED, Extension

from . import srtp
from .lanes import LANE_SHIFT
from .memory import Memory, allocate
from .paths import Words
from .rings import CommandWriter
from .runner import Runner
from .seam import Path, PeerId, SourceId, TapId, TrackId, ViewerId
from .settings import PlaneSettings
from .sockets import has_gso, prepare, share
from .tables import PAYLOAD_TYPES

#: An address as words: high, low, and the port with the scope above it.
Key = tuple[int, int, int]


def pack_extensions(ids: Mapping[Extension, int]) -> int:
    """Eight bits for the id of each forwarded extension, 0 where it has none."""
    packed = 0
    for extension, identifier in ids.items():
        if not 0 < identifier < 256:
            raise ValueError(f"extension id {identifier} is out of range")
        if extension in FORWARDED:
            packed |= identifier << (8 * (extension - 1))
    return packed


@dataclass(slots=True)
class Peer:
    """What control knows of a peer."""

    addresses: dict[Key, Path] = field(default_factory=dict)
    selected: Key | None = None
    sessions: srtp.Sessions | None = None
    viewers: set[ViewerId] = field(default_factory=set)
    bindings: dict[int, TrackId] = field(default_factory=dict)
    #: Where media goes, also as a command has it.
    path: Path | None = None
    words: Words | None = None
    #: The lane that sends to it; chosen with its first viewer.
    lane: int = 0
    is_placed: bool = False
    #: Its own socket: our duplicate of what was adopted.
    sock: socket.socket | None = None


@dataclass(slots=True)
class Track:
    """What control knows of a track."""

    viewers: set[ViewerId] = field(default_factory=set)
    #: How many of them each lane has.
    lanes: Counter[int] = field(default_factory=Counter)
    taps: set[TapId] = field(default_factory=set)
    publisher: PeerId | None = None


@dataclass(slots=True)
class Viewer:
    """Who watches what."""

    peer: PeerId
    track: TrackId


@dataclass(slots=True)
class Source:
    """What a source feeds, and what there was no room for."""

    track: TrackId | None
    dropped: int = 0


class Ids:
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


class Registry:
    """What exists, by id, and the way to the loop that works for it."""

    def __init__(self, sock: socket.socket, settings: PlaneSettings) -> None:
        prepare(sock)
        self._sock = sock
        self._settings = settings
        #: What the lanes behind the first send by.
        self._senders = share(sock, settings.threads - 1)
        self._memory: Memory = allocate(settings, 1 + len(self._senders))
        self._state = self._memory.state
        lanes = self._memory.lanes
        #: The viewers of each lane.
        self._loads = [0] * len(lanes)
        senders = [own.fileno() for own in (sock, *self._senders)]
        self._runner = Runner(lanes, senders)
        seed = secrets.randbits(31)
        for lane in lanes:
            engine = lane.engine[0]
            engine.is_ipv6 = int(sock.family == socket.AF_INET6)
            engine.gso = int(settings.gso and has_gso(sock))
            engine.seed = seed
            engine.now = time.monotonic_ns()
        self._commands = CommandWriter(lanes, self._runner.wake)
        reclaim = self._commands.advance
        self._peer_ids = Ids(settings.max_peers, "peer", reclaim)
        self._track_ids = Ids(settings.max_tracks, "track", reclaim)
        self._viewer_ids = Ids(settings.max_viewers, "viewer", reclaim)
        self._source_ids = Ids(settings.max_sources, "source", reclaim)
        self._tap_ids = Ids(settings.max_taps, "tap", reclaim)
        self._peers: dict[PeerId, Peer] = {}
        self._tracks: dict[TrackId, Track] = {}
        self._viewers: dict[ViewerId, Viewer] = {}
        self._sources: dict[SourceId, Source] = {}
        self._taps: dict[TapId, TrackId] = {}
        self._owners: dict[Key, PeerId] = {}

    def _post(
        self,
        lane: int,
        kind: int,
        *words: int,
        then: Callable[[], None] | None = None,
    ) -> None:
        """Send a command to one lane, by way of the first."""
        self._commands.post(kind | lane << LANE_SHIFT, *words, then=then)

    # Checks

    def _peer(self, peer: PeerId) -> Peer:
        try:
            return self._peers[peer]
        except KeyError:
            raise ValueError(f"peer {peer} does not exist") from None

    def _track(self, track: TrackId) -> Track:
        try:
            return self._tracks[track]
        except KeyError:
            raise ValueError(f"track {track} does not exist") from None

    def _viewer(self, viewer: ViewerId) -> Viewer:
        try:
            return self._viewers[viewer]
        except KeyError:
            raise ValueError(f"viewer {viewer} does not exist") from None

    def _source(self, source: SourceId) -> Source:
        try:
            return self._sources[source]
        except KeyError:
            raise ValueError(f"source {source} does not exist") from None

    def _check_tap(self, tap: TapId) -> None:
        if tap not in self._taps:
            raise ValueError(f"tap {tap} does not exist")

    def _publisher(self, source: SourceId) -> PeerId:
        """The row that a source has among the peers."""
        return PeerId(self._settings.max_peers + source)

    def _unpublish(self, peer: PeerId, track: TrackId) -> None:
        fed = self._tracks.get(track)
        if fed is not None and fed.publisher == peer:
            fed.publisher = None


def check_clock_rate(clock_rate: int) -> None:
    if not 0 < clock_rate <= 10_000_000:
        raise ValueError(f"clock rate {clock_rate} is out of range")


def check_payload_type(payload_type: int, lowest: int) -> None:
    if not lowest <= payload_type < PAYLOAD_TYPES:
        raise ValueError(f"payload type {payload_type} is out of range")
