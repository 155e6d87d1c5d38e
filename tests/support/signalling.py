"""The HTTP half of a WHIP or WHEP client."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import aiohttp
from yarl import URL


class Refused(Exception):
    """The server answered a POST with something else than 201."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__(f"{status}: {body}")
        self.status = status
        self.body = body


@dataclass
class Signalling:
    """One session at an endpoint; `location` is set by a successful `post`.

    `edit_answer` changes what the server answered before the client sees it.
    """

    endpoint: str
    token: str | None = None
    location: URL | None = None
    response_headers: dict[str, str] = field(default_factory=dict)
    edit_answer: Callable[[str], str] = str

    def _session(self) -> aiohttp.ClientSession:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        # One connection each: a client that vanishes leaves none behind.
        return aiohttp.ClientSession(
            headers=headers, connector=aiohttp.TCPConnector(force_close=True)
        )

    async def post(self, offer: str) -> str:
        """Send an offer; returns the answer.

        Raises:
            Refused: the server did not answer 201.
        """
        headers = {"Content-Type": "application/sdp"}
        async with (
            self._session() as session,
            session.post(self.endpoint, data=offer.encode(), headers=headers) as reply,
        ):
            body = await reply.text()
            if reply.status != 201:
                raise Refused(reply.status, body)
            self.location = reply.url.join(URL(reply.headers["Location"]))
            self.response_headers = dict(reply.headers)
            return self.edit_answer(body)

    async def delete(self) -> int:
        """End the session; returns the status."""
        if self.location is None:
            raise RuntimeError("there is no session to end")
        async with self._session() as session, session.delete(self.location) as reply:
            return reply.status
