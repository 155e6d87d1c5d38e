"""Everything that may be asked of a node with cascades, in any order, while other servers flap."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from live777py.core.edge import Edge, Origin
from live777py.core.live import Live, Policy
from live777py.core.model import CascadeState, Role
from live777py.core.ports import PeerGone
from live777py.core.remote import Remote
from live777py.core.stream import StreamPolicy
from live777py.errors import (
    BadGateway,
    GatewayTimeout,
    LiveError,
    Loop,
    NotPublished,
)
from tests.core.fakes import FakeMedia, FakePeer, FakeRelay, FakeRemotePeer
from tests.core.wishing import until

T = TypeVar("T")

NAMES = ("cam", "configured", "other")
REFUSALS: tuple[Exception, ...] = (
    BadGateway("there answered 404", 404),
    GatewayTimeout("nobody there"),
    Loop("cam"),
    OSError("too many open files"),
    NotPublished("cam"),
)

#: Seconds between two things that somebody does, at most.
PAUSE = 0.004


class StormMedia(FakeMedia):
    """Remembers all relays, those of streams that are no more too."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[FakeRelay] = []

    def relay(self, name: str) -> FakeRelay:
        relay = super().relay(name)
        self.made.append(relay)
        return relay

    @property
    def peers(self) -> list[FakePeer]:
        return [peer for relay in self.made for peer in relay.peers]


class Storm:
    """One storm, of which the seed decides everything but the scheduling."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.media = StormMedia()
        self.is_cut_short = self._is(0.3)
        self._actions: list[tuple[float, Callable[[str], Awaitable[object]]]] = [
            (0.5, self._watch),
            (0.15, self._publish),
            (0.1, lambda name: self.live.cascade(name, source="http://z/whep/z")),
            (0.05, lambda name: self.live.cascade(name, target="http://z/whip/z")),
            (0.1, self._end_cascade),
            (0.1, lambda name: self.live.delete_stream(name)),
        ]
        origins = [Origin(f"http://{host}") for host in "ab"[: self._one_of(0, 1, 2)]]
        close_after = self._one_of(0.0, 0.001, 0.004)
        edge = Edge(origins, close_after) if origins else None
        self.live = Live(self.media, self._policy(), edge=edge)

    async def run(self) -> None:
        """Let it pass; raises AssertionError when it leaves anything."""
        async with self.live:
            if self._is(0.6):
                self._configure()
            flapping = asyncio.create_task(self._flap())
            acting = [asyncio.create_task(self._act()) for _ in range(6)]
            if self.is_cut_short:
                await asyncio.sleep(self.random.random() * 0.05)
            else:
                await asyncio.wait(acting)
                await until(lambda: not self._is_busy)
            flapping.cancel()
            self._calm()
        for task in acting:
            task.cancel()
        await asyncio.wait([*acting, flapping])
        assert (self.live.cascades(), self.live.streams()) == ([], [])
        assert all(relay.closed for relay in self.media.made)
        assert all(peer.left for peer in self.media.peers if peer.entered)

    @property
    def _is_busy(self) -> bool:
        """Whether anything still goes on for viewers, of whom there are none."""
        return any(
            c.is_on_demand and not (c.is_configured and c.state is CascadeState.IDLE)
            for c in self.live.cascades()
        )

    def _is(self, probability: float) -> bool:
        return self.random.random() < probability

    def _one_of(self, *values: T) -> T:
        return self.random.choice(values)

    def _policy(self) -> Policy:
        return Policy(
            create_on_watch=self._is(0.7),
            max_sessions=self._one_of(8, 4096),
            push_ends_viewers=self._is(0.2),
            connect_timeout=self._one_of(0.005, 15.0),
            stream=StreamPolicy(
                refuse_waiting=self._is(0.4),
                delete_unpublished=self._one_of(None, 0.003),
                delete_unwatched=self._one_of(None, 0.003),
                replace_publisher=self._is(0.3),
            ),
        )

    def _configure(self) -> None:
        self.live.provision("configured", StreamPolicy())
        hosts = "xy"[: self._one_of(1, 2)]
        sources = tuple(Remote.parse(f"http://{h}/whep/configured") for h in hosts)
        close_after = self._one_of(None, 0.0, 0.002)
        self.live.configure_cascade("configured", Role.PUBLISH, sources, close_after)
        if self._is(0.5):
            target = (Remote.parse("http://t/whip/t"),)
            self.live.configure_cascade("configured", Role.SUBSCRIBE, target)

    # What callers do.

    async def _act(self) -> None:
        verbs = [verb for _, verb in self._actions]
        weights = [weight for weight, _ in self._actions]
        for _ in range(25):
            await self._pause()
            [verb] = self.random.choices(verbs, weights)
            with suppress(LiveError, PeerGone):
                await verb(self._one_of(*NAMES))
            if self._is(0.02):
                self.live.retry_cascades()

    async def _pause(self) -> None:
        await asyncio.sleep(self.random.random() * PAUSE)

    async def _watch(self, name: str) -> None:
        answered = await self.live.subscribe(name, "an offer", may_wait=self._is(0.5))
        await self._pause()
        await self.live.end_session(name, answered.session)

    async def _publish(self, name: str) -> None:
        answered = await self.live.publish(name, "an offer")
        await self._pause()
        await self.live.end_session(name, answered.session)

    async def _end_cascade(self, _name: str) -> None:
        cascades = self.live.cascades()
        if cascades:
            chosen = self.random.choice(cascades)
            await self.live.end_cascade(chosen.stream, chosen.id)

    # What the world does.

    async def _flap(self) -> None:
        servers = self.media.servers
        while True:
            for peer in self.media.peers:
                if not peer.left:
                    self._touch(peer)
            servers.refusals = {
                f"http://{host}/whep/{name}": self._one_of(*REFUSALS)
                for host in "abxyz"
                for name in NAMES
                if self._is(0.4)
            }
            if self._is(0.2):
                servers.may_answer.clear()
            else:
                servers.may_answer.set()
            await asyncio.sleep(0.0015)

    def _touch(self, peer: FakePeer) -> None:
        if peer.state.value == "connecting" and self._is(0.5):
            peer.connect()
        elif self._is(0.03):
            peer.end("the other side is gone")
        if isinstance(peer, FakeRemotePeer):
            peer.media_silence = self._one_of(0.0, 0.0, 0.0, 60.0)
        if self._is(0.8):
            peer.may_leave.set()
        else:
            peer.may_leave.clear()

    def _calm(self) -> None:
        self.media.servers.may_answer.set()
        for peer in self.media.peers:
            peer.may_leave.set()
