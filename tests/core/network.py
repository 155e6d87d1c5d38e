"""Nodes without media that reach one another: what one opens, the other is asked for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from live777py.core import lineage
from live777py.core.edge import Edge, Origin
from live777py.core.lineage import Node
from live777py.core.live import Live, Policy
from live777py.core.model import Answered
from live777py.core.remote import Opened, Remote
from live777py.errors import BadGateway, Conflict, Loop, NotFound
from tests.core.fakes import OPUS, FakeMedia, FakePeer, FakeRelay, FakeRemotePeer

#: Who asks for paths.
STRANGER = Node("stranger").entry("cam")


class Network:
    """Nodes by name; `http://a/whep/cam` is the stream cam of node a.

    Attributes:
        lives, engines: the nodes.
        gate: cleared where requests are to be on their way for a while.
    """

    def __init__(self) -> None:
        self.lives: dict[str, Live] = {}
        self.engines: dict[str, FakeMedia] = {}
        self.gate = asyncio.Event()
        self.gate.set()

    async def pull(self, to: str, source: str, stream: str = "cam") -> None:
        """Have a node pull a stream from another."""
        await self.lives[to].cascade(stream, source=f"http://{source}/whep/{stream}")

    async def push(self, source: str, to: str, stream: str = "cam") -> None:
        """Have a node push a stream to another."""
        await self.lives[source].cascade(stream, target=f"http://{to}/whip/{stream}")

    async def path(self, node: str, stream: str = "cam") -> str:
        """Where a stream's media comes from, in words, as a node that watches is told."""
        live = self.lives[node]
        via = lineage.encode((STRANGER,))
        answered = await live.subscribe(stream, "an offer", via)
        await live.end_session(stream, answered.session)
        return lineage.in_words(lineage.parse(answered.via))

    async def publish(self, node: str, stream: str = "cam") -> None:
        """Have a client publish a stream."""
        await self.lives[node].publish(stream, "an offer")
        relay = self.engines[node].relays[stream]
        relay.codecs = {"audio": OPUS}
        relay.peers[-1].connect()

    def is_empty(self) -> bool:
        """Whether there is no stream at any node."""
        return not any(live.streams() for live in self.lives.values())

    def state(self, node: str, stream: str = "cam") -> tuple[str, str]:
        """State and error of the only cascade of a node's stream."""
        [info] = self.lives[node].cascades(stream)
        return info.state.value, info.error


@asynccontextmanager
async def network(
    names: str, policy: Policy | None = None, **origins: str
) -> AsyncIterator[Network]:
    """A network of nodes with names of one letter; of an edge, the origins are given."""
    made = Network()
    for name in names:
        urls = [Origin(f"http://{origin}") for origin in origins.get(name, "")]
        made.engines[name] = NetworkMedia(made)
        node = Live(
            made.engines[name],
            policy or Policy(),
            Node(name),
            edge=Edge(urls, 0.0) if urls else None,
        )
        made.lives[name] = await node.__aenter__()
    try:
        yield made
    finally:
        for live in made.lives.values():
            await live.__aexit__(None, None, None)


class NetworkMedia(FakeMedia):
    """Hands out relays whose remote peers reach the other nodes."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def relay(self, name: str) -> FakeRelay:
        relay = NetworkRelay(self.network)
        self.relays[name] = relay
        return relay


class NetworkRelay(FakeRelay):
    """Its remote peers reach the other nodes."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def source(self, remote: Remote) -> FakeRemotePeer:
        return self._add(NetworkPeer(remote, self))

    def sink(self, remote: Remote) -> FakeRemotePeer:
        return self._add(NetworkPeer(remote, self))


class NetworkPeer(FakeRemotePeer):
    """Asks the other node, and is joined to the peer that this one answers with."""

    def __init__(self, remote: Remote, relay: NetworkRelay) -> None:
        super().__init__(remote)
        self.own = relay
        self.network = relay.network

    async def open(self) -> Opened:
        parts = urlsplit(self.remote.url)
        host = parts.hostname or ""
        await self.network.gate.wait()
        _, verb, stream = parts.path.split("/")
        live = self.network.lives[host]
        try:
            answered = await self._ask(live, verb, stream)
        except Loop as loop:
            # Over the wire goes text.
            again = lineage.refused(loop.via)
            assert again is not None
            raise again from loop
        except (NotFound, Conflict) as error:
            status = 404 if isinstance(error, NotFound) else 409
            raise BadGateway(f"{host} answered {status}", status) from error
        there = live.session(stream, answered.session).peer
        assert isinstance(there, FakePeer)
        if verb == "whep":
            source = self.network.engines[host].relays[stream]
            self.own.codecs = source.codecs
        # The answer takes a moment.
        await asyncio.sleep(0)
        await self.network.gate.wait()
        self.path = lineage.parse(answered.via)
        opened = await super().open()
        self.other, there.other = there, self
        return opened

    async def _ask(self, live: Live, verb: str, stream: str) -> Answered:
        offer, via = "an offer", self.remote.via
        if verb == "whip":
            return await live.publish(stream, offer, via)
        may_wait = self.remote.may_wait
        return await live.subscribe(stream, offer, via, may_wait=may_wait)

    async def connected(self) -> None:
        if self.other is not None:
            for peer in (self, self.other):
                peer.connect()
                peer.deliver()
        await super().connected()
