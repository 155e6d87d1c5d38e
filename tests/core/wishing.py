"""A node of fakes, and what tests of it have in common."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from live777py.core.edge import Edge, Origin
from live777py.core.live import Live, Policy
from live777py.core.model import Answered, CascadeInfo, CascadeState, StreamInfo
from tests.core.fakes import FakeMedia, FakePeer, FakeRemotePeer, settle


@asynccontextmanager
async def live(
    policy: Policy | None = None, *origins: str, close_after: float = 0.0
) -> AsyncIterator[tuple[Live, FakeMedia]]:
    """A node, an edge if it has origins."""
    media = FakeMedia()
    edge = Edge([Origin(url) for url in origins], close_after) if origins else None
    async with Live(media, policy or Policy(), edge=edge) as node:
        yield node, media


def peer_of(media: FakeMedia, stream: str = "cam") -> FakeRemotePeer:
    """The latest peer of a stream, which is one at another server."""
    peer = media.relays[stream].peers[-1]
    assert isinstance(peer, FakeRemotePeer)
    return peer


async def until(condition: Callable[[], object]) -> None:
    """Wait for what the fakes tell nobody."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


def only(node: Live) -> CascadeInfo:
    """The one cascade."""
    [info] = node.cascades()
    return info


def only_stream(node: Live) -> StreamInfo:
    """The one stream."""
    [info] = node.streams()
    return info


async def connect(node: Live, peer: FakePeer) -> None:
    """Let media flow in the one cascade."""
    peer.connect()
    await until(lambda: only(node).state is CascadeState.CONNECTED)


async def connected_publisher(node: Live, media: FakeMedia) -> Answered:
    """A publisher of the stream whose media flows."""
    answered = await node.publish("cam", "p")
    media.relays["cam"].peers[-1].connect()
    await settle()
    return answered
