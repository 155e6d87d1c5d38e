"""One conformance run from its first request to its last DELETE."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from urllib.parse import urlsplit

from live777py.aio.finish import finish
from live777py.conformance import catalogue
from live777py.conformance.bench import Bench
from live777py.conformance.exchange import Exchange, NoResponse
from live777py.conformance.model import (
    SIDES,
    Check,
    Failed,
    Finding,
    NotApplicable,
    Outcome,
    Report,
    Side,
    Skipped,
)
from live777py.conformance.options import Options, Target, targets
from live777py.conformance.peer import Peers, RealPeers

logger = logging.getLogger(__name__)

#: Seconds that a new stream may take to become one that can be watched.
_SETTLE = 5.0

#: Called before each check with how many are done and how many there are.
Progress = Callable[[int, int, Check], None]


class ServerDead(Exception):
    """The server does not answer at all; the message is for people."""


async def run(
    options: Options,
    *,
    progress: Progress | None = None,
    peers: Peers | None = None,
    checks: Iterable[Check] | None = None,
) -> Report:
    """Make all checks; whatever happens, sessions are deleted in the end.

    Args:
        options: where.
        progress: called before each check.
        peers: makes what connects.
        checks: which ones; all by default.

    Raises:
        ServerDead: there is nothing to check.
    """
    chosen = catalogue.checks() if checks is None else tuple(checks)
    start = time.monotonic()
    async with Exchange() as exchange:
        runner = _Runner(options, exchange, peers or RealPeers(), chosen, progress)
        left: list[str] = []

        async def clean() -> None:
            left.extend(await exchange.clean())

        try:
            server = await _probe(exchange, options)
            await runner.run(start + options.bound)
        finally:
            await finish(clean)
        return Report(
            chosen,
            runner.findings,
            options.whip,
            options.whep,
            server,
            time.monotonic() - start,
            exchange.requests,
            tuple(left),
        )


async def _probe(exchange: Exchange, options: Options) -> str | None:
    """See whether anybody is there; returns what the server calls itself."""
    name = None
    for url in (options.whip, options.whep):
        if url is None:
            continue
        try:
            reply = await exchange.request("OPTIONS", url)
        except NoResponse as error:
            place = urlsplit(url).netloc.rpartition("@")[2]
            raise ServerDead(f"{place} does not answer: {error.reason}") from error
        if name is None and "Server" in reply.headers:
            name = reply.headers["Server"]
    return name


class _Runner:
    """Makes checks and keeps what they find.

    Attributes:
        findings: by number, then by side.
    """

    def __init__(
        self,
        options: Options,
        exchange: Exchange,
        peers: Peers,
        checks: tuple[Check, ...],
        progress: Progress | None,
    ) -> None:
        self.findings: dict[int, dict[Side, Finding]] = {c.number: {} for c in checks}
        self._options = options
        self._exchange = exchange
        self._peers = peers
        self._checks = checks
        self._progress = progress or (lambda _done, _all, _check: None)
        self._sides = [
            side
            for side, url in zip(SIDES, (options.whip, options.whep), strict=True)
            if url is not None
        ]
        self._names = targets(options)
        self._deadline = 0.0
        self._done = 0
        self._dead = ""

    async def run(self, deadline: float) -> None:
        """Make all checks of all sides."""
        self._deadline = deadline
        benches: dict[Side, Bench] = {}
        async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
            for side in self._sides:
                if side == "whip":
                    benches[side] = self._bench(side)
                else:
                    publisher = benches.get("whip")
                    bench = await stack.enter_async_context(self._watched(publisher))
                    if isinstance(bench, str):
                        self._skip_all(side, bench)
                        continue
                    benches[side] = bench
                await self._side(benches[side], group)
        for side, bench in benches.items():
            for check in self._of(side):
                if check.is_last:
                    await self._make(check, bench)

    async def _side(self, bench: Bench, group: asyncio.TaskGroup) -> None:
        checks = [check for check in self._of(bench.side) if not check.is_last]
        slow = [check for check in checks if check.is_slow]
        # Of one stream several publishers would fight for the place.
        beside = not (bench.is_fixed and bench.side == "whip")
        if beside:
            for check in slow:
                group.create_task(self._make(check, bench))
        for check in checks:
            if not (check.is_slow and beside):
                await self._make(check, bench)

    def _of(self, side: Side) -> Iterator[Check]:
        return (check for check in self._checks if side in check.sections)

    def _bench(
        self, side: Side, live: Target | None = None, idle: Target | None = None
    ) -> Bench:
        return Bench(
            side,
            self._exchange,
            self._peers,
            self._names,
            live=live,
            idle=idle,
            is_fixed=self._options.is_fixed,
            has_token=self._options.token is not None,
        )

    @asynccontextmanager
    async def _watched(self, publisher: Bench | None) -> AsyncIterator[Bench | str]:
        """A bench with a live stream, or why there is none."""
        if publisher is None:
            target = next(self._names)
            yield self._bench("whep", live=target)
            return
        async with AsyncExitStack() as stack:
            idle = None
            found: Bench | str
            try:
                if not publisher.is_fixed:
                    async with publisher.connected() as ended:
                        idle = ended.session.target
                        await self._settle(self._bench("whep", live=idle))
                call = await stack.enter_async_context(publisher.connected())
                found = self._bench("whep", live=call.session.target, idle=idle)
                await self._settle(found)
            except (Failed, Skipped, NoResponse) as error:
                found = f"there is no stream to watch: {error}"
            yield found

    async def _settle(self, bench: Bench) -> None:
        """Wait until the stream can be watched: some servers look at its media first."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_SETTLE):
                while True:
                    reply = await bench.posted(bench.offer(), "an offer")
                    if reply.is_success:
                        return
                    await asyncio.sleep(0.5)

    def _skip_all(self, side: Side, reason: str) -> None:
        for check in self._of(side):
            self.findings[check.number][side] = Finding(Outcome.SKIP, reason)

    async def _make(self, check: Check, bench: Bench) -> None:
        total = sum(1 for side in self._sides for _ in self._of(side))
        self._progress(self._done, total, check)
        self.findings[check.number][bench.side] = await self._found(check, bench)
        self._done += 1

    async def _found(self, check: Check, bench: Bench) -> Finding:
        if self._dead:
            return Finding(Outcome.SKIP, self._dead)
        seconds = min(check.timeout, self._deadline - time.monotonic())
        if seconds <= 0 or (check.is_slow and seconds < check.timeout):
            return Finding(Outcome.SKIP, "no time was left")
        try:
            async with asyncio.timeout(seconds):
                return Finding(Outcome.PASS, await check.run(bench))
        except Failed as failure:
            return Finding.of_failure(failure)
        except NotApplicable as reason:
            return Finding(Outcome.NOT_APPLICABLE, str(reason))
        except Skipped as reason:
            return Finding(Outcome.SKIP, str(reason))
        except NoResponse as error:
            if error.is_dead:
                self._dead = f"the server has gone ({error.reason})"
            return Finding.of_failure(
                Failed(
                    error.sent,
                    f"no response ({error.reason})",
                    "a response",
                    "answer every request",
                )
            )
        except TimeoutError:
            return Finding(Outcome.SKIP, f"not finished within {seconds:.0f} s")
        except Exception as error:
            logger.exception("check %d", check.number)
            return Finding(
                Outcome.SKIP, f"the check itself failed: {type(error).__name__}"
            )
