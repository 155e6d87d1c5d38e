"""The HTTP exchange that WHIP and WHEP share: an offer posted, an answer read, a DELETE.

It knows nothing of WebRTC: offer and answer are text.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import ClassVar, Self
from urllib.parse import urljoin, urlsplit

import aiohttp

from live777py.core.remote import shown
from live777py.errors import Unavailable
from live777py.protocol import sdpfrag
from live777py.protocol.link import LinkedIceServer, ice_servers

#: Longest answer that is read, as long as the offers that our own server reads.
MAX_SDP_BYTES = 128 * 1024

#: What is kept of the text of an error.
MAX_ERROR_BYTES = 2048
MAX_REDIRECTS = 5

#: Seconds that one request may take.
TIMEOUT = 15.0

#: Says of a cascade's offer where the media comes from, or to whom it goes, and of its answer
#: where it comes from (`core/lineage.py`); other servers pass over it.
VIA = "Live777py-Via"

#: With NO_WAIT: where nobody publishes, say so instead of letting the viewer wait.
WAIT = "Live777py-Wait"
NO_WAIT = "no"

_SDP = "application/sdp"
_REDIRECTS = (307, 308)


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
        line = " ".join(body.split())[:200]
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
        answer: its SDP.
        ice_servers: STUN and TURN servers that the response names.
        etag: of the ICE session, None when the server does not do restarts.
        via: where the media comes from, of a node; else "".
        takes_fragments: whether more candidates may be sent to it.
    """

    url: str | None
    answer: str
    ice_servers: tuple[LinkedIceServer, ...] = ()
    etag: str | None = field(default=None)
    via: str = ""
    takes_fragments: bool = False


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
    ) -> None:
        """Prepare a client.

        Args:
            token: sent as bearer token, also to where a server redirects: 307 and 308 are how
                a node of a cluster hands a client to another one.
            timeout: seconds that a request may take, redirects included.
            headers: sent with every offer, redirected or not.
        """
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._timeout = timeout
        self._post_headers = dict(headers or {})
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        # One session's POST must not wait for another's: servers may take seconds.
        connector = aiohttp.TCPConnector(limit=0)
        self._http = aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=self._timeout),
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

        Raises:
            Refused: the server did not answer 201 with SDP.
            Unreachable: it did not answer at all, or in time.
        """
        try:
            async with asyncio.timeout(self._timeout):
                return await self._post(_checked(url), offer)
        except TimeoutError as error:
            reason = f"no answer within {self._timeout:g} s"
            raise Unreachable(url, reason) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise Unreachable(url, _reason(error)) from error

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
        if session.url is None:
            return False
        headers = {**self._headers, "Content-Type": sdpfrag.MEDIA_TYPE}
        if session.etag is not None:
            headers["If-Match"] = session.etag
        with contextlib.suppress(aiohttp.ClientError, OSError, ValueError):
            async with self._client.patch(
                session.url, data=fragment.encode(), headers=headers
            ) as response:
                return response.ok
        return False

    @property
    def _client(self) -> aiohttp.ClientSession:
        if self._http is None:
            raise RuntimeError("used outside of its block")
        return self._http

    async def _post(self, url: str, offer: str) -> SdpSession:
        headers = {
            **self._headers,
            **self._post_headers,
            "Content-Type": _SDP,
            "Accept": _SDP,
        }
        for _ in range(MAX_REDIRECTS + 1):
            # aiohttp drops the token when it follows to another host.
            async with self._client.post(
                url, data=offer.encode(), headers=headers, allow_redirects=False
            ) as response:
                target = response.headers.get("Location", "")
                if response.status in _REDIRECTS and target:
                    url = _checked(urljoin(str(response.url), target))
                    continue
                return await _session(response)
        raise Refused(url, 308, f"more than {MAX_REDIRECTS} redirects")


async def _session(response: aiohttp.ClientResponse) -> SdpSession:
    url = str(response.url)
    if response.status != 201:
        text = await _text(response, MAX_ERROR_BYTES)
        via = response.headers.get(VIA, "")
        raise Refused(url, response.status, text, _retry_after(response), via)
    answer = await _text(response, MAX_SDP_BYTES + 1)
    if len(answer.encode()) > MAX_SDP_BYTES:
        raise Refused(url, 201, f"an answer of more than {MAX_SDP_BYTES} bytes")
    if not answer.startswith("v=0"):
        raise Refused(url, 201, f"not SDP: {answer[:60]!r}")
    location = response.headers.get("Location")
    return SdpSession(
        url=None if location is None else urljoin(url, location),
        answer=answer,
        ice_servers=ice_servers(response.headers.getall("Link", [])),
        etag=response.headers.get("ETag"),
        via=response.headers.get(VIA, ""),
        takes_fragments=_takes_fragments(response.headers),
    )


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


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return str(error) or type(error).__name__


def _retry_after(response: aiohttp.ClientResponse) -> float | None:
    """The header's seconds; its other form, a date, is not used by any such server."""
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() else None


def _checked(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("not an http:// or https:// URL")
    return url
