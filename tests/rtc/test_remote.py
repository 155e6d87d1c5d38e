"""Peers at another server: their endings."""

from __future__ import annotations

import errno
from typing import Any

import aiohttp
import pytest

from live777py.clients.sdp_session import SdpClient
from live777py.core import wish
from live777py.rtc import remote
from live777py.rtc.outgoing import OutgoingPeer
from tests.support.front import front_of
from tests.support.link import Link
from tests.support.node import node, publisher, until

pytestmark = pytest.mark.timeout(60)


async def test_silence_is_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    async with node() as there, node() as here, publisher(there.url):
        location = await here.begin("cam", sourceUrl=f"{there.url}/whep/cam")
        await here.connected(location)
        monkeypatch.setattr(remote, "LOST_AFTER", 0.0)

        async def is_lost() -> bool:
            return "nothing came" in str((await here.get(location))["lastError"])

        await until(is_lost)
        monkeypatch.undo()
        await here.connected(location)
        assert len(await there.living("cam", "subscribe")) == 1


async def test_an_address_that_is_gone_is_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with node() as there, node() as here, publisher(there.url):
        location = await here.begin("cam", sourceUrl=f"{there.url}/whep/cam")
        await here.connected(location)
        monkeypatch.setattr(remote, "ASK_AFTER", 0.0)
        monkeypatch.setattr(remote, "has_address", lambda _address: False)

        async def is_lost() -> bool:
            error = str((await here.get(location))["lastError"])
            return "the address 127.0.0.1 is gone" in error

        await until(is_lost)
        monkeypatch.undo()
        await here.connected(location)


async def test_the_other_servers_goodbye_is_the_end() -> None:
    async with node() as there, node() as here, publisher(there.url):
        location = await here.begin("cam", sourceUrl=f"{there.url}/whep/cam")
        await here.connected(location)
        [session] = await there.living("cam", "subscribe")
        assert await there.delete(f"/session/cam/{session['id']}") == 204

        async def is_told() -> bool:
            error = (await here.get(location))["lastError"]
            return "closed by the other server" in str(error)

        await until(is_told)
        await here.connected(location)


async def test_the_goodbye_to_a_lost_server_is_short(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with (
        node() as there,
        node() as here,
        front_of(there.url) as front,
        publisher(there.url),
    ):
        location = await here.begin("cam", sourceUrl=f"{front.url}/whep/cam")
        await here.connected(location)
        front.deletes.clear()
        monkeypatch.setattr(remote, "GOODBYE", 3600.0)
        monkeypatch.setattr(remote, "LOST_GOODBYE", 0.05)
        monkeypatch.setattr(remote, "LOST_AFTER", 0.0)

        async def is_lost() -> bool:
            return "nothing came" in str((await here.get(location))["lastError"])

        await until(is_lost)
        monkeypatch.undo()
        await here.connected(location)


async def test_the_next_source_does_not_wait_for_the_goodbye_to_a_silent_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with node() as there, front_of(there.url) as front, publisher(there.url):
        await there.server.until_published("cam")
        front.deletes.clear()
        monkeypatch.setattr(remote, "GOODBYE", 3600.0)
        monkeypatch.setattr(remote, "LOST_GOODBYE", 0.05)
        monkeypatch.setattr(wish, "NO_MEDIA", 0.1)
        sources = [f"{front.url}/whep/cam", f"{front.url}/whep/other"]

        async def is_next() -> bool:
            return any(asked.path == "/whep/other" for asked in front.of("POST"))

        async with node(stream={"cam": {"sources": sources}}):
            await until(is_next)
            monkeypatch.undo()
            front.deletes.set()


async def test_a_session_that_the_other_server_does_not_know_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its goodbye was lost, or it was started anew: nothing comes, but the port is open."""
    monkeypatch.setattr(remote, "ASK_AFTER", 0.2)
    monkeypatch.setattr(remote, "DOUBT_AFTER", 0.2)
    async with (
        node() as there,
        node() as here,
        Link() as link,
        front_of(there.url) as front,
        publisher(there.url),
    ):
        front.rewrite = link.rewrite
        location = await here.begin("cam", sourceUrl=f"{front.url}/whep/cam")
        await here.connected(location)
        link.up.drop = link.down.drop = lambda _data: True

        async def was_asked() -> int:
            return len(front.of("PATCH"))

        async def is_lost() -> bool:
            return "lost the session" in str((await here.get(location))["lastError"])

        # While it knows the session, patience is right.
        await until(was_asked)
        assert (await here.get(location))["lastError"] is None
        [session] = await there.living("cam", "subscribe")
        assert await there.delete(f"/session/cam/{session['id']}") == 204
        await until(is_lost)
        answers = [asked.status for asked in front.of("PATCH")]
        assert (answers[0], answers[-1]) == (204, 404)


async def test_what_was_made_for_an_unusable_answer_is_deleted() -> None:
    async with node() as there, node() as here, front_of(there.url) as front:
        front.rewrite = lambda sdp: sdp.replace("a=fingerprint", "a=nothing")
        status, _, text = await here.post("cam", sourceUrl=f"{front.url}/whep/cam")
        assert status == 502
        assert "fingerprint" in text
        assert [asked.method for asked in front.asked] == ["POST", "DELETE"]
        assert await there.living("cam", "subscribe") == []


async def test_a_session_that_has_no_url_just_ends() -> None:
    async with (
        node() as there,
        node() as here,
        front_of(there.url) as front,
        publisher(there.url),
    ):
        front.without = ("Location",)
        location = await here.begin("cam", sourceUrl=f"{front.url}/whep/cam")
        await here.connected(location)
        assert await here.delete(location) == 204
        assert [asked.method for asked in front.asked] == ["POST"]

        # DTLS has said goodbye.
        async def has_ended() -> bool:
            return await there.living("cam", "subscribe") == []

        await until(has_ended)


async def test_a_server_may_hand_us_on_to_another_one() -> None:
    async with (
        node() as there,
        node() as here,
        front_of(there.url) as first,
        front_of(there.url) as second,
        publisher(there.url),
    ):
        first.redirect = f"{second.url}/whep/cam"
        location = await here.begin("cam", sourceUrl=f"{first.url}/whep/other")
        await here.connected(location)
        [listed] = await here.get("/api/cascade/cam")
        assert listed["sessionUrl"].startswith(f"{second.url}/session/cam/")
        assert await here.delete(location) == 204
        assert [asked.method for asked in first.asked] == ["POST"]
        assert [asked.method for asked in second.asked] == ["POST", "DELETE"]


@pytest.mark.parametrize(
    ("where", "method", "error"),
    [
        (OutgoingPeer, "offer", OSError),
        (SdpClient, "_post", aiohttp.ClientOSError),
    ],
)
async def test_too_many_files_are_no_fault_of_the_other_servers(
    where: type, method: str, error: type[OSError], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_arguments: Any) -> None:
        raise error(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(where, method, fails)
    async with node() as here:
        answer = await here.post("cam", sourceUrl="http://127.0.0.1:1/whep/cam")
        assert answer == (503, "", remote.TOO_MANY_FILES)
        assert await here.server.streams() == []


async def test_too_many_files_end_a_session_and_not_the_wish(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(_peer: OutgoingPeer) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(OutgoingPeer, "detach", fails)
    async with node() as there, node() as here, publisher(there.url):
        location = await here.begin("cam", sourceUrl=f"{there.url}/whep/cam")

        async def is_lost() -> bool:
            return str((await here.get(location))["lastError"]) == remote.TOO_MANY_FILES

        await until(is_lost)
        monkeypatch.undo()
        await here.connected(location)
