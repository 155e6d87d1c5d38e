"""A media engine without media: peers whose every step the test decides."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Self, TypeVar

from live777py.core.lineage import Path
from live777py.core.model import NO_TRAFFIC, MediaCounters, PeerState, Traffic
from live777py.core.ports import Ending, PeerGone
from live777py.core.remote import Opened, Remote
from live777py.errors import AtCapacity, InvalidOffer
from live777py.protocol.codecs import Codec, Kind

OPUS = Codec("audio", "opus", 48_000, 2)
P = TypeVar("P", bound="FakePeer")


async def settle() -> None:
    """Let every task that can run do so."""
    for _ in range(10):
        await asyncio.sleep(0)


class FakePeer:
    """Answers at once; connects and ends when told to."""

    version = "v1"

    def __init__(self) -> None:
        self.remote_ufrag = ""
        self.traffic = NO_TRAFFIC
        self.silence = 0.0
        self.stage = "ice"
        self.restarts: list[tuple[str, str]] = []
        self.muted: set[Kind] = set()
        #: What it is to pass over, None for nothing.
        self.seen: float | None = None
        #: What it was told, the latest last.
        self.told: list[Path] = []
        self.heard: Callable[[Path], None] | None = None
        #: The peer at the other end, where there is one.
        self.other: FakePeer | None = None
        self.state = PeerState.NEW
        self.error: Exception | None = None
        self.entered = False
        self.left = False
        #: Cleared where a goodbye is to take its time.
        self.may_leave = asyncio.Event()
        self.may_leave.set()
        self._connected = asyncio.Event()
        self._ended = asyncio.Event()
        self._ending: Ending | None = None
        #: Whose codecs are known while this one is connected.
        self.relay: FakeRelay | None = None

    async def __aenter__(self) -> Self:
        self.entered = True
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.relay is not None and self.relay.feeder is self:
            self.relay.feeder, self.relay.codecs = None, {}
        try:
            await self.may_leave.wait()
        finally:
            # A goodbye is cut short by a cancellation, not left out.
            self.state = PeerState.CLOSED
            self.left = True
        if self.other is not None and self._ending is not None:
            self.other.end(f"closed by the other side: {self._ending.reason}")

    async def answer(self, offer: str) -> str:
        if self.error is not None:
            raise self.error
        self.state = PeerState.CONNECTING
        self.remote_ufrag = "theirs"
        return f"answer to {offer}"

    async def offer(self) -> str:
        return "an offer"

    def accept(self, answer: str) -> None:
        if self.error is not None:
            raise self.error
        self.remote_ufrag = "theirs"
        self.state = PeerState.CONNECTING

    def restart(self, ufrag: str, pwd: str) -> str:
        self.restarts.append((ufrag, pwd))
        self.remote_ufrag = ufrag
        self.version = f"v{len(self.restarts) + 1}"
        return f"fragment for {ufrag}"

    def mute(self, kind: Kind, muted: bool) -> None:
        (self.muted.add if muted else self.muted.discard)(kind)

    def has_seen(self, age: float) -> None:
        self.seen = age

    def hear_paths(self, heard: Callable[[Path], None]) -> None:
        self.heard = heard

    def tell_path(self, path: Path) -> None:
        self.told.append(path)
        self.deliver()

    def deliver(self) -> None:
        """What was told last reaches the other end, a moment later."""
        if self.other is not None and self.other.heard is not None and self.told:
            asyncio.get_running_loop().call_soon(self.other.heard, self.told[-1])

    @property
    def recent(self) -> Traffic:
        return self.traffic

    def connect(self) -> None:
        """The media connects."""
        self.state = PeerState.CONNECTED
        if self.relay is not None:
            self.relay.feeder = self
            self.relay.codecs = self.relay.codecs or {"audio": OPUS}
        self._connected.set()

    async def connected(self) -> None:
        await self._connected.wait()
        if self._ending is not None:
            raise PeerGone(*self._ending)

    async def gone(self) -> Ending:
        await self._ended.wait()
        assert self._ending is not None
        return self._ending

    def end(self, reason: str, cause: str = "ended") -> None:
        self._ending = self._ending or Ending(reason, cause)
        self._ended.set()
        self._connected.set()


class FakeServers:
    """Other servers, all of which accept everything at once, unless told otherwise."""

    def __init__(self) -> None:
        #: What is refused, by URL.
        self.refusals: dict[str, Exception] = {}
        #: What they do not take or send, whichever is asked.
        self.warnings: tuple[str, ...] = ()
        #: Who never answers, by URL.
        self.deaf: set[str] = set()
        #: Cleared where they are to take their time.
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        #: What they were asked for, in this order.
        self.asked: list[Remote] = []

    @property
    def urls(self) -> list[str]:
        return [remote.url for remote in self.asked]


class FakeRemotePeer(FakePeer):
    """A session at one of the other servers."""

    def __init__(
        self, remote: Remote, path: Path = (), servers: FakeServers | None = None
    ) -> None:
        super().__init__()
        self.remote = remote
        self.servers = servers or FakeServers()
        self.media_silence = 0.0
        #: What a server that is a node answers.
        self.path = path

    async def open(self) -> Opened:
        self.servers.asked.append(self.remote)
        is_deaf = self.remote.url in self.servers.deaf
        gate = asyncio.Event() if is_deaf else self.servers.may_answer
        answered = asyncio.ensure_future(gate.wait())
        ended = asyncio.ensure_future(self._ended.wait())
        try:
            await asyncio.wait([answered, ended], return_when=asyncio.FIRST_COMPLETED)
        finally:
            answered.cancel()
            ended.cancel()
        if self._ending is not None:
            raise PeerGone(*self._ending)
        refusal = self.error or self.servers.refusals.get(self.remote.url)
        if refusal is not None:
            raise refusal
        self.state = PeerState.CONNECTING
        url = "http://hidden@there/session/x?hidden"
        return Opened(url, self.path, self.servers.warnings)


class FakeRelay:
    """Tracks of a stream that carry nothing."""

    def __init__(self, servers: FakeServers | None = None) -> None:
        self.servers = servers or FakeServers()
        self.codecs: Mapping[Kind, Codec] = {}
        self.feeder: FakePeer | None = None
        self.peers: list[FakePeer] = []
        self.error: Exception | None = None
        self.path: Path = ()
        self.seen: float | None = None
        self.closed = False

    def has_seen(self, age: float) -> None:
        self.seen = age

    def publisher(self) -> FakePeer:
        peer = self._peer()
        peer.relay = self
        return peer

    def viewer(self) -> FakePeer:
        return self._peer()

    def source(self, remote: Remote) -> FakeRemotePeer:
        peer = self._add(FakeRemotePeer(remote, self.path, self.servers))
        peer.relay = self
        return peer

    def sink(self, remote: Remote) -> FakeRemotePeer:
        return self._add(FakeRemotePeer(remote, self.path, self.servers))

    def _peer(self) -> FakePeer:
        return self._add(FakePeer())

    def _add(self, peer: P) -> P:
        peer.error = self.error
        self.peers.append(peer)
        return peer

    def close(self) -> None:
        self.closed = True


class FakeMedia:
    """Hands out fake relays and remembers them by stream name."""

    def __init__(self) -> None:
        self.relays: dict[str, FakeRelay] = {}
        self.servers = FakeServers()
        self.error: Exception | None = None
        self.path: Path = ()
        self.full = False
        self.counted = MediaCounters()
        #: What cannot be answered, whatever is published.
        self.bad_offers: set[str] = set()

    def check_viewer(self, offer: str) -> None:
        if offer in self.bad_offers:
            raise InvalidOffer("it cannot be used")

    def counters(self) -> MediaCounters:
        return self.counted

    def relay(self, name: str) -> FakeRelay:
        if self.full:
            raise AtCapacity("no track left")
        relay = FakeRelay(self.servers)
        relay.error = self.error
        relay.path = self.path
        self.relays[name] = relay
        return relay


async def caught(waiting: Awaitable[object]) -> Exception | None:
    """What is raised, if anything."""
    try:
        await waiting
    except Exception as error:
        return error
    return None
