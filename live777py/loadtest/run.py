"""One load test from its first POST to its last DELETE."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import random
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from itertools import count
from urllib.parse import urlsplit

from live777py.aio.finish import finish
from live777py.aio.scope import TaskScope
from live777py.clients.whep import WhepClient
from live777py.clients.whip import WhipClient
from live777py.descriptors import allow_many
from live777py.errors import LiveError
from live777py.loadtest.options import CONCURRENT_JOINS, Options, url_of
from live777py.loadtest.playback import Prepared
from live777py.loadtest.publisher import Publisher
from live777py.loadtest.result import Result, empty_metrics
from live777py.loadtest.samples import percentile
from live777py.loadtest.sockets import SocketLoop
from live777py.loadtest.usage import Usage, usage
from live777py.loadtest.viewer import Measurement, Viewer
from live777py.media import clip as clips
from live777py.rtc.dtls import Certificate
from live777py.rtc.full_ice import source_address

#: Seconds for which the last packets may be under way, and in which they have to have ended.
_SETTLED = 0.3
_MAX_SETTLING = 2.0

#: Seconds between two looks at everything that is not a packet.
_TICK = 0.1
_REPORT_TICKS = 20
_SAMPLE_TICKS = 5

#: Seconds between two looks at what is missing; libwebrtc has the same.
_ASKING = 0.02

_MAX_ERRORS = 20

#: From here on the tool itself is what is slow.
_BUSY = 0.9
_LATE = 0.1


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a load test is.

    Attributes:
        phase: "preparing", "publishing", "joining", "measuring" or "leaving".
        share: how much of the phase is done, 0 to 1.
        joined, failed: viewers.
        packets_per_second, bits_per_second: received by all viewers, lately.
        delivered: so far; None while nobody watches.
    """

    phase: str
    share: float
    joined: int = 0
    failed: int = 0
    packets_per_second: float = 0.0
    bits_per_second: float = 0.0
    delivered: float | None = None


async def run(
    options: Options,
    *,
    progress: Callable[[Progress], None] | None = None,
    stop: asyncio.Event | None = None,
) -> Result:
    """Run one load test.

    Args:
        options: what to do.
        progress: called some times a second.
        stop: ends the test early when set; sessions are deleted, what was found is returned.

    Raises:
        UnusableMedia: the file cannot be published.
    """
    test = _Test(options, progress or (lambda _progress: None), stop or asyncio.Event())
    return await test.run()


