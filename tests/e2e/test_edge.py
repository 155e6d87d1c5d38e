"""Edges: streams that come because somebody watches, over one node or several."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import pytest

from live777py.core import wish
from live777py.fleet import ports
from live777py.protocol import rtp
from tests.api.native.support import SDP, WHEP_OFFER
from tests.support import media
from tests.support.node import (
    PICTURE,
    Node,
    node,
    pictures,
    publisher,
    until,
    viewer,
)
from tests.support.rtp_client import RtpClient

pytestmark = pytest.mark.timeout(120)

NO_WAIT = {**SDP, "Live777py-Wait": "no"}
STRANGE = "a b/ü?%2F#&+"


@asynccontextmanager
async def edge(
    *origins: str, refuses: bool = False, **keys: Any
) -> AsyncIterator[Node]:
    """An edge of these origins."""
    settings = {"origins": list(origins), "close_after": "200ms", **keys}
    strategy = {"idle_whep": "refuse" if refuses else "wait"}
    async with node(edge=settings, strategy=strategy) as made:
        yield made


async def asks(
    at: Node,
    stream: str = "cam",
    headers: dict[str, str] = SDP,
    body: bytes = WHEP_OFFER,
) -> tuple[int, str]:
    """Ask to watch; status and text of the answer."""
    url = f"{at.url}/whep/{quote(stream, safe='')}"
    async with at.http.post(url, data=body, headers=headers) as response:
        return response.status, await response.text()


async def is_found(at: Node) -> bool:
    """Whether a viewer that does not wait is let in."""
    return (await asks(at, headers=NO_WAIT))[0] == 201


async def arrives(client: RtpClient, stream: media.RtpStream, to: RtpClient) -> None:
    """Send pictures until some have come as they were; the first ones tell what it is."""
    before = len(to.rtp_of("video"))
    sent: set[bytes] = set()
    async with asyncio.timeout(20):
        while len(to.rtp_of("video")) < before + 5:
            packets = stream.packets(PICTURE, 90_000)
            sent.update(rtp.parse(packet).payload for packet in packets)
            await client.send_rtp(*packets)
            await asyncio.sleep(0.02)
    assert {packet.payload for packet in to.rtp_of("video")[before:]} <= sent


async def is_empty(*nodes: Node) -> None:
    """Wait until there is neither a stream nor a cascade."""

    async def is_it() -> bool:
        found = [
            await at.get(p) for at in nodes for p in ("/api/streams/", "/api/cascade/")
        ]
        return not any(found)

    await until(is_it)


async def has_no_cascade(at: Node) -> None:
    """Wait until there is none."""

    async def has_none() -> bool:
        return not await at.get("/api/cascade/")

    await until(has_none)


async def state(at: Node, expected: str, stream: str = "cam") -> dict[str, Any]:
    """Wait until a stream's cascade is in a state."""
    found: list[dict[str, Any]] = []

    async def is_it() -> bool:
        found[:] = await at.get(f"/api/cascade/{quote(stream, safe='')}")
        return [one["state"] for one in found] == [expected]

    await until(is_it)
    return found[0]


async def count(at: Node, side: str, expected: int, stream: str = "cam") -> None:
    """Wait until a side of a stream has so many sessions."""

    async def is_it() -> bool:
        return len(await at.living(stream, side)) == expected

    await until(is_it)


# Levels.


@pytest.mark.parametrize("refuses", [False, True])
async def test_a_viewer_of_an_edge_is_sent_what_is_published_at_the_origin(
    refuses: bool,
) -> None:
    async with (
        node() as origin,
        edge(origin.url, refuses=refuses) as at,
        publisher(origin.url) as client,
    ):
        await origin.until_published("cam")
        async with viewer(at.url) as one, viewer(at.url) as two:
            stream = pictures()
            await arrives(client, stream, one)
            await arrives(client, stream, two)
            # One session for both.
            assert len(await origin.living("cam", "subscribe")) == 1
            info = await state(at, "connected")
            assert info["sourceUrl"] == f"{origin.url}/whep/cam"
            assert (info["onDemand"], info["configured"]) == (True, False)
            [listed] = await at.streams()
            assert listed["onDemand"]
        await is_empty(at)
        assert await origin.living("cam", "subscribe") == []


