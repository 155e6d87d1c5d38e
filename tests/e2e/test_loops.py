"""Loops over real nodes: refused however long they are, with the path in words."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from live777py.core.lineage import in_words, parse
from live777py.fleet.ports import free
from live777py.protocol.codecs import Format
from live777py.protocol.headers import VIA
from live777py.protocol.rtcp import App
from tests.support import media
from tests.support.node import (
    PICTURE,
    SSRC,
    Node,
    node,
    publisher,
    until,
    viewer,
)
from tests.support.offers import VP8, video, write_offer
from tests.support.rtp_client import RtpClient

pytestmark = pytest.mark.timeout(120)

#: Of whoever is only curious about a path.
STRANGER = "0123456789abcdef.stranger/cam"
OFFER = write_offer(
    [video(VP8)],
    direction="recvonly",
    ufrag="ufrag",
    password="password-of-22-letters",
    fingerprint="sha-256 " + ":".join(["AB"] * 32),
)


@asynccontextmanager
async def nodes(names: str) -> AsyncIterator[dict[str, Node]]:
    """Nodes with names of one letter."""
    async with AsyncExitStack() as stack:
        made = [node(node={"name": name}) for name in names]
        yield {
            name: await stack.enter_async_context(one)
            for name, one in zip(names, made, strict=True)
        }


async def pull(to: Node, source: Node) -> str:
    """Have a node pull the stream from another."""
    location = await to.begin("cam", sourceUrl=f"{source.url}/whep/cam")
    await to.connected(location)
    return location


async def push(source: Node, to: Node) -> str:
    """Have a node push the stream to another."""
    location = await source.begin("cam", targetUrl=f"{to.url}/whip/cam")
    await source.connected(location)
    return location


async def carries(at: Node, *clients: RtpClient) -> None:
    """Have publishers send until a node knows what its stream carries, so that it can push."""
    stream = media.RtpStream(96, SSRC, Format.VP8)

    async def does() -> bool:
        for client in clients:
            await client.send_rtp(*stream.packets(PICTURE, 3000))
        return await at.codecs("cam") == ["vp8"]

    await until(does)


async def header(at: Node) -> str:
    """What another node is told of where a stream's media comes from."""
    async with at.http.post(
        f"{at.url}/whep/cam",
        data=OFFER,
        headers={"Content-Type": "application/sdp", VIA: STRANGER},
    ) as response:
        assert response.status == 201, await response.text()
        found = response.headers[VIA]
        location = response.headers["Location"]
    assert await at.delete(location) == 204
    return found


async def comes_by(at: Node, names: str) -> None:
    """Wait until a node's stream has come that way."""

    async def does() -> bool:
        return in_words(parse(await header(at))) == in_order(names)

    await until(does)


def in_order(names: str) -> str:
    return " → ".join(f"{name}/cam" for name in names)


async def refused(at: Node, names: str, **body: str) -> None:
    """A cascade is refused with a loop over these nodes."""
    status, location, text = await at.post("cam", **body)
    assert (status, location) == (508, "")
    assert text.endswith(f"feed itself: {in_order(names)}")


ORDERS = [
    *itertools.permutations("ab"),
    *itertools.permutations("abc"),
    tuple("abcde"),
    tuple("edcba"),
    *(tuple(random.Random(seed).sample("abcde", 5)) for seed in (1, 2)),
]


@pytest.mark.parametrize("order", ORDERS, ids="".join)
async def test_pulls_cannot_be_closed_to_a_ring(order: tuple[str, ...]) -> None:
    ring = "".join(sorted(order))
    async with nodes(ring) as at:
        fed: dict[str, str] = {}
        for to in order[:-1]:
            source = ring[ring.index(to) - 1]
            await pull(at[to], at[source])
            fed[to] = source
        for name in ring:
            await comes_by(at[name], way(name, fed))
        last = order[-1]
        source = ring[ring.index(last) - 1]
        url = f"{at[source].url}/whep/cam"
        await refused(at[last], way(source, fed) + last, sourceUrl=url)


def way(node: str, fed: dict[str, str]) -> str:
    """Through whom a node's media comes."""
    return (way(fed[node], fed) if node in fed else "") + node


@pytest.mark.parametrize("names", ["ab", "abc", "abcde"])
async def test_pushes_cannot_be_closed_to_a_ring(names: str) -> None:
    async with nodes(names) as at, publisher(at["a"].url):
        for source, to in itertools.pairwise(names):
            await at[source].server.until_published("cam")
            await push(at[source], at[to])
        await at[names[-1]].server.until_published("cam")
        url = f"{at['a'].url}/whip/cam"
        await refused(at[names[-1]], names + "a", targetUrl=url)