class _Test:
    """The state of one load test; `run` is called once."""

    def __init__(
        self,
        options: Options,
        progress: Callable[[Progress], None],
        stop: asyncio.Event,
    ) -> None:
        self._options = options
        self._progress = progress
        self._stop = stop
        self._certificate = Certificate.generate()
        self._measurement = Measurement(options.loss, options.seed)
        self._loop = SocketLoop()
        self._whip = WhipClient(options.token, timeout=options.timeout)
        self._whep = WhepClient(options.token, timeout=options.timeout)
        self._publishers: list[Publisher] = []
        self._viewers: list[Viewer] = []
        self._wanted: list[Viewer] = []
        self._failed = 0
        self._errors: Counter[str] = Counter()
        self._media: Prepared | None = None
        self._joining = 0.0
        self._phase = Progress("preparing", 0.0)
        self._last_count = (time.monotonic(), 0, 0)

    async def run(self) -> Result:
        options = self._options
        allow_many()
        self._say(phase="preparing", share=0.0)
        if options.whip is not None:
            self._media = await asyncio.to_thread(_prepare, options)
        async with self._whip, self._whep, self._loop:
            try:
                return await self._run()
            finally:
                # Sessions are ended also when we are cancelled.
                await finish(self._leave)

    async def _run(self) -> Result:
        options = self._options
        async with TaskScope() as scope:
            await self._publish(scope)
            scope.spawn(self._look_after)
            if options.loss:
                scope.spawn(self._ask_again)
            if not options.whip or self._publishers:
                await self._join()
            window = await _Window.begin(self)
            self._measurement.is_on = True
            for publisher in self._publishers:
                publisher.latest = 0.0  # while many joined, nobody measured
            if self._viewers or (self._publishers and not options.viewers):
                await self._wait(options.seconds)
            self._measurement.is_on = False
            window = await window.end(self)
            drops = self._loop.dropped
        # The publishers' tasks are over; what they sent last is still under way.
        await self._settle()
        return self._result(window, drops)

    async def _publish(self, scope: TaskScope) -> None:
        options = self._options
        if options.whip is None or self._media is None:
            return
        hosts = await _hosts(options.whip)
        wanted = [
            Publisher(
                url_of(options.whip, number, options.publishers),
                number,
                self._media,
                certificate=self._certificate,
                hosts=hosts,
                seed=options.seed,
            )
            for number in range(1, options.publishers + 1)
        ]
        done = 0

        async def connect(publisher: Publisher) -> None:
            nonlocal done
            try:
                await publisher.connect(self._whip, options.timeout)
            except (LiveError, OSError) as error:
                self._note("publishing", error)
                await publisher.leave(self._whip)
            else:
                self._publishers.append(publisher)
                # Frames of different streams are spread over the time of one.
                offset = random.Random(publisher.number).random()  # noqa: S311
                scope.spawn(publisher.run, offset / 30)
            done += 1
            self._say(phase="publishing", share=done / len(wanted))

        await self._each(connect, wanted)

    async def _join(self) -> None:
        options = self._options
        if options.whep is None or not options.viewers:
            return
        hosts = await _hosts(options.whep)
        by_number = {p.number: p for p in self._publishers}
        streams = options.publishers
        self._wanted = [
            Viewer(
                url_of(options.whep, number, streams),
                by_number.get(number),
                self._measurement,
                certificate=self._certificate,
                hosts=hosts,
            )
            for number in (1 + index % streams for index in range(options.viewers))
        ]
        self._say(phase="joining", share=0.0)
        begin = time.monotonic()
        await self._each(self._join_one, self._wanted, options.rate)
        self._joining = time.monotonic() - begin

    async def _join_one(self, viewer: Viewer) -> None:
        try:
            await viewer.join(self._whep, self._loop, self._options.timeout)
        except (LiveError, OSError) as error:
            self._failed += 1
            self._note("watching", error)
            await viewer.leave(self._whep, self._loop)
        else:
            self._viewers.append(viewer)
        done = len(self._viewers) + self._failed
        self._say(share=done / len(self._wanted))

    async def _each(
        self,
        do: Callable[..., Awaitable[None]],
        items: Iterable[object],
        rate: float | None = None,
    ) -> None:
        """Do something with each, a bounded number at a time, at a rate if there is one."""
        items = list(items)
        # At a rate, those that wait for a slow server must not hold up the next ones.
        bound = CONCURRENT_JOINS if rate is None else max(CONCURRENT_JOINS, len(items))
        slots = asyncio.Semaphore(bound)

        async def one(item: object) -> None:
            async with slots:
                if not self._stop.is_set():
                    await do(item)

        begin = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for index, item in enumerate(items):
                if rate is not None:
                    await self._wait(begin + index / rate - time.monotonic())
                if self._stop.is_set():
                    break
                group.create_task(one(item))

    async def _wait(self, seconds: float) -> None:
        """Sleep, or until the test is to end."""
        if seconds > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._stop.wait()

    async def _look_after(self) -> None:
        """Reports, the turn of the viewer that is decrypted, and where we are."""
        begin = None
        sampled: Viewer | None = None
        for tick in count():
            await asyncio.sleep(_TICK)
            viewers = self._viewers
            # A share of them at each tick, so that reports do not come in bursts.
            for viewer in viewers[tick % _REPORT_TICKS :: _REPORT_TICKS]:
                viewer.report()
            if tick % _SAMPLE_TICKS == 0 and viewers:
                if sampled is not None:
                    sampled.sample(False)
                sampled = viewers[tick // _SAMPLE_TICKS % len(viewers)]
                sampled.sample(True)
            if self._measurement.is_on:
                begin = begin or time.monotonic()
                share = (time.monotonic() - begin) / self._options.seconds
                self._say(phase="measuring", share=min(share, 1.0))
            elif tick % 2 == 0:
                self._say()

    async def _ask_again(self) -> None:
        """Have viewers ask for what is still missing, as often as players look after it."""
        while True:
            await asyncio.sleep(_ASKING)
            for viewer in self._viewers:
                viewer.ask_again()

    async def _settle(self) -> None:
        """Wait until nothing comes any more, for a moment at least."""
        end = time.monotonic() + _MAX_SETTLING
        before = -1
        while self._packets != before and time.monotonic() < end:
            before = self._packets
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_SETTLED):
                    await self._ask_again()

    async def _leave(self) -> None:
        self._say(phase="leaving", share=0.0)
        slots = asyncio.Semaphore(4 * CONCURRENT_JOINS)

        async def one(leave: Awaitable[None]) -> None:
            async with slots:
                await leave

        async with asyncio.TaskGroup() as group:
            for viewer in self._wanted:
                group.create_task(one(viewer.leave(self._whep, self._loop)))
            for publisher in self._publishers:
                group.create_task(one(publisher.leave(self._whip)))

    @property
    def _packets(self) -> int:
        return sum(viewer.packets for viewer in self._viewers)

    def _note(self, doing: str, error: Exception) -> None:
        text = f"{doing}: {error}"
        # URLs differ in the stream's number only; twenty kinds of error tell enough.
        if text in self._errors or len(self._errors) < _MAX_ERRORS:
            self._errors[text] += 1

    def _say(self, **changes: object) -> None:
        now, packets = time.monotonic(), self._packets
        octets = sum(viewer.octets for viewer in self._viewers)
        passed = now - self._last_count[0]
        if passed >= 0.5:
            changes["packets_per_second"] = (packets - self._last_count[1]) / passed
            changes["bits_per_second"] = 8 * (octets - self._last_count[2]) / passed
            self._last_count = now, packets, octets
        expected = sum(viewer.expected for viewer in self._viewers)
        self._phase = replace(
            self._phase,
            joined=len(self._viewers),
            failed=self._failed,
            delivered=min(packets / expected, 1.0) if expected else None,
            **changes,  # type: ignore[arg-type]
        )
        self._progress(self._phase)

    # The result.

    def _result(self, window: _Window, drops: int) -> Result:
        options, measurement = self._options, self._measurement
        metrics = empty_metrics()
        self._add_joins(metrics)
        self._add_delivery(metrics)
        self._add_times(metrics)
        if measurement.dropped:
            metrics["recovered_200ms"] = measurement.within_200ms / measurement.dropped
            metrics["recovered_1s"] = measurement.within_1s / measurement.dropped
        seconds = max(window.seconds, 1e-9)
        metrics["bits_per_second"] = 8 * window.octets / seconds
        if window.server is not None:
            metrics["cpu"] = window.server.cpu_seconds / seconds
            metrics["memory"] = float(window.server.memory)
            if window.packets:
                metrics["cpu_per_packet"] = window.server.cpu_seconds / window.packets
        publishers, viewers = self._publishers, self._viewers
        result = Result(
            metrics=metrics,
            media=None if self._media is None else _described(self._media),
            publishers=0 if options.whip is None else options.publishers,
            viewers=0 if options.whep is None else options.viewers,
            publishers_connected=len(publishers),
            viewers_connected=len(viewers),
            viewers_ended=sum(viewer.is_gone for viewer in viewers),
            seconds=window.seconds,
            packets=window.packets,
            packets_lost=sum(max(v.expected - v.packets, 0) for v in viewers),
            payloads_compared=sum(v.verified + v.altered for v in viewers),
            payloads_altered=sum(viewer.altered for viewer in viewers),
            undecryptable=sum(viewer.undecryptable for viewer in viewers),
            retransmitted=sum(p.retransmitted for p in publishers),
            key_frames_asked=sum(p.key_frames_asked for p in publishers),
            dropped=measurement.dropped,
            own_cpu=window.own_cpu / seconds,
            own_drops=drops,
            latest_send=max((p.latest for p in publishers), default=0.0),
            errors=dict(self._errors.most_common()),
            interrupted=self._stop.is_set(),
        )
        return replace(result, warnings=tuple(self._warnings(result)))

    def _add_joins(self, metrics: dict[str, float | None]) -> None:
        viewers = self._viewers
        if self._wanted:
            metrics["connected"] = len(viewers) / len(self._wanted)
        if viewers and self._joining:
            metrics["joins_per_second"] = len(viewers) / self._joining
        for name, times in (
            ("join", [v.connected - v.posted for v in viewers]),
            (
                "first_packet",
                [v.first_packet - v.posted for v in viewers if v.first_packet],
            ),
            (
                "first_key_frame",
                [v.first_key_frame - v.posted for v in viewers if v.first_key_frame],
            ),
        ):
            seconds = [time / 1e9 for time in times]
            metrics[f"{name}_p50"] = percentile(seconds, 0.50)
            metrics[f"{name}_p99"] = percentile(seconds, 0.99)

    def _add_delivery(self, metrics: dict[str, float | None]) -> None:
        counts = [(min(v.packets, v.expected), v.expected) for v in self._viewers]
        expected = sum(count for _, count in counts)
        if expected:
            metrics["delivered"] = sum(count for count, _ in counts) / expected
            metrics["worst_delivered"] = min(came / sent for came, sent in counts)

    def _add_times(self, metrics: dict[str, float | None]) -> None:
        latency = self._measurement.latency
        metrics["latency_p50"] = latency.percentile(0.50)
        metrics["latency_p99"] = latency.percentile(0.99)
        jitters = [j for v in self._viewers if (j := v.jitter) is not None]
        metrics["jitter_p50"] = percentile(jitters, 0.50)
        metrics["jitter_p99"] = percentile(jitters, 0.99)

    def _warnings(self, result: Result) -> Iterable[str]:
        if result.own_cpu > _BUSY:
            yield (
                f"the tool itself was the bottleneck: it used {result.own_cpu:.0%} of a "
                "core; measure with fewer viewers or streams"
            )
        if result.own_drops:
            yield (
                f"the tool itself was the bottleneck: {result.own_drops} datagrams came "
                "to full sockets of its own; these count as lost"
            )
        if result.latest_send > _LATE:
            yield (
                f"frames were sent up to {result.latest_send * 1000:.0f} ms late: the tool "
                "was not given enough CPU"
            )
        if result.payloads_altered:
            yield (
                f"{result.payloads_altered} of {result.payloads_compared} payloads "
                "compared are not as they were sent"
            )
        if result.viewers_ended:
            yield f"{result.viewers_ended} sessions of viewers ended before their time"
        gone = sum(publisher.is_gone for publisher in self._publishers)
        if gone:
            yield f"{gone} sessions of publishers ended before their time"
        if self._options.pid is not None and result.metrics["cpu"] is None:
            yield f"nothing is known of process {self._options.pid}"


