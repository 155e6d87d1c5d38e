"""The HTTP exchange that WHIP and WHEP share: an offer posted, an answer read, PATCH and DELETE.

It knows nothing of WebRTC: offer and answer are text.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import ClassVar, Self
from urllib.parse import urljoin, urlsplit

import aiohttp

from live777py.aio.finish import finish
from live777py.clients import posting
from live777py.clients.reasons import reason_of
from live777py.core.remote import hidden, secrets_in, shown
from live777py.errors import Unavailable
from live777py.protocol import sdpfrag
from live777py.protocol.headers import VIA
from live777py.protocol.link import LinkedIceServer, ice_servers

#: Longest answer that is read, as long as the offers that our own server reads.
MAX_SDP_BYTES = 128 * 1024

#: What is kept of the text of an error.
MAX_ERROR_BYTES = 2048
MAX_REDIRECTS = 5

#: Seconds that one request may take.
TIMEOUT = 15.0

#: Seconds until there has to be a connection: where there is none, another server may be tried.
CONNECT_TIMEOUT = 4.0

#: Seconds in which a server may still answer when nobody waits for the session any more, so that
#: it can be deleted, and those that this may take.
_GRACE = 2.0
_UNDO_TIMEOUT = 5.0

SDP_TYPE = "application/sdp"
_REDIRECTS = (307, 308)

#: What a server says of a session that it does not have.
_UNKNOWN = (404, 410)


class Refused(Unavailable):
    """The server answered with something else than a session.

    Attributes:
        url: that was asked.
        status: of its response.
        body: the text of the response, cut.
        retry_after: the seconds after which it wants to be asked again.
        via: of a node that refuses a loop, the path of it.
    """

    code = "refused"

    def __init__(
        self,
        url: str,
        status: int,
        body: str,
        retry_after: float | None = None,
        via: str = "",
    ) -> None:
        line = posting.printable(body)
        super().__init__(f"{shown(url)} answered {status}{f': {line}' if line else ''}")
        self.url = url
        self.status = status
        self.body = body
        self.retry_after = retry_after
        self.via = via


class Unreachable(Unavailable):
    """There was no response, or not in time, or not HTTP."""

    code = "unreachable"

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"{shown(url)}: {reason}")
        self.url = url


@dataclass(frozen=True, slots=True)
class SdpSession:
    """A session that a server has made.

    Attributes:
        url: of the session, to be deleted; None when the server did not say.
        answer: its SDP; an offer where `is_offer`.
        ice_servers: STUN and TURN servers that the response names.
        etag: of the ICE session, None when the server does not do restarts.
        via: where the media comes from, of a node; else "".
        takes_fragments: whether more candidates may be sent to it.
        is_offer: whether it wants an answer; then nothing is agreed yet.
    """

    url: str | None
    answer: str
    ice_servers: tuple[LinkedIceServer, ...] = ()
    etag: str | None = field(default=None)
    via: str = ""
    takes_fragments: bool = False
    is_offer: bool = False


class SdpClient:
    """Posts offers to one or several servers, over shared HTTP connections.

    `async with WhipClient(token) as client:`; every method may be called concurrently.
    """

    protocol: ClassVar[str] = "SDP over HTTP"

    def __init__(
        self,
        token: str | None = None,
        *,
        timeout: float = TIMEOUT,
        headers: Mapping[str, str] | None = None,
        takes_offers: bool = False,
    ) -> None:
        """Prepare a client.

        Args:
            token: sent as bearer token, also to where a server redirects: 307 and 308 are how
                a node of a cluster hands a client to another one.
            timeout: seconds that a request may take, redirects included.
            headers: sent with every offer, redirected or not.
            takes_offers: a server may answer 406 with an offer of its own (WHEP).
        """
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        #: What no text of a server's is to show.
        self._secrets = {token} if token else set()
        self._timeout = timeout
        self._post_headers = dict(headers or {})
        self._takes_offers = takes_offers
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        # One session's POST must not wait for another's: servers may take seconds.
        connector = aiohttp.TCPConnector(limit=0)
        self._http = aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(
                total=self._timeout, sock_connect=CONNECT_TIMEOUT
            ),
            headers={"User-Agent": "live777py"},
        )
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._http is not None:
            await self._http.close()
            self._http = None

    async def post(self, url: str, offer: str) -> SdpSession:
        """Post an offer.

        A session of which the answer cannot be used is deleted, and so is one that is made
        while the caller is being cancelled, if the server answers within two seconds.

        Raises:
            Refused: the server did not answer 201 with SDP, nor 406 with an offer that we take.
            Unreachable: it did not answer at all, or in time.
        """
        outcome: SdpSession | Unavailable | None = None
        self._secrets |= secrets_in(url)

        async def exchange() -> None:
            nonlocal outcome
            try:
                async with self._reaching(url):
                    outcome = await self._post(_checked(url), offer)
            except (Refused, Unreachable) as error:
                outcome = error

        try:
            await finish(exchange, grace=_GRACE)
        except asyncio.CancelledError:
            if isinstance(outcome, SdpSession):
                await finish(self._undo, outcome)
            raise
        if not isinstance(outcome, SdpSession):
            raise outcome or Unreachable(url, "the exchange was cancelled")
        return outcome

    def hidden(self, text: str) -> str:
        """A text of the server's without the token, and without what its URL has in its query."""
        return hidden(text, self._secrets)

    async def answer(self, session: SdpSession, answer: str) -> None:
        """Answer an offer of the server's (draft-ietf-wish-whep-03 section 4.3.2).

        Raises:
            Refused: the server did not take it.
            Unreachable: it did not answer at all, or in time.
        """
        url = session.url or ""
        headers = {**self._headers, "Content-Type": SDP_TYPE}
        async with (
            self._reaching(url),
            self._client.patch(url, data=answer.encode(), headers=headers) as response,
        ):
            if not response.ok:
                raise await self._refusal(response)

    async def delete(self, session: SdpSession) -> int | None:
        """End a session; returns the status, None if there was none: the session times out."""
        if session.url is None:
            return None
        with contextlib.suppress(aiohttp.ClientError, OSError, ValueError):
            async with self._client.delete(
                session.url, headers=self._headers
            ) as response:
                return response.status
        return None

    async def trickle(self, session: SdpSession, fragment: str) -> bool:
        """Tell of more candidates (RFC 9725 section 4.3.2); whether the server took them.

        What goes wrong is no error: a path may be found all the same.
        """
        with contextlib.suppress(aiohttp.ClientError, OSError, ValueError):
            return 200 <= await self._patch(session, fragment) < 300
        return False

    async def has_lost(self, session: SdpSession, fragment: str) -> bool:
        """Whether the server is there no more, or does not know the session any more.

        Args:
            session: one that takes fragments.
            fragment: without anything that is new to the server.
        """
        try:
            return await self._patch_anew(session, fragment) in _UNKNOWN
        except aiohttp.ClientConnectorError as error:
            return error.errno == errno.ECONNREFUSED
        except (aiohttp.ClientError, OSError, ValueError):
            return False

    async def _patch_anew(self, session: SdpSession, fragment: str) -> int:
        try:
            return await self._patch(session, fragment)
        except aiohttp.ClientConnectorError:
            raise
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            # That may have been a connection of before, kept for the next request.
            return await self._patch(session, fragment)

    async def _patch(self, session: SdpSession, fragment: str) -> int:
        if session.url is None:
            raise ValueError("there is no URL to send to")
        headers = {**self._headers, "Content-Type": sdpfrag.MEDIA_TYPE}
        if session.etag is not None:
            headers["If-Match"] = session.etag
        async with self._client.patch(
            session.url, data=fragment.encode(), headers=headers
        ) as response:
            return response.status

    @contextlib.asynccontextmanager
    async def _reaching(self, url: str) -> AsyncIterator[None]:
        """Bound the time of a request, and say in our words why there was no answer."""
        try:
            async with asyncio.timeout(self._timeout):
                yield
        except aiohttp.ConnectionTimeoutError as error:
            reason = f"no connection within {CONNECT_TIMEOUT:g} s"
            raise Unreachable(url, reason) from error
        except TimeoutError as error:
            reason = f"no answer within {self._timeout:g} s"
            raise Unreachable(url, reason) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise Unreachable(url, reason_of(error)) from error

    @property
    def _client(self) -> aiohttp.ClientSession:
        if self._http is None:
            raise RuntimeError("used outside of its block")
        return self._http

    async def _post(self, url: str, offer: str) -> SdpSession:
        headers = {
            **self._headers,
            **self._post_headers,
            "Content-Type": SDP_TYPE,
            "Accept": SDP_TYPE,
        }
        for _ in range(MAX_REDIRECTS + 1):
            # aiohttp drops the token when it follows to another host.
            async with self._client.post(
                url, data=offer.encode(), headers=headers, allow_redirects=False
            ) as response:
                target = response.headers.get("Location", "")
                if response.status in _REDIRECTS and target:
                    url = self._redirected(str(response.url), target)
                    continue
                return await self._session(response)
        raise Refused(url, 308, f"more than {MAX_REDIRECTS} redirects")

    def _redirected(self, url: str, target: str) -> str:
        new = _checked(urljoin(url, target))
        if self._headers and url.startswith("https:") and new.startswith("http:"):
            raise ValueError(
                "it redirects from https to http, which would show the token"
            )
        return new

    async def _session(self, response: aiohttp.ClientResponse) -> SdpSession:
        url = str(response.url)
        # An empty one would be the endpoint itself.
        location = response.headers.get("Location") or None
        is_offer = (
            self._takes_offers
            and response.status == 406
            and response.content_type == SDP_TYPE
            and location is not None
        )
        # Some servers answer 200; what is no SDP then, is no session.
        is_session = response.status == 201 or (
            response.status == 200 and response.content_type == SDP_TYPE
        )
        if not is_session and not is_offer:
            raise await self._refusal(response)
        made = SdpSession(
            url=None if location is None else _located(url, location),
            answer="",
            ice_servers=ice_servers(response.headers.getall("Link", [])),
            etag=response.headers.get("ETag"),
            via=response.headers.get(VIA, ""),
            takes_fragments=_takes_fragments(response.headers),
            is_offer=is_offer,
        )
        try:
            return replace(made, answer=await self._sdp(response))
        except BaseException:
            # Nobody else will know of the session.
            await finish(self._undo, made)
            raise

    async def _refusal(self, response: aiohttp.ClientResponse) -> Refused:
        text = self.hidden(await _text(response, MAX_ERROR_BYTES))
        wanted = posting.retry_after(response.headers.get("Retry-After", ""))
        via = response.headers.get(VIA, "")
        return Refused(str(response.url), response.status, text, wanted or None, via)

    async def _sdp(self, response: aiohttp.ClientResponse) -> str:
        url, status = str(response.url), response.status
        text = await _text(response, MAX_SDP_BYTES + 1)
        if len(text.encode()) > MAX_SDP_BYTES:
            raise Refused(url, status, f"an answer of more than {MAX_SDP_BYTES} bytes")
        if not text.startswith("v=0"):
            raise Refused(url, status, f"not SDP: {self.hidden(text)[:60]!r}")
        return text

    async def _undo(self, session: SdpSession) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_UNDO_TIMEOUT):
                await self.delete(session)


def _located(url: str, location: str) -> str:
    """Where a session is: by https if it was made so.

    A server behind a proxy that ends TLS may not know of that; and the token goes there.
    """
    found = urljoin(url, location)
    if url.startswith("https:") and found.startswith("http:"):
        return found.replace("http:", "https:", 1)
    return found


def _takes_fragments(headers: Mapping[str, str]) -> bool:
    """Whether candidates may follow the offer; servers that restart ICE take them, too."""
    accepted = headers.get("Accept-Patch")
    if accepted is None:
        return "ETag" in headers
    return sdpfrag.MEDIA_TYPE in accepted.lower()


async def _text(response: aiohttp.ClientResponse, limit: int) -> str:
    data = b""
    while len(data) < limit and not response.content.at_eof():
        data += await response.content.read(limit - len(data))
    return data.decode("utf-8", "replace")


def _checked(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("not an http:// or https:// URL")
    return url
