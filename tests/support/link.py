"""A bad network in this process: a UDP relay between one client and the server.

Everything random comes from one seed, and each direction has a generator of its own, so that
the fate of the nth datagram of a direction never depends on what the other one carries.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal, Self

Address = tuple[str, int]

#: Datagrams on their way at once in each direction; more are lost, like in a real queue.
MAX_IN_FLIGHT = 4096

#: Datagrams read from one socket before the others have their turn.
BATCH = 64

#: Clients of one link, so that stray senders do not open sockets without end.
MAX_CLIENTS = 64


@dataclass(frozen=True, slots=True)
class GilbertElliott:
    """Loss in bursts: a chain of a good and a bad state, one step for each datagram.

    Attributes:
        worsens: probability of going from good to bad.
        recovers: probability of going from bad to good; 1 / it is the mean burst.
        loss_good, loss_bad: probability of a loss in each state.
    """

    worsens: float
    recovers: float
    loss_good: float = 0.0
    loss_bad: float = 1.0

    @property
    def mean_loss(self) -> float:
        """The share that is lost in the long run."""
        bad = self.worsens / (self.worsens + self.recovers)
        return bad * self.loss_bad + (1 - bad) * self.loss_good


@dataclass(frozen=True, slots=True)
class Conditions:
    """What one direction does to datagrams. The default does nothing.

    Attributes:
        loss: a probability, or bursts.
        duplicate: probability that a datagram comes twice.
        reorder: probability that a datagram is held back by `reorder_by` seconds, so that
            later ones overtake it.
        delay: seconds that each takes; they stay in order.
        jitter: up to so many more, each its own: datagrams overtake one another.
        rate: bits a second, None for no limit.
        queue: seconds that the queue before the rate limit may hold; what comes then is lost.
    """

    loss: float | GilbertElliott = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    reorder_by: float = 0.01
    delay: float = 0.0
    jitter: float = 0.0
    rate: float | None = None
    queue: float = 0.2


#: A perfect network.
CLEAR = Conditions()


class Fate:
    """Decides what becomes of each datagram of one direction. Pure: time is an argument."""

    def __init__(self, conditions: Conditions, seed: int | str) -> None:
        self.conditions = conditions
        self._random = random.Random(seed)
        self._is_bad = False
        self._free_at = 0.0

    def delays(self, size: int, now: float) -> tuple[float, ...]:
        """After how many seconds each copy of a datagram arrives; empty when it is lost.

        Args:
            size: its bytes.
            now: seconds of any clock that never goes back.
        """
        conditions = self.conditions
        # As many draws for every datagram, whatever becomes of it: one more lost does not
        # change what happens to the next.
        step, loss, twice, held, late, later = (self._random.random() for _ in range(6))
        if self._is_lost(step, loss):
            return ()
        queued = 0.0
        if conditions.rate is not None:
            waiting = max(0.0, self._free_at - now)
            if waiting > conditions.queue:
                return ()
            queued = waiting + 8 * size / conditions.rate
            self._free_at = now + queued
        base = queued + conditions.delay
        if held < conditions.reorder:
            base += conditions.reorder_by
        first = base + late * conditions.jitter
        if twice < conditions.duplicate:
            return first, base + later * conditions.jitter
        return (first,)

    def _is_lost(self, step: float, loss: float) -> bool:
        model = self.conditions.loss
        if isinstance(model, GilbertElliott):
            if step < (model.recovers if self._is_bad else model.worsens):
                self._is_bad = not self._is_bad
            return loss < (model.loss_bad if self._is_bad else model.loss_good)
        return loss < model


@dataclass(slots=True)
class Direction:
    """One direction of a link, which a test may change at any time.

    Attributes:
        fate: what happens at random.
        drop: asked first for each datagram; true loses it.
        taken, lost, delivered: datagrams that came, were lost (for whatever reason), went out;
            copies count in `delivered`.
    """

    fate: Fate
    drop: Callable[[bytes], bool] = lambda data: False
    taken: int = 0
    lost: int = 0
    delivered: int = 0
    in_flight: set[asyncio.TimerHandle] = field(default_factory=set)

    def take(self, data: bytes, deliver: Callable[[bytes], None]) -> None:
        """Pass a datagram on, now or later, once, twice or not at all."""
        self.taken += 1
        loop = asyncio.get_running_loop()
        delays: tuple[float, ...] = ()
        if not self.drop(data) and len(self.in_flight) < MAX_IN_FLIGHT:
            delays = self.fate.delays(len(data), loop.time())
        if not delays:
            self.lost += 1
        for delay in delays:
            if delay <= 0:
                self.delivered += 1
                deliver(data)
            else:
                self._later(loop, delay, data, deliver)

    def _later(
        self,
        loop: asyncio.AbstractEventLoop,
        delay: float,
        data: bytes,
        deliver: Callable[[bytes], None],
    ) -> None:
        def arrive() -> None:
            self.in_flight.discard(handle)
            self.delivered += 1
            deliver(data)

        handle = loop.call_later(delay, arrive)
        self.in_flight.add(handle)

    def close(self) -> None:
        """Lose what is still on its way."""
        for handle in self.in_flight:
            handle.cancel()
        self.in_flight.clear()


class Link:
    """The relay. `async with Link(up=…, down=…) as link:`, then `link.rewrite(answer)`.

    To the client it is the server; to the server each client has a port of its own, as behind
    a NAT. A client is whoever sends to it; several share the conditions.

    Attributes:
        up, down: the direction towards the server, and the one towards clients.
        address: what clients take for the server's address.
        admits: asked for each address that sends; what comes from others is lost.
    """

    def __init__(
        self, *, up: Conditions = CLEAR, down: Conditions = CLEAR, seed: int = 1
    ) -> None:
        self.up = Direction(Fate(up, f"up {seed}"))
        self.down = Direction(Fate(down, f"down {seed}"))
        self.address: Address = ("", 0)
        self.admits: Callable[[Address], bool] = lambda client: True
        self._seed = seed
        self._server: Address | None = None
        self._front: _Port
        self._backs: dict[Address, _Port] = {}

    async def __aenter__(self) -> Self:
        self._front = _Port(self._from_client)
        self.address = self._front.address
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.up.close()
        self.down.close()
        for port in (self._front, *self._backs.values()):
            port.close()

    @property
    def ports(self) -> list[int]:
        """The ports that the server sees, one for each client, oldest first."""
        return [back.address[1] for back in self._backs.values()]

    def rewrite(self, answer: str) -> str:
        """The answer with this link for the only candidate of the server."""
        found = re.search(
            r"^a=candidate:\S+ 1 udp \d+ (127\.\S+) (\d+) ", answer, re.M | re.I
        )
        if found is None:
            raise ValueError("the answer has no candidate on loopback")
        self._server = found[1], int(found[2])
        host, port = self.address
        candidate = f"a=candidate:1 1 udp 2130706431 {host} {port} typ host"
        lines: list[str] = []
        for line in answer.splitlines():
            if not line.startswith("a=candidate:"):
                lines.append(line)
            elif lines[-1] != candidate:
                lines.append(candidate)
        return "\r\n".join([*lines, ""])

    def impair(self, direction: Literal["up", "down"], conditions: Conditions) -> None:
        """Change the conditions of a direction from now on."""
        chosen = self.up if direction == "up" else self.down
        chosen.fate = Fate(conditions, f"{direction} {self._seed}")

    def move(self) -> None:
        """Give every client a new port towards the server, as a NAT that forgot does.

        What the server sends to the old ones is refused.
        """
        for client, old in list(self._backs.items()):
            self._backs[client] = self._back(client)
            old.close()

    def to_server(self, data: bytes, client: int = 0) -> None:
        """Put a datagram in as if the nth client had sent it, whatever the conditions."""
        assert self._server is not None, "rewrite() an answer first"
        list(self._backs.values())[client].send(data, self._server)

    def _from_client(self, data: bytes, client: Address) -> None:
        if self._server is None or not self.admits(client):
            return
        if client not in self._backs:
            if len(self._backs) >= MAX_CLIENTS:
                return
            self._backs[client] = self._back(client)
        server = self._server
        # Looked up when it leaves: the client may have moved meanwhile.
        self.up.take(data, lambda copy: self._backs[client].send(copy, server))

    def _back(self, client: Address) -> _Port:
        def receive(data: bytes, source: Address) -> None:
            if source == self._server:
                self.down.take(data, lambda copy: self._front.send(copy, client))

        return _Port(receive)


class _Port:
    """A UDP socket on loopback that the running loop reads."""

    def __init__(self, receive: Callable[[bytes, Address], None]) -> None:
        self._receive = receive
        self._loop = asyncio.get_running_loop()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        # A frame's worth of packets for many viewers comes at once.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self._socket.bind(("127.0.0.1", 0))
        self.address: Address = self._socket.getsockname()
        self._loop.add_reader(self._socket, self._ready)

    def send(self, data: bytes, to: Address) -> None:
        # What is refused or does not fit into the buffer is lost, as on any network.
        with contextlib.suppress(OSError):
            self._socket.sendto(data, to)

    def close(self) -> None:
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket)
            self._socket.close()

    def _ready(self) -> None:
        for _ in range(BATCH):
            if self._socket.fileno() < 0:
                return
            try:
                data, source = self._socket.recvfrom(1 << 16)
            except BlockingIOError:
                return
            except OSError:
                # The other side of an earlier datagram is gone.
                continue
            self._receive(data, source)