@pytest.mark.parametrize("refuses", [False, True])
async def test_three_levels_carry_a_stream(refuses: bool) -> None:
    async with (
        node() as origin,
        edge(origin.url, refuses=refuses) as middle,
        edge(middle.url, refuses=refuses) as leaf,
        edge(middle.url, refuses=refuses) as other,
        publisher(origin.url) as client,
    ):
        await origin.until_published("cam")
        async with viewer(leaf.url) as one, viewer(other.url) as two:
            stream = pictures()
            await arrives(client, stream, one)
            await arrives(client, stream, two)
            assert len(await origin.living("cam", "subscribe")) == 1
            assert len(await middle.living("cam", "subscribe")) == 2
        await is_empty(leaf, other, middle)
        assert await origin.living("cam", "subscribe") == []


async def test_who_waits_at_the_third_level_plays_the_moment_that_it_is_published() -> (
    None
):
    async with (
        node() as origin,
        edge(origin.url) as middle,
        edge(middle.url) as leaf,
        viewer(leaf.url) as watching,
    ):
        for at in (leaf, middle):
            await state(at, "connected")
        async with publisher(origin.url) as client:
            await arrives(client, pictures(), watching)
        # Nobody had to ask twice.
        assert (await state(leaf, "connected"))["lastError"] is None
        # It comes back, and so does the picture.
        async with publisher(origin.url) as client:
            await arrives(client, pictures(), watching)
        assert (await state(leaf, "connected"))["lastError"] is None


@pytest.mark.parametrize("headers", [SDP, NO_WAIT])
async def test_a_strange_name_is_not_found_and_leaves_nothing(
    headers: dict[str, str],
) -> None:
    async with (
        node() as origin,
        edge(origin.url, refuses=headers is SDP) as middle,
        edge(middle.url, middle.url, refuses=headers is SDP) as leaf,
    ):
        storm = (asks(leaf, STRANGE, headers) for _ in range(20))
        answers = set(await asyncio.gather(*storm))
        [(status, text)] = answers
        assert status == 404
        assert "origin" in text
        # Where they are is nothing to viewers.
        assert "http" not in text
        await is_empty(leaf, middle, origin)


@pytest.mark.parametrize("refuses", [True, False])
@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (415, {"Content-Type": "text/plain"}, WHEP_OFFER),
        (400, SDP, b"no SDP"),
        (406, SDP, re.sub(rb"a=rtpmap:(\d+) ", rb"\g<0>strange-", WHEP_OFFER)),
    ],
)
async def test_no_origin_is_asked_for_an_offer_that_cannot_be_used(
    refuses: bool, status: int, headers: dict[str, str], body: bytes
) -> None:
    async with (
        node(strategy={"idle_whep": "refuse"}) as origin,
        edge(origin.url, refuses=refuses) as leaf,
    ):
        before = await requests(origin)
        assert (await asks(leaf, headers=headers, body=body))[0] == status
        await is_empty(leaf, origin)
        assert await requests(origin) == before
        await asks(leaf, headers=NO_WAIT)
        assert await requests(origin) > before


async def requests(at: Node) -> float:
    """How many offers of viewers a node was sent."""
    async with at.http.get(f"{at.url}/metrics") as response:
        text = await response.text()
    pattern = r'^live777_http_requests_total\{.*route="/whep/.*\} (\S+)$'
    return sum(map(float, re.findall(pattern, text, re.MULTILINE)))


async def test_any_name_finds_its_way() -> None:
    async with (
        node() as origin,
        edge(origin.url) as middle,
        edge(f"{middle.url}/whep/{{stream}}", refuses=True) as leaf,
        publisher(origin.url, quote(STRANGE, safe="")) as client,
    ):
        await origin.until_published(STRANGE)
        async with viewer(leaf.url, quote(STRANGE, safe="")) as watching:
            await arrives(client, pictures(), watching)
            assert [stream["id"] for stream in await middle.streams()] == [STRANGE]


