"""Cascades between nodes that can reach one another only through a TURN server."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from live777py.protocol.rtcp import PictureLoss
from tests.support.front import Front, front_of
from tests.support.link import Link
from tests.support.node import (
    Node,
    node,
    pictures,
    publisher,
    sends,
    until,
    viewer,
)
from tests.support.turn import RELAY, TurnServer, turn_server

#: Create and delete; the first ones may leave what is made once only.
CYCLES = 15

pytestmark = pytest.mark.timeout(120)


@asynccontextmanager
async def behind_a_firewall(
    there: Node, turn: TurnServer
) -> AsyncIterator[tuple[Front, Link]]:
    """A front of a node whose media comes and goes only through a TURN server."""
    async with front_of(there.url) as front, Link() as link:
        link.admits = lambda client: client[0] == RELAY
        front.rewrite = link.rewrite
        front.links = (turn.link(),)
        yield front, link


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
async def test_a_stream_is_pulled_through_a_turn_server(
    transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        turn_server() as turn,
        node() as there,
        node() as here,
        behind_a_firewall(there, turn) as (front, link),
        publisher(there.url) as client,
    ):
        monkeypatch.setenv("SSL_CERT_FILE", str(turn.certificate))
        front.links = (turn.link(transport=transport),)
        location = await here.begin("cam", sourceUrl=f"{front.url}/whep/cam")
        await here.connected(location)
        assert link.up.taken
        async with viewer(here.url) as watching:
            stream = pictures()
            await sends(client, stream, watching)
            client.rtcp.clear()
            ssrc = watching.rtp_of("video")[0].ssrc
            await watching.send_rtcp(PictureLoss(7, ssrc))
            await client.until(lambda: client.rtcp_of(PictureLoss))
            await sends(client, stream, watching)
        # The server was told of the relayed address, which its offer did not have yet.
        told = front.of("PATCH")[0]
        assert told.status == 204
        assert told.headers["If-Match"].startswith('"')
        assert re.search(rf"a=candidate:.* {re.escape(RELAY)} \d+ typ relay", told.body)
        assert "a=end-of-candidates" not in front.of("POST")[0].body
        assert await here.delete(location) == 204
        assert await there.living("cam", "subscribe") == []
        # The allocation is given back too.
        await until(lambda: has_given_back(turn))


async def test_a_stream_is_pushed_through_a_turn_server() -> None:
    async with (
        turn_server() as turn,
        node() as there,
        node() as here,
        behind_a_firewall(there, turn) as (front, _),
        publisher(here.url) as client,
    ):
        await here.server.until_published("cam")
        location = await here.begin("cam", targetUrl=f"{front.url}/whip/far")
        await here.connected(location)
        async with viewer(there.url, "far") as watching:
            await sends(client, pictures(), watching)
        assert await here.delete(location) == 204


async def test_a_direct_path_does_not_wait_for_ice_servers_that_are_dead() -> None:
    async with node() as there, node() as here, front_of(there.url) as front:
        front.links = (
            '<turn:127.0.0.1:9>; rel="ice-server"; username="a"; credential="b"',
            '<stun:127.0.0.1:9>; rel="ice-server"',
            '<turns:127.0.0.1:9>; rel="ice-server"; username="a"; credential="b"',
        )
        location = await here.begin("cam", sourceUrl=f"{front.url}/whep/cam")
        await here.connected(location)
        # Not even told: the path was there before the first of them was given up.
        assert front.of("PATCH") == []
        assert (await here.get(location))["lastError"] is None


@pytest.mark.slow
@pytest.mark.parametrize("is_direct", [True, False])
async def test_allocations_leave_nothing_behind(is_direct: bool) -> None:
    """Neither those that were used, nor those for which there was a better way."""
    async with (
        turn_server() as turn,
        node() as there,
        node() as here,
        behind_a_firewall(there, turn) as (front, link),
        publisher(there.url),
    ):
        if is_direct:
            link.admits = lambda client: client[0] != RELAY
        before = 0
        for cycle in range(CYCLES):
            location = await here.begin("cam", sourceUrl=f"{front.url}/whep/cam")
            await here.connected(location)
            assert await here.delete(location) == 204
            if cycle == CYCLES // 3:
                before = await descriptors(link)

        async def is_as_before() -> bool:
            return await descriptors(link) <= before

        await until(is_as_before)
        assert await there.living("cam", "subscribe") == []


@pytest.mark.slow
async def test_what_only_a_turn_server_could_do_fails_without_it() -> None:
    async with (
        turn_server() as turn,
        node() as there,
        node() as here,
        behind_a_firewall(there, turn) as (front, _),
    ):
        front.links = (turn.link("wrong"),)
        location = await here.begin("cam", sourceUrl=f"{front.url}/whep/cam")

        async def is_told() -> bool:
            return "connectivity check" in str((await here.get(location))["lastError"])

        await until(is_told, 30)
        # What was made at the other server is gone.
        await until(lambda: is_left(there))


async def descriptors(link: Link) -> int:
    """How many are open, when what is about to end has ended; not those of the link."""
    await asyncio.sleep(0.5)
    return len(os.listdir("/proc/self/fd")) - len(link.ports)


async def is_left(at: Node) -> bool:
    return await at.living("cam", "subscribe") == []


async def has_given_back(turn: TurnServer) -> bool:
    return "delete: realm" in turn.log
