from __future__ import annotations

import asyncio

import pytest

from live777py.clients.whip import WhipClient
from live777py.conformance.fragments import Fragment
from live777py.conformance.peer import CannotConnect, RealPeers
from tests.support.server import running


async def test_what_is_published_is_watched_until_it_vanishes() -> None:
    peers = RealPeers()
    async with running() as server, WhipClient() as client:
        publisher = peers("whip", server.url)
        viewer = peers("whep", server.url)
        try:
            sessions = []
            for peer, side in ((publisher, "whip"), (viewer, "whep")):
                url = f"{server.url}/{side}/cam"
                sessions.append(await client.post(url, await peer.offer()))
                await peer.connect(sessions[-1].answer)
            async with asyncio.timeout(20):
                while viewer.packets < 10:  # noqa: ASYNC110 - a counter
                    await asyncio.sleep(0.01)
                await publisher.vanish()
                await client.delete(sessions[-1])
                assert "close_notify" in await viewer.closed()
        finally:
            await publisher.aclose()
            await viewer.aclose()


async def test_an_answer_that_is_none_is_no_connection() -> None:
    peer = RealPeers()("whip", "http://127.0.0.1/whip/cam")
    await peer.offer()
    with pytest.raises(CannotConnect, match="answer"):
        await peer.connect("v=0\r\n")
    await peer.aclose()


async def test_a_restart_with_wrong_credentials_is_no_connection() -> None:
    async with running() as server, WhipClient() as client:
        peer = RealPeers()("whep", server.url)
        session = await client.post(f"{server.url}/whep/cam", await peer.offer())
        await peer.connect(session.answer)
        nobody = Fragment("nobody", "x" * 24, frozenset(), is_lite=True)
        with pytest.raises(CannotConnect, match="new credentials"):
            await peer.restart(("abcd", "y" * 24), nobody)
        await client.delete(session)
        await peer.aclose()