async def test_edges_of_one_another_do_not_wait_for_one_another() -> None:
    listen = f"127.0.0.1:{next(ports.free())}"
    strategy = {"idle_whep": "refuse"}
    async with edge(f"http://{listen}", refuses=True) as one:
        settings = {"origins": [one.url]}
        http = {"listen": listen}
        async with node(edge=settings, strategy=strategy, http=http) as two:
            # They would do so for ten seconds.
            async with asyncio.timeout(9):
                statuses = [status for status, _ in (await asks(one), await asks(two))]
            assert statuses == [404, 404]
            async with publisher(two.url) as client:
                await two.until_published("cam")
                # What nobody had is not asked for again at once.
                await until(lambda: is_found(one))
                async with viewer(one.url) as watching:
                    await arrives(client, pictures(), watching)


# Origins.


async def test_the_origin_that_has_it_is_found_and_found_again() -> None:
    async with node() as one, node() as two, edge(one.url, two.url) as at:
        async with publisher(two.url) as client:
            await two.until_published("cam")
            watching = viewer(at.url)
            await watching.__aenter__()
            await arrives(client, pictures(), watching)
            info = await state(at, "connected")
            assert info["sources"] == [f"{u.url}/whep/cam" for u in (one, two)]
            assert info["sourceUrl"] == f"{two.url}/whep/cam"
        # Its publisher comes back elsewhere.
        async with publisher(one.url) as client:
            await one.until_published("cam")
            await arrives(client, pictures(), watching)
            info = await state(at, "connected")
            assert info["sourceUrl"] == f"{one.url}/whep/cam"
        await watching.aclose()
        await is_empty(at)


@pytest.mark.parametrize("is_deaf", [False, True])
async def test_an_origin_that_is_not_there_is_passed_over(
    is_deaf: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wish, "ANSWER", 0.5)
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        port = deaf.getsockname()[1] if is_deaf else 1
        await passes_over(f"http://127.0.0.1:{port}")


async def passes_over(url: str) -> None:
    """Let an edge have an origin that is not there beside one that is, and then alone."""
    async with node() as there, edge(url, there.url, refuses=True) as at:
        async with publisher(there.url) as client:
            await there.until_published("cam")
            async with viewer(at.url) as watching:
                await arrives(client, pictures(), watching)
        await is_empty(at)
    async with edge(url, url, refuses=True) as at:
        status, text = await asks(at)
        assert (status, "127.0.0.1" in text) == (504, False)
        await is_empty(at)


@pytest.mark.parametrize("token", ["right", "wrong"])
async def test_an_edge_shows_its_own_token_at_the_origin(token: str) -> None:
    async with node(auth={"tokens": ["right"]}) as origin:
        settings = [{"url": origin.url, "token": token}]
        # Who watches at the edge has another one, or none.
        async with node(edge={"origins": settings}) as at:
            status, _ = await asks(at, headers=NO_WAIT)
            assert status == (404 if token == "right" else 504)
            async with viewer(at.url):
                if token == "wrong":
                    info = await state(at, "waiting")
                    assert "answered 401" in info["lastError"]
                    assert "wrong" not in str(info)
                else:
                    await state(at, "connected")


async def test_a_viewer_may_be_made_an_offer() -> None:
    async with node() as origin, edge(origin.url, refuses=True) as at:
        assert (await asks(at, body=b"", headers={}))[0] == 404
        async with publisher(origin.url):
            await origin.until_published("cam")
            await until(lambda: is_found(at))
            status, text = await asks(at, body=b"", headers={})
            assert (status, text[:3]) == (406, "v=0")


async def test_viewers_may_make_no_streams_and_fetch_them_all_the_same() -> None:
    async with node() as origin:
        strategy = {"auto_create_whep": False}
        settings = {"origins": [origin.url]}
        async with node(edge=settings, strategy=strategy) as at:
            assert (await asks(at, "nobody"))[0] == 404
            async with publisher(origin.url) as client:
                await origin.until_published("cam")
                async with viewer(at.url) as watching:
                    await arrives(client, pictures(), watching)