async def test_a_ring_of_both_is_closed_by_neither() -> None:
    async with nodes("abc") as at:
        async with publisher(at["a"].url) as client:
            await pull(at["b"], at["a"])
            await carries(at["b"], client)
            await push(at["b"], at["c"])
            await comes_by(at["c"], "abc")
            await at["c"].server.until_published("cam")
            await refused(at["c"], "abca", targetUrl=f"{at['a'].url}/whip/cam")
        # The place is free now, and what a is asked to pull is still its own.
        await refused(at["a"], "abca", sourceUrl=f"{at['c'].url}/whep/cam")


async def test_nodes_downstream_are_told_while_media_flows() -> None:
    async with (
        nodes("abcdx") as at,
        publisher(at["a"].url) as one,
        publisher(at["x"].url) as two,
    ):
        location = await pull(at["b"], at["a"])
        await pull(at["c"], at["b"])
        await carries(at["c"], one)
        await push(at["c"], at["d"])
        await comes_by(at["d"], "abcd")
        assert await at["b"].delete(location) == 204
        await comes_by(at["c"], "bc")
        await pull(at["b"], at["x"])
        await comes_by(at["c"], "xbc")
        await carries(at["d"], two)
        await comes_by(at["d"], "xbcd")


@pytest.mark.parametrize("names", ["ab", "abc"])
async def test_of_pulls_at_the_same_time_one_ends(names: str) -> None:
    async with nodes(names) as at:
        sources = {to: names[place - 1] for place, to in enumerate(names)}
        answers = await asyncio.gather(
            *(
                at[to].post("cam", sourceUrl=f"{at[source].url}/whep/cam")
                for to, source in sources.items()
            )
        )
        begun = [location for _, location, _ in answers if location]
        assert {status for status, _, _ in answers} <= {200, 508}

        async def is_resolved() -> bool:
            """All but one are connected, and that one knows why not."""
            found = [
                info
                for one in at.values()
                for info in await one.get("/api/cascade/cam")
            ]
            lost = [info for info in found if info["state"] != "connected"]
            return len(found) - len(lost) == len(names) - 1 and all(
                "feed itself" in (info["lastError"] or "") for info in lost
            )

        await until(is_resolved, 30)
        assert len(begun) >= len(names) - 1

        async def is_known() -> bool:
            """Each knows how far it is from the one who was refused."""
            lengths = [len(parse(await header(one))) for one in at.values()]
            return sorted(lengths) == list(range(1, len(names) + 1))

        await until(is_known)


async def test_who_only_says_to_be_a_node_is_the_only_one_refused() -> None:
    async with nodes("ab") as at, publisher(at["a"].url):
        await at["a"].server.until_published("cam")
        location = await pull(at["b"], at["a"])
        seen = await header(at["b"])
        for verb in ("whip", "whep"):
            async with at["b"].http.post(
                f"{at['b'].url}/{verb}/cam",
                data=OFFER,
                headers={"Content-Type": "application/sdp", VIA: seen},
            ) as response:
                assert response.status == 508
        async with viewer(at["b"].url):
            assert await at["b"].is_connected(location)


async def test_who_has_not_said_to_be_a_node_is_neither_believed_nor_told() -> None:
    async with nodes("ab") as at, publisher(at["a"].url) as client:
        await at["a"].server.until_published("cam")
        location = await pull(at["b"], at["a"])
        await comes_by(at["b"], "ab")
        async with viewer(at["a"].url) as watching:
            claim = await header(at["b"])
            await client.send_rtcp(App(1, b"L7Vi", claim.ljust(400).encode()))
            # What is sent after it has come as well.
            await carries(at["b"], client)
            assert in_words(parse(await header(at["a"]))) == "a/cam"
            assert watching.rtcp_of(App) == []
        assert await at["b"].is_connected(location)


@pytest.mark.parametrize("names", ["ab", "abc"])
async def test_edges_whose_origins_are_one_another_say_that_there_is_nothing(
    names: str,
) -> None:
    ports = [*itertools.islice(free(), len(names))]
    async with AsyncExitStack() as stack:
        edges = [
            await stack.enter_async_context(
                node(
                    node={"name": name},
                    http={"listen": f"127.0.0.1:{ports[place]}"},
                    edge={"origins": [f"http://127.0.0.1:{ports[place - 1]}"]},
                    strategy={"idle_whep": "refuse"},
                )
            )
            for place, name in enumerate(names)
        ]
        for at in edges:
            # Who waits for one another would do so for ten seconds.
            async with asyncio.timeout(9):
                status, _ = await watch(at)
                assert status == 404

        async def are_empty() -> bool:
            return not any([await at.server.streams() for at in edges])

        await until(are_empty)


async def watch(at: Node) -> tuple[int, str]:
    """Ask for the stream; status and text."""
    async with at.http.post(
        f"{at.url}/whep/cam", data=OFFER, headers={"Content-Type": "application/sdp"}
    ) as response:
        return response.status, await response.text()
