from __future__ import annotations

import pytest

from live777py.conformance.bench import Bench, described, expect
from live777py.conformance.exchange import Exchange
from live777py.conformance.model import Failed, NotApplicable, Side, Skipped
from live777py.conformance.options import Options, targets
from tests.conformance.fake import FakePeer, FakeServer, serving

pytestmark = pytest.mark.usefixtures("hurried")


def bench_of(server: FakeServer, exchange: Exchange, side: Side = "whip") -> Bench:
    options = Options(f"{server.url}/whip/cam", f"{server.url}/whep/cam")
    names = targets(options)
    return Bench(side, exchange, lambda side, _url: FakePeer(server, side), names)


async def test_a_session_stands_for_a_block() -> None:
    async with serving() as server, Exchange() as exchange:
        bench = bench_of(server, exchange)
        async with bench.opened() as session:
            assert len(server.sessions) == 1
            assert session.etag is not None
            assert described(session).media
        assert server.sessions == {}


async def test_a_session_that_is_refused_cannot_be_looked_at() -> None:
    async with serving() as server, Exchange() as exchange:
        bench = bench_of(server, exchange)
        with pytest.raises(Skipped, match="400 Bad Request"):
            async with bench.opened("no SDP", "nonsense"):
                raise AssertionError("there is none")


async def test_the_sample_is_asked_for_once() -> None:
    async with serving() as server, Exchange() as exchange:
        bench = bench_of(server, exchange)
        assert await bench.sample() is await bench.sample()
        assert exchange.requests == 2


async def test_the_same_probe_serves_all_checks_of_patch() -> None:
    async with serving() as server, Exchange() as exchange:
        bench = bench_of(server, exchange)
        found = await bench.patching()
        assert found.has_trickle
        assert found.has_restart
        assert found.survives
        assert found.flows == ""
        assert await bench.patching() is found
        assert server.sessions == {}


async def test_without_patch_the_probe_says_so() -> None:
    async with serving(["no-patch"]) as server, Exchange() as exchange:
        with pytest.raises(NotApplicable, match="405"):
            await bench_of(server, exchange).patching()


async def test_a_peer_that_cannot_connect_is_a_failure() -> None:
    async with serving(faults=["end-ends"]) as server, Exchange() as exchange:
        bench = bench_of(server, exchange)

        async def end(session: object) -> None:
            for known in server.sessions.values():
                known.is_broken = session is not None

        with pytest.raises(Failed, match="no connectivity check"):
            async with bench.connected(before=end):
                raise AssertionError("it must not connect")
        assert server.sessions == {}


async def test_media_flows_or_does_not() -> None:
    async with serving() as server, Exchange() as exchange:
        bench = bench_of(server, exchange, "whep")
        async with bench.connected() as call:
            assert await bench.flows(call)
            next(iter(server.sessions.values())).is_broken = True
            assert not await bench.flows(call)


async def test_what_is_not_sdp_is_no_answer() -> None:
    async with serving() as server, Exchange() as exchange:
        bench = bench_of(server, exchange)
        reply = await bench.ask("GET", f"{server.url}/nowhere", bench.unused())
        with pytest.raises(Failed, match="got 404 Not Found so, expected 2xx; mend"):
            expect(False, reply, "2xx", "mend", "so")
        expect(True, reply, "2xx", "mend")
