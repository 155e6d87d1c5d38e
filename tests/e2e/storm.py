"""A real server in a storm of odd requests: who sends them, what is answered and what is kept.

The server has a thread of its own, since the clients here block.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import requests
from aiohttp.http_exceptions import HttpProcessingError
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from live777py.api.native.openapi import SDP
from tests.support.offers import VP8, audio, video
from tests.support.rtp_client import RtpClient
from tests.support.server import RunningServer, running

#: A stream that somebody publishes while the storm lasts.
LIVE = "live"

#: Tables of the server that must be empty when all have left.
TABLES = (
    "peers",
    "tracks",
    "viewers",
    "sources",
    "taps",
    "adopted",
    "commands_waiting",
)

#: Seconds in which everything has to be given back.
SETTLE = 40.0


class Errors(logging.Handler):
    """Keeps what the server logs as its own fault."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        # What is no HTTP is answered by 400; `live777py.log` leaves it out as well.
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, HttpProcessingError):
            self.lines.append(self.format(record))


@dataclass
class Target:
    """A server in another thread, and a client of it.

    Attributes:
        statuses: how often each was answered.
        errors: what the server logged as its own fault.
    """

    server: RunningServer
    loop: asyncio.AbstractEventLoop
    http: requests.Session
    errors: Errors
    statuses: Counter[int] = field(default_factory=Counter)

    def ask(
        self, method: str, path: str, body: bytes = b"", **headers: str
    ) -> requests.Response:
        """One request; `If_Match="*"` is a header."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        response = self.http.request(
            method, self.server.url + path, data=body, headers=named, timeout=20
        )
        self.statuses[response.status_code] += 1
        return response

    def note(self, status: int) -> None:
        """Count an answer that must not be the server's fault."""
        self.statuses[status] += 1
        assert status < HTTPStatus.INTERNAL_SERVER_ERROR

    def begin(self, path: str, body: bytes = b"") -> str:
        """A session's URL."""
        return self.ask("POST", path, body, Content_Type=SDP).headers["Location"]

    def belongings(self) -> dict[str, int]:
        """What the server has at the moment."""

        async def count() -> dict[str, int]:
            counters = self.server.counters
            return {
                "tasks": len(asyncio.all_tasks()),
                "descriptors": len(os.listdir("/proc/self/fd")),
                **{name: counters[name] for name in TABLES},
            }

        return asyncio.run_coroutine_threadsafe(count(), self.loop).result(SETTLE)

    def check_that_nothing_is_left(self, base: dict[str, int]) -> None:
        """Wait until the server has what it had, and nothing has surprised it."""
        until = time.monotonic() + SETTLE
        while (now := self.belongings()) != base and time.monotonic() < until:
            time.sleep(0.1)
        assert now == base, f"{now}, and {base} before"
        streams = self.ask("GET", "/api/streams/").json()
        assert [stream["id"] for stream in streams] == [LIVE]
        assert not streams[0]["subscribe"]["sessions"] or all(
            session["state"] == "closed"
            for session in streams[0]["subscribe"]["sessions"]
        )
        assert not self.errors.lines, self.errors.lines[0]


@contextlib.contextmanager
def storm() -> Iterator[Target]:
    """A server whose stream `LIVE` is published."""
    ready: Future[tuple[RunningServer, asyncio.AbstractEventLoop]] = Future()
    done: Future[asyncio.Event] = Future()

    async def serve() -> None:
        stop = asyncio.Event()
        async with (
            # Headers of proxies are read.
            running(http={"trusted_proxies": ["127.0.0.1"]}) as server,
            RtpClient.publisher(f"{server.url}/whip/{LIVE}", audio(), video(VP8)),
        ):
            await server.until_published(LIVE)
            done.set_result(stop)
            ready.set_result((server, asyncio.get_running_loop()))
            await stop.wait()

    def main() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:
            if ready.done():
                raise
            ready.set_exception(error)

    thread = threading.Thread(target=main, name="server")
    errors = Errors()
    logging.getLogger().addHandler(errors)
    thread.start()
    try:
        server, loop = ready.result(120)
        try:
            with requests.Session() as http:
                target = Target(server, loop, http, errors)
                # The connection is there before anything is counted.
                target.ask("GET", "/healthz")
                yield target
        finally:
            loop.call_soon_threadsafe(done.result().set)
    finally:
        thread.join()
        logging.getLogger().removeHandler(errors)


def examples(
    run: Callable[[Any], None],
    strategy: st.SearchStrategy[Any],
    count: int,
    number: int,
) -> None:
    """Run `count` examples; the same seed makes the same ones."""

    @seed(number)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        # Shrinking would repeat thousands of requests; what fails is printed as it is.
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def each(example: Any) -> None:
        run(example)

    each()
