"""Cascades made and deleted between two nodes: is everything given back, at both?

`make soak ARGS='--cascades 1000'`. Pulls and pushes in turn, eight at a time: some are deleted
while they connect, some lose their session or their stream first, some meet a server that
refuses, answers nonsense, sends them elsewhere, leads nowhere or is dead, and some are an edge's,
which come and go with its viewers. The publishers stay.
In the end nothing may be left of it: no session at the other node, no task, no descriptor, no
row of a table.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import re
import socket
import statistics
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web

from bench.soak import (
    MAX_BLOCKS,
    MAX_HEAP,
    STREAM,
    Look,
    Subject,
    send,
    settled,
    shown,
    subject,
)
from tests.support.http import served
from tests.support.offers import VP8, video
from tests.support.rtp_client import RtpClient
from tests.support.signalling import Refused

#: A stream that only the other node has.
FAR = "far"
#: Cascades at a time.
WORKERS = 8
#: Cycles before the base is taken: what is made at first use belongs to it, such as the rows of
#: tables, which are taken in turn.
FIRST = 300
#: So often both nodes are looked at.
LOOKS = 10
#: Seconds that anything may take.
PATIENCE = 20.0
SSRC = 4242
#: Kilobytes of resident memory that a cascade may leave behind, by the slope over the second
#: two thirds. The heap and Python's blocks tell of less; holes between them are in this one.
MAX_KILOBYTES = 6.0


class Elsewhere:
    """A server that is no good, in this process.

    Attributes:
        sessions: URLs that it gave out and that were not deleted.
    """

    def __init__(self, there: str) -> None:
        self.url = ""
        self.sessions: set[str] = set()
        self._there = there
        self._numbers = itertools.count()
        self._http: aiohttp.ClientSession

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Serve on a free port."""
        app = web.Application()
        app.router.add_post("/refuses/{kind}/{stream}", self._refuse)
        app.router.add_post("/nonsense/{kind}/{stream}", self._talk_nonsense)
        app.router.add_post("/moved/{kind}/{stream}", self._move)
        app.router.add_post("/nowhere/{kind}/{stream}", self._lead_nowhere)
        app.router.add_delete("/session/{number}", self._delete)
        async with served(app) as self.url, _client() as self._http:
            yield

    async def _refuse(self, _request: web.Request) -> web.Response:
        return web.Response(status=401, text="not with this token")

    async def _talk_nonsense(self, _request: web.Request) -> web.Response:
        location = f"/session/{next(self._numbers)}"
        self.sessions.add(location)
        return web.Response(status=201, text="hello", headers={"Location": location})

    async def _delete(self, request: web.Request) -> web.Response:
        self.sessions.discard(request.path)
        return web.Response()

    def _target(self, request: web.Request) -> str:
        kind, stream = request.match_info["kind"], request.match_info["stream"]
        return f"{self._there}/{kind}/{stream}"

    async def _move(self, request: web.Request) -> web.Response:
        return web.Response(status=307, headers={"Location": self._target(request)})

    async def _lead_nowhere(self, request: web.Request) -> web.Response:
        """The other node's answer, but for where its media is."""
        headers = {"Content-Type": "application/sdp"}
        async with self._http.post(
            self._target(request), data=await request.read(), headers=headers
        ) as response:
            text = await response.text()
            location = response.headers.get("Location", "")
            status = response.status
        # Port 9, where nobody answers.
        text = re.sub(r"(a=candidate:\S+ \d+ \S+ \d+ \S+) \d+", r"\1 9", text)
        headers = {"Location": self._there + location}
        return web.Response(status=status, text=text, headers=headers)


