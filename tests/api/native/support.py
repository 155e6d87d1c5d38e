"""A client of a fresh server, and offers of Chromium's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import ClientSession

from tests.support.server import running

OFFERS = Path(__file__).parents[2] / "data" / "offers"
WHIP_OFFER = (OFFERS / "chromium-156-whip-initial.sdp").read_bytes()
WHEP_OFFER = (OFFERS / "chromium-156-whep-initial.sdp").read_bytes()
SDP = {"Content-Type": "application/sdp"}
FRAGMENT = {"Content-Type": "application/trickle-ice-sdpfrag"}
JSON = {"Content-Type": "application/json"}


@asynccontextmanager
async def client(**sections: object) -> AsyncIterator[ClientSession]:
    """A client of a fresh server; paths are relative to it."""
    async with running(**sections) as server, ClientSession(server.url) as session:
        yield session


async def begin(http: ClientSession, path: str, offer: bytes = WHIP_OFFER) -> str:
    """POST an offer; the URL of the session."""
    async with http.post(path, data=offer, headers=SDP) as response:
        assert response.status == 201, await response.text()
        return response.headers["Location"]


async def begin_both(http: ClientSession, stream: str = "cam") -> tuple[str, str]:
    """A publisher and a viewer of one stream; the URLs of their sessions."""
    publisher = await begin(http, f"/whip/{stream}")
    return publisher, await begin(http, f"/whep/{stream}", WHEP_OFFER)
