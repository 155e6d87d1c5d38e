"""`GET /metrics`, over sockets and with media."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable

import aiohttp

from live777py.protocol.rtcp import PictureLoss
from tests.api.metrics.support import Samples, key, parsed
from tests.rtc.test_viewer import SSRC, packets, whep, whip
from tests.support.offers import VP8, video
from tests.support.rtp_client import RtpClient
from tests.support.server import RunningServer, running


async def scrape(server: RunningServer) -> Samples:
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"{server.url}/metrics") as response,
    ):
        assert response.status == 200
        assert response.headers["Content-Type"].startswith("text/plain; version=")
        return parsed(await response.text())


async def until(server: RunningServer, condition: Callable[[Samples], bool]) -> Samples:
    """Scrape until the page says so."""
    async with asyncio.timeout(20):
        while True:
            got = await scrape(server)
            if condition(got):
                return got
            await asyncio.sleep(0.02)


async def test_what_is_published_and_watched_grows_from_page_to_page() -> None:
    async with (
        running() as server,
        RtpClient.publisher(whip(server), video(VP8, ssrc=SSRC)) as publisher,
        RtpClient.viewer(whep(server), video(VP8)) as viewer,
    ):
        # From here on the viewer is in the tables, and no packet can come too early for it.
        joined = key("live777_join_seconds_count", role="subscribe")
        before = await until(server, lambda got: got[joined] == 1)
        for packet in packets(20):
            await publisher.send_rtp(packet)
        await viewer.until(lambda: len(viewer.rtp) >= 20)
        ssrc = viewer.rtp[0].ssrc
        await viewer.send_rtcp(PictureLoss(sender_ssrc=1, media_ssrc=ssrc))
        wanted = key("live777_key_frame_requests_total", direction="in")
        await until(server, lambda got: got[wanted] == 1)
        # Sessions are counted once a second.
        forwarded = [
            key("live777_rtp_packets_total", direction=direction)
            for direction in ("in", "out")
        ]
        after = await until(
            server, lambda got: all(got[each] >= 20 for each in forwarded)
        )
    assert after.keys() >= before.keys()
    assert after[key("live777_publish")] == after[key("live777_subscribe")] == 1
    assert after[key("live777_stream_viewers", stream="cam")] == 1
    assert after[key("live777_join_seconds_count", role="publish")] == 1
    for direction in ("in", "out"):
        for name, labels in (
            ("live777_rtp_packets_total", {}),
            ("live777_stream_packets_total", {"stream": "cam"}),
        ):
            each = key(name, direction=direction, **labels)
            assert after[each] - before[each] == 20
        octets = key("live777_rtp_bytes_total", direction=direction)
        # Twelve bytes of header and 23 of payload each.
        assert after[octets] - before[octets] == 20 * 35
        datagrams = key("live777_datagrams_total", direction=direction)
        assert after[datagrams] - before[datagrams] >= 20
    delays = key("live777_forwarding_delay_seconds_count")
    assert 1 <= after[delays] - before[delays] <= 20
    asked = key("live777_key_frame_requests_total", direction="out")
    assert after[asked] >= 1
    requests = key(
        "live777_http_requests_total", method="GET", route="/metrics", status="2xx"
    )
    assert after[requests] > before.get(requests, 0)


async def test_sessions_that_end_are_counted_by_cause() -> None:
    async with running() as server:
        async with RtpClient.publisher(whip(server), video(VP8, ssrc=SSRC)) as one:
            await server.until_published("cam")
            assert await one.signalling.delete() == 204
        got = await scrape(server)
        name = "live777_sessions_ended_total"
        assert got[key(name, role="publish", cause="deleted")] == 1
        # What has passed stays, although the stream has gone.
        assert got[key("live777_stream")] == 0
        assert key("live777_stream_viewers", stream="cam") not in got


async def test_a_handshake_that_fails_is_counted_by_its_cause() -> None:
    def lie(offer: str) -> str:
        return re.sub(
            r"(a=fingerprint:sha-256) \S+", rf"\1 {':'.join(['AB'] * 32)}", offer
        )

    async with running() as server:
        client = RtpClient(
            whip(server), [video(VP8)], direction="sendonly", edit_offer=lie
        )
        await client.post()
        with contextlib.suppress(ConnectionError, TimeoutError):
            await client.connect()
        failed = key("live777_dtls_failures_total", cause="fingerprint")
        got = await until(server, lambda got: got[failed] == 1)
        ended = "live777_sessions_ended_total"
        assert got[key(ended, role="publish", cause="dtls_fingerprint")] == 1
        await client.vanish()


async def test_who_is_not_let_in_is_counted() -> None:
    secret = {"Authorization": "Bearer long-and-random"}
    sections = {"auth": {"tokens": ["long-and-random"]}, "http": {"rate_limit": 20}}
    async with running(**sections) as server, aiohttp.ClientSession() as http:
        page = f"{server.url}/metrics"
        async with http.get(page) as response:
            assert response.status == 401
        async with http.get(page, headers={"Authorization": "Bearer x"}) as response:
            assert response.status == 401
        refused = 0
        while not refused:
            async with http.post(whip(server), headers=secret) as response:
                refused += response.status == 429
        async with http.get(page, headers=secret) as response:
            assert response.status == 200
            got = parsed(await response.text())
    assert got[key("live777_auth_failures_total")] == 1
    assert got[key("live777_rate_limited_total")] == refused
    unauthorised = key(
        "live777_http_requests_total", method="GET", route="/metrics", status="4xx"
    )
    assert got[unauthorised] == 2