@dataclass(frozen=True, slots=True)
class _Window:
    """The counters at a moment, or what they grew by in some seconds."""

    seconds: float
    packets: int
    octets: int
    own_cpu: float
    server: Usage | None

    @classmethod
    async def begin(cls, test: _Test) -> _Window:
        pid = test._options.pid
        server = None if pid is None else await asyncio.to_thread(usage, pid)
        return cls(
            time.monotonic(),
            test._packets,
            sum(viewer.octets for viewer in test._viewers),
            time.process_time(),
            server,
        )

    async def end(self, test: _Test) -> _Window:
        now = await _Window.begin(test)
        server = None
        if self.server is not None and now.server is not None:
            spent = now.server.cpu_seconds - self.server.cpu_seconds
            server = Usage(spent, now.server.memory)
        return _Window(
            now.seconds - self.seconds,
            now.packets - self.packets,
            now.octets - self.octets,
            now.own_cpu - self.own_cpu,
            server,
        )


def _prepare(options: Options) -> Prepared:
    clip = clips.synthetic() if options.media is None else clips.read(options.media)
    return Prepared.of(clip)


def _described(media: Prepared) -> str:
    names = ", ".join(track.codec.name for track in media.tracks)
    return f"{media.name} ({names}, {media.bit_rate / 1e6:.1f} Mbit/s)"


async def _hosts(url: str) -> list[str] | None:
    """The local address from which packets go to a URL's host: one socket a peer will do.

    None, for all addresses of this machine, when the host cannot be resolved here.
    """
    name = urlsplit(url).hostname or ""
    try:
        ipaddress.ip_address(name)
        addresses = [name]
    except ValueError:
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(name, None, type=socket.SOCK_DGRAM)
        except OSError:
            return None
        addresses = [str(address[0]) for *_, address in found]
    routes = dict.fromkeys(source_address(address) for address in addresses)
    return [route for route in routes if route is not None] or None
