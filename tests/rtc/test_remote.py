"""Peers at another server: their endings."""

from __future__ import annotations

import pytest

from live777py.rtc import remote
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