async def test_a_publisher_of_the_edge_goes_before_the_origins() -> None:
    async with node() as origin, edge(origin.url) as at, publisher(origin.url) as far:
        await origin.until_published("cam")
        async with viewer(at.url) as watching:
            await arrives(far, pictures(), watching)
            async with publisher(at.url) as near:
                await count(origin, "subscribe", 0)
                await has_no_cascade(at)
                await arrives(near, pictures(), watching)
            await count(origin, "subscribe", 1)
            await arrives(far, pictures(), watching)


# Configured.


async def test_a_stream_on_demand_is_pulled_while_somebody_watches() -> None:
    async with node() as origin, publisher(origin.url) as client:
        declared = {
            "sources": ["http://127.0.0.1:1/whep/cam", f"{origin.url}/whep/cam"],
            "on_demand": True,
            "on_demand_close_after": "100ms",
        }
        await origin.until_published("cam")
        async with node(stream={"cam": declared}) as at:
            info = await state(at, "idle")
            assert (info["configured"], info["onDemand"]) == (True, True)
            assert (info["session"], info["lastError"]) == (None, None)
            assert await origin.living("cam", "subscribe") == []
            for _ in range(2):
                async with viewer(at.url) as watching:
                    await arrives(client, pictures(), watching)
                    await state(at, "connected")
                await state(at, "idle")
                assert await origin.living("cam", "subscribe") == []
            path = f"/api/cascade/cam/{info['id']}"
            assert await at.delete(path) == 409
            assert (await at.get(path))["id"] == info["id"]


async def test_a_configured_target_waits_for_its_publisher() -> None:
    async with node() as there:
        targets = {"mine": {"targets": [{"url": f"{there.url}/whip/far"}]}}
        async with node(stream=targets) as at:
            info = await state(at, "waiting", "mine")
            assert info["lastError"] == "nobody publishes"
            async with publisher(at.url, "mine") as client:
                await state(at, "connected", "mine")
                async with viewer(there.url, "far") as watching:
                    await arrives(client, pictures(), watching)
            # As viewers do, it stays when the publisher leaves.
            async with (
                publisher(at.url, "mine") as client,
                viewer(there.url, "far") as w,
            ):
                await arrives(client, pictures(), w)
            assert (await state(at, "connected", "mine"))["configured"]


async def test_what_is_pulled_by_the_configuration_is_pushed_by_it() -> None:
    async with node() as origin, node() as there, publisher(origin.url) as client:
        declared = {
            "sources": [f"{origin.url}/whep/cam"],
            "targets": [f"{there.url}/whip/far"],
        }
        await origin.until_published("cam")
        async with node(stream={"cam": declared}), asyncio.timeout(20):
            stream = pictures()
            while not await there.living("far", "publish"):
                await client.send_rtp(*stream.packets(PICTURE, 3000))
                await asyncio.sleep(0.02)


async def test_a_server_starts_whatever_its_sources_do() -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        declared = {"sources": [f"{url}/whep/cam"], "targets": [f"{url}/whip/cam"]}
        async with asyncio.timeout(60), node(stream={"cam": declared}) as at:
            found = await at.get("/api/cascade/cam")
            assert [one["state"] for one in found] == ["connecting", "waiting"]


# The end.


@pytest.mark.parametrize("moment", ["connected", "waiting"])
async def test_an_edge_that_stops_says_goodbye_at_its_origins(moment: str) -> None:
    async with node() as origin:
        url = origin.url if moment == "connected" else "http://127.0.0.1:1"
        async with edge(url) as at:
            assert (await asks(at))[0] == 201
            await state(at, moment)
        await count(origin, "subscribe", 0)


async def test_who_waits_for_an_answer_has_one_when_the_edge_stops() -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        async with asyncio.TaskGroup() as group, edge(url) as at:
            asking = group.create_task(asks(at, headers=NO_WAIT))
            await until(lambda: has_cascades(at))
            await at.server.server.__aexit__(None, None, None)
            assert (await asking)[0] == 503


async def has_cascades(at: Node) -> bool:
    return bool(await at.get("/api/cascade/"))
