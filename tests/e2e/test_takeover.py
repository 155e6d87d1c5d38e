"""One publisher after another on one stream, the first of which is dead, or is replaced."""

from __future__ import annotations

import asyncio

import pytest

from tests.e2e.test_faults import (
    Numbered,
    post_until_accepted,
    publisher_of,
    until_seen,
    viewer_of,
)
from tests.support.server import running
from tests.support.signalling import Refused

pytestmark = pytest.mark.timeout(60)

REPLACE = {"takeover": "replace"}


async def test_an_encoder_that_lost_its_connection_returns_in_seconds() -> None:
    stream = Numbered()
    async with running() as server, viewer_of(server) as viewer:
        first = publisher_of(server)
        await first.post()
        await first.connect()
        await first.send_rtp(*stream.next(3))
        await until_seen(viewer, [0, 1, 2])
        await first.vanish()
        # The server still holds the dead session, for 30 s; its place is free after two.
        second, refused = await post_until_accepted(server)
        assert {*refused} == {409}
        await second.connect()
        await second.send_rtp(*stream.next(3))
        await until_seen(viewer, [3, 4, 5])
        sequences = [packet.sequence for packet in viewer.rtp_of("video")]
        assert sequences == list(range(sequences[0], sequences[0] + 6))
        [cam] = await server.streams()
        states = [s["state"] for s in cam["publish"]["sessions"]]
        assert states == ["connected", "closed"]
        await second.aclose()


async def test_a_publisher_that_sends_is_not_to_be_replaced() -> None:
    stream = Numbered()
    async with running() as server, publisher_of(server) as first:
        for _ in range(25):
            await first.send_rtp(*stream.next(1))
            await asyncio.sleep(0.1)
        second = publisher_of(server)
        with pytest.raises(Refused, match="already has a publisher"):
            await second.post()
        await second.vanish()


async def test_by_policy_the_second_takes_the_place_of_the_first_without_a_gap() -> (
    None
):
    stream = Numbered()
    async with running(strategy=REPLACE) as server, viewer_of(server) as viewer:
        first, second = publisher_of(server), publisher_of(server)
        await first.post()
        await first.connect()
        await first.send_rtp(*stream.next(3))
        await until_seen(viewer, [0, 1, 2])
        await second.post()
        # Until the second is connected the first goes on.
        await first.send_rtp(*stream.next(3))
        await until_seen(viewer, [3, 4, 5])
        await second.connect()
        async with asyncio.timeout(20):
            await first.closed.wait()
        await second.send_rtp(*stream.next(3))
        await until_seen(viewer, [6, 7, 8])
        sequences = [packet.sequence for packet in viewer.rtp_of("video")]
        assert sequences == list(range(sequences[0], sequences[0] + 9))
        await first.aclose()
        await second.aclose()


async def test_a_second_that_never_connects_takes_nothing() -> None:
    stream = Numbered()
    timing = {"connect_timeout": 5.0}
    async with (
        running(strategy=REPLACE, webrtc=timing) as server,
        viewer_of(server) as viewer,
        publisher_of(server) as first,
    ):
        second = publisher_of(server)
        await second.post()
        async with asyncio.timeout(20):
            while True:
                [cam] = await server.streams()
                if "closed" in [s["state"] for s in cam["publish"]["sessions"]]:
                    break
                await asyncio.sleep(0.05)
        await first.send_rtp(*stream.next(3))
        await until_seen(viewer, [0, 1, 2])
        await second.vanish()
