"""Nodes without media that reach one another: what one opens, the other is asked for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from live777py.core import lineage
from live777py.core.lineage import Node
from live777py.core.live import Live, Policy
from live777py.core.remote import Opened, Remote
from live777py.errors import Loop
from tests.core.fakes import FakeMedia, FakePeer, FakeRelay, FakeRemotePeer

#: Who asks for paths.
STRANGER = Node("stranger").entry("cam")


class Network:
    """Nodes by name; `http://a/whep/cam` is the stream cam of node a.

    Attributes:
        lives: the nodes.
        gate: cleared where requests are to be on their way for a while.
    """

    def __init__(self) -> None:
        self.lives: dict[str, Live] = {}
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

    def state(self, node: str, stream: str = "cam") -> tuple[str, str]:
        """State and error of the only cascade of a node's stream."""
        [info] = self.lives[node].cascades(stream)
        return info.state.value, info.error


@asynccontextmanager
async def network(names: str, policy: Policy | None = None) -> AsyncIterator[Network]:
    """A network of nodes with names of one letter."""
    made = Network()
    for name in names:
        node = Live(NetworkMedia(made), policy or Policy(), Node(name))
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
        return self._add(NetworkPeer(remote, self.network))

    def sink(self, remote: Remote) -> FakeRemotePeer:
        return self._add(NetworkPeer(remote, self.network))


class NetworkPeer(FakeRemotePeer):
    """Asks the other node, and is joined to the peer that this one answers with."""

    def __init__(self, remote: Remote, network: Network) -> None:
        super().__init__(remote)
        self.network = network

    async def open(self) -> Opened:
        parts = urlsplit(self.remote.url)
        host = parts.hostname or ""
        await self.network.gate.wait()
        live = self.network.lives[host]
        _, verb, stream = parts.path.split("/")
        ask = live.subscribe if verb == "whep" else live.publish
        try:
            answered = await ask(stream, "an offer", self.remote.via)
        except Loop as loop:
            # Over the wire goes text.
            again = lineage.refused(loop.via)
            assert again is not None
            raise again from loop
        there = live.session(stream, answered.session).peer
        assert isinstance(there, FakePeer)
        # The answer takes a moment.
        await asyncio.sleep(0)
        await self.network.gate.wait()
        self.path = lineage.parse(answered.via)
        opened = await super().open()
        self.other, there.other = there, self
        return opened

    async def connected(self) -> None:
        if self.other is not None:
            for peer in (self, self.other):
                peer.connect()
                peer.deliver()
        await super().connected()
