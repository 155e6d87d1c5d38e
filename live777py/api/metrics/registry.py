"""All series of a node, and the page that Prometheus reads."""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Callable, Iterable, Iterator

from aiohttp import web
from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    Info,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.core import CounterMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from live777py import __version__
from live777py.api.metrics.media import MediaSeries
from live777py.api.metrics.requests import RequestSeries
from live777py.api.metrics.sessions import SessionSeries
from live777py.api.metrics.streams import MAX_NAMED, StreamSeries
from live777py.core.live import Live

#: Reads a counter that somebody else keeps.
Read = Callable[[], int]


class Metrics:
    """The series of one node, in a registry of their own.

    The numbers of a page are read at once in the event loop; what takes long, writing them down,
    is done in a thread, one page at a time.
    """

    def __init__(
        self,
        live: Live,
        *,
        auth_failures: Read = lambda: 0,
        rate_limited: Read = lambda: 0,
        max_named: int = MAX_NAMED,
    ) -> None:
        """Begin to count.

        Args:
            live: whose streams and events are told of.
            auth_failures: how many requests had a wrong token.
            rate_limited: how many were refused since their address sent too many.
            max_named: streams that have series of their own.
        """
        self._registry = CollectorRegistry()
        self._streams = StreamSeries(live, max_named)
        self._media = MediaSeries(live)
        self._front = FrontSeries(auth_failures, rate_limited)
        for series in (self._streams, self._media, self._front):
            self._registry.register(series)
        SessionSeries(live.events, self._registry)
        self._requests = RequestSeries(self._registry)
        build = Info("live777_build", "What runs here.", registry=self._registry)
        build.info({"version": __version__, "python": platform.python_version()})
        self._has_process = False
        self._writing = asyncio.Lock()

    def count_requests(self, app: web.Application) -> None:
        """Count the requests of an application."""
        self._requests.install(app)

    async def page(self, accept: str = "") -> tuple[bytes, str]:
        """All series as text.

        Args:
            accept: the formats that the reader prefers, as the HTTP header names them.

        Returns:
            The page and its media type.
        """
        async with self._writing:
            self._streams.read()
            self._media.read()
            self._front.read()
            return await asyncio.to_thread(self._write, accept)

    def _write(self, accept: str) -> tuple[bytes, str]:
        if not self._has_process:
            # They read files, also when they are made.
            self._has_process = True
            for collector in (ProcessCollector, PlatformCollector, GCCollector):
                collector(registry=self._registry)
        encode, media_type = choose_encoder(accept)
        return encode(_Lasting(self._registry)), media_type


class FrontSeries(Collector):
    """Requests that did not get as far as a handler; others count them."""

    def __init__(self, auth_failures: Read, rate_limited: Read) -> None:
        self._read = (auth_failures, rate_limited)
        self._reading = (0, 0)

    def read(self) -> None:
        """Take the numbers that `collect` tells until the next reading."""
        auth_failures, rate_limited = self._read
        self._reading = auth_failures(), rate_limited()

    def collect(self) -> Iterator[Metric]:
        """The series of the latest reading."""
        auth_failures, rate_limited = self._reading
        yield CounterMetricFamily(
            "live777_auth_failures", "Requests with a wrong token.", auth_failures
        )
        yield CounterMetricFamily(
            "live777_rate_limited",
            "Requests that were refused since their address sent too many.",
            rate_limited,
        )


class _Lasting(CollectorRegistry):
    """A registry without the times at which each series began: they double the page."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__()
        self._source = registry

    def collect(self) -> Iterable[Metric]:
        for metric in self._source.collect():
            metric.samples = [
                sample
                for sample in metric.samples
                if sample.name != f"{metric.name}_created"
            ]
            yield metric