@dataclass
class Churn:
    """Cascades that come and go.

    Attributes:
        here: URL of the node that pulls and pushes; `there` of the other one.
        elsewhere: where they do not get far.
        seconds: by kind, how long each cycle took.
        faults: what a node answered that it should not have.
    """

    here: str
    there: str
    elsewhere: Elsewhere
    random: random.Random
    http: aiohttp.ClientSession
    seconds: dict[str, list[float]] = field(
        default_factory=lambda: defaultdict(list[float])
    )
    faults: list[str] = field(default_factory=list)
    _begun: int = 0

    async def run(self, count: int) -> None:
        """So many cycles, of all kinds in turn."""
        kinds: list[tuple[str, Callable[[str], Awaitable[None]]]] = [
            ("pull", self._pull),
            ("push", self._push),
            ("pull, deleted while connecting", self._pull_briefly),
            ("push, deleted while connecting", self._push_briefly),
            ("pull, its session deleted there", self._pull_in_vain),
            ("push, its stream deleted there", self._push_in_vain),
            ("pull, its stream deleted here", self._pull_and_drop),
            ("refused", self._refused),
            ("dead", self._dead),
            ("nonsense", self._nonsense),
            ("redirected", self._redirected),
            ("nowhere", self._nowhere),
            ("viewer of an edge", self._watch),
        ]
        chosen = range(self._begun, self._begun + count)
        self._begun += count
        waiting = iter([kinds[number % len(kinds)] for number in chosen])

        async def work(worker: int) -> None:
            for title, cycle in waiting:
                began = time.monotonic()
                try:
                    async with asyncio.timeout(PATIENCE):
                        await cycle(f"w{worker}")
                except (AssertionError, OSError, Refused, aiohttp.ClientError) as error:
                    self.faults.append(f"{title}: {error!r}")
                self.seconds[title].append(time.monotonic() - began)

        async with asyncio.TaskGroup() as group:
            for worker in range(WORKERS):
                group.create_task(work(worker))

    # The kinds.

    async def _pull(self, name: str) -> None:
        cascade = await self._begin(name, sourceUrl=f"{self.there}/whep/{STREAM}")
        await self._until(cascade, lambda found: found["bytes"] > 0)
        await self._end(cascade)

    async def _push(self, name: str) -> None:
        cascade = await self._begin(STREAM, targetUrl=f"{self.there}/whip/{name}")
        await self._until(cascade, lambda found: found["bytes"] > 0)
        await self._end(cascade)

    async def _pull_briefly(self, name: str) -> None:
        cascade = await self._begin(name, sourceUrl=f"{self.there}/whep/{STREAM}")
        await asyncio.sleep(self.random.uniform(0, 0.06))
        await self._end(cascade)

    async def _push_briefly(self, name: str) -> None:
        cascade = await self._begin(STREAM, targetUrl=f"{self.there}/whip/{name}")
        await asyncio.sleep(self.random.uniform(0, 0.06))
        await self._end(cascade)

    async def _pull_in_vain(self, name: str) -> None:
        cascade = await self._begin(name, sourceUrl=f"{self.there}/whep/{STREAM}")
        found = await self._until(cascade, lambda found: found["state"] == "connected")
        await self._delete(found["sessionUrl"], 200, 204)
        await self._until(cascade, lambda found: found["state"] != "connected")
        await self._end(cascade)

    async def _push_in_vain(self, name: str) -> None:
        cascade = await self._begin(STREAM, targetUrl=f"{self.there}/whip/{name}")
        await self._until(cascade, lambda found: found["state"] == "connected")
        await self._delete(f"{self.there}/api/streams/{name}", 200, 204)
        await self._until(cascade, lambda found: found["state"] != "connected")
        await self._end(cascade)

    async def _pull_and_drop(self, name: str) -> None:
        await self._begin(name, sourceUrl=f"{self.there}/whep/{STREAM}")
        await asyncio.sleep(self.random.uniform(0, 0.06))
        await self._delete(f"{self.here}/api/streams/{name}", 200, 204)

    async def _refused(self, name: str) -> None:
        await self._fail(name, 502, f"{self.elsewhere.url}/refuses/whep/{STREAM}")

    async def _nonsense(self, name: str) -> None:
        await self._fail(name, 502, f"{self.elsewhere.url}/nonsense/whep/{STREAM}")

    async def _dead(self, name: str) -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            port = unused.getsockname()[1]
            # Bound and not listening: connections are refused.
            await self._fail(name, 504, f"http://127.0.0.1:{port}/whep/{STREAM}")

    async def _redirected(self, name: str) -> None:
        url = f"{self.elsewhere.url}/moved/whep/{STREAM}"
        cascade = await self._begin(name, sourceUrl=url)
        await self._until(cascade, lambda found: found["state"] == "connected")
        await self._end(cascade)

    async def _nowhere(self, name: str) -> None:
        url = f"{self.elsewhere.url}/nowhere/whep/{STREAM}"
        cascade = await self._begin(name, sourceUrl=url)
        await asyncio.sleep(self.random.uniform(0, 0.2))
        await self._end(cascade)

    async def _watch(self, _name: str) -> None:
        url = f"{self.here}/whep/{FAR}"
        async with RtpClient.viewer(url, video(VP8)) as viewer:
            await viewer.until(lambda: viewer.rtp)

    # What they are made of.

    async def _post(self, stream: str, **urls: str) -> tuple[int, str]:
        url = f"{self.here}/api/cascade/{stream}"
        async with self.http.post(url, json=urls) as response:
            return response.status, response.headers.get(
                "Location", await response.text()
            )

    async def _begin(self, stream: str, **urls: str) -> str:
        status, location = await self._post(stream, **urls)
        assert status == 200, (urls, status, location)  # noqa: S101 - a fault of the server
        return self.here + location

    async def _fail(self, stream: str, expected: int, source: str) -> None:
        status, text = await self._post(stream, sourceUrl=source)
        assert status == expected, (source, status, text)  # noqa: S101 - as above

    async def _until(
        self, cascade: str, condition: Callable[[dict[str, Any]], bool]
    ) -> dict[str, Any]:
        while True:
            async with self.http.get(cascade) as response:
                found: dict[str, Any] = await response.json()
            if condition(found):
                return found
            await asyncio.sleep(0.02)

    async def _end(self, cascade: str) -> None:
        await self._delete(cascade, 204)

    async def _delete(self, url: str, *expected: int) -> None:
        async with self.http.delete(url) as response:
            assert response.status in expected, (url, response.status)  # noqa: S101 - as above


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a run.

    Attributes:
        bases, ends: of each node, idle before and after.
        looks: of each node, in between.
        left: cascades, streams and sessions that nobody wants any more.
        seconds: what each cycle took, by its kind.
        wrong: answers that should have been others.
    """

    count: int
    bases: Sequence[Look]
    ends: Sequence[Look]
    looks: Sequence[Sequence[Look]]
    left: Sequence[str]
    seconds: dict[str, list[float]]
    wrong: Sequence[str]

    def slope(self, node: int) -> float:
        """Kilobytes of resident memory that a cascade cost a node, the second two thirds."""
        looks = self.looks[node]
        late = [look.memory * 1e3 for look in looks[len(looks) // 3 :]]
        if len(late) < 2:
            return 0.0
        slope = statistics.linear_regression(range(len(late)), late).slope
        return slope * len(looks) / self.count

    def faults(self) -> list[str]:
        """What is not as it has to be."""
        found = [*self.wrong, *self.left]
        for node, (base, end) in enumerate(zip(self.bases, self.ends, strict=True)):
            name = "here" if node == 0 else "there"
            found += [
                f"{name}, {key}: {count} at the end, {base.held[key]} at the beginning"
                for key, count in end.held.items()
                if count != base.held[key]
            ]
            heap, blocks = end.heap - base.heap, end.blocks - base.blocks
            if heap > MAX_HEAP or blocks > MAX_BLOCKS:
                found.append(
                    f"{name}: {heap:.1f} MB of the heap and {1000 * blocks:.0f} blocks "
                    "have not come back"
                )
            # Before so many the allocator is not warm.
            if self.count >= 500 and self.slope(node) > MAX_KILOBYTES:
                found.append(f"{name}: {self.slope(node):.1f} kB for each cascade")
        return found

    def table(self) -> str:
        """How long cycles took."""
        return "\n".join(
            f"{title:<34} {len(taken):4} × {statistics.median(taken) * 1e3:6.0f} ms "
            f"({min(taken) * 1e3:.0f} to {max(taken) * 1e3:.0f})"
            for title, taken in self.seconds.items()
        )


async def churn(
    count: int,
    *,
    first: int = FIRST,
    seed: int = 1,
    told: Callable[[str], None] = lambda line: None,
) -> Outcome:
    """Make and delete so many cascades between two nodes.

    Args:
        count: how many, besides the first.
        first: how many before, which are not counted.
        seed: of what is left to chance.
        told: is given a line for each look.
    """
    names = ("here", "there")
    async with contextlib.AsyncExitStack() as stack:
        there = await stack.enter_async_context(subject())
        here = await stack.enter_async_context(subject(there.url))
        nodes = [here, there]
        elsewhere = Elsewhere(there.url)
        await stack.enter_async_context(elsewhere.serving())
        http = await stack.enter_async_context(_client())
        for url, stream in (here.url, STREAM), (there.url, STREAM), (there.url, FAR):
            await stack.enter_async_context(_published(url, stream))
        chance = random.Random(seed)
        before = Churn(here.url, there.url, elsewhere, chance, http)
        await before.run(first)

        def tell(when: str, found: Sequence[Look]) -> None:
            for name, look in zip(names, found, strict=True):
                told(shown(f"{name}, {when}", look))

        await _forgotten(nodes, http)
        bases = [
            await settled(here, None, peers=1),
            await settled(there, None, peers=2),
        ]
        tell("base", bases)
        churn = Churn(here.url, there.url, elsewhere, chance, http)
        looks: list[list[Look]] = [[], []]
        done = 0
        for number in range(1, LOOKS + 1):
            await churn.run(count * number // LOOKS - done)
            done = count * number // LOOKS
            now = [await node.look() for node in nodes]
            tell(str(done), now)
            for seen, look in zip(looks, now, strict=True):
                seen.append(look)
        await _forgotten(nodes, http)
        ends = [
            await settled(node, base) for node, base in zip(nodes, bases, strict=True)
        ]
        tell("end", ends)
        left = [f"elsewhere: {session}" for session in elsewhere.sessions]
        left += await _left(here, http, {STREAM})
        left += await _left(there, http, {STREAM, FAR})
    return Outcome(
        count, bases, ends, looks, left, churn.seconds, [*before.faults, *churn.faults]
    )


async def _forgotten(nodes: Sequence[Subject], http: aiohttp.ClientSession) -> None:
    """Wait until sessions that have ended are listed no more, which takes half a minute.

    Raises:
        TimeoutError: they still are.
    """
    async with asyncio.timeout(60):
        for node in nodes:
            while await _ended(node, http):  # noqa: ASYNC110 - a node tells nobody
                await asyncio.sleep(1)


async def _ended(node: Subject, http: aiohttp.ClientSession) -> bool:
    async with http.get(f"{node.url}/api/streams/") as response:
        return any(
            session["state"] == "closed"
            for stream in await response.json()
            for side in ("publish", "subscribe")
            for session in stream[side]["sessions"]
        )


async def _left(
    node: Subject, http: aiohttp.ClientSession, kept: Collection[str]
) -> list[str]:
    """What a node has beside the publishers of these streams."""
    async with http.get(f"{node.url}/api/cascade/") as response:
        found = [f"a cascade of {item['stream']}" for item in await response.json()]
    async with http.get(f"{node.url}/api/streams/") as response:
        for stream in await response.json():
            if stream["id"] not in kept:
                found.append(f"stream {stream['id']}")
            sessions = stream["publish"]["sessions"][1:]
            sessions += stream["subscribe"]["sessions"]
            found += [
                f"session {session['id']} of {stream['id']}"
                for session in sessions
                if session["state"] != "closed"
            ]
    return [f"{node.url}: {item}" for item in found]


@contextlib.asynccontextmanager
async def _published(url: str, stream: str) -> AsyncIterator[None]:
    """A publisher for the time of the block."""
    client = RtpClient.publisher(f"{url}/whip/{stream}", video(VP8, ssrc=SSRC))
    async with client:
        task = asyncio.create_task(send(client, VP8.format, SSRC, float("inf")))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])


def _client() -> aiohttp.ClientSession:
    # Connections that are kept would be descriptors of the servers'.
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True))


def run(count: int, seed: int, told: Callable[[str], None]) -> int:
    """Run from the command line; the exit status."""
    began = time.monotonic()
    outcome = asyncio.run(churn(count, seed=seed, told=told))
    told(outcome.table())
    told(
        f"{count} cascades in {time.monotonic() - began:.0f} s; resident memory "
        f"{outcome.slope(0):+.2f} and {outcome.slope(1):+.2f} kB for each"
    )
    for fault in outcome.faults():
        told(f"FAULT {fault}")
    return 1 if outcome.faults() else 0
