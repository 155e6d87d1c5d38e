"""HTTP with every header in the caller's hand, a bound on its rate, and a list of open sessions."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self
from urllib.parse import urljoin, urlsplit

import aiohttp

from live777py.aio.finish import finish
from live777py.clients.reasons import reason_of

#: Seconds between two requests: forty a second at most, whatever runs at once.
INTERVAL = 1 / 40

#: Seconds that one request may take.
TIMEOUT = 8.0

#: What is read of a body.
MAX_BODY = 128 * 1024
MAX_REDIRECTS = 5

#: What is shown of a server's own words.
_MAX_SAID = 80

SDP = "application/sdp"
FRAGMENT = "application/trickle-ice-sdpfrag"


class Headers(Protocol):
    """What is read of a response's headers; names in any case."""

    def __getitem__(self, name: str, /) -> str: ...

    def __contains__(self, name: object, /) -> bool: ...

    def get(self, name: str, /, default: str) -> str:
        """The first value of a header."""

    def getall(self, name: str, /, default: list[str]) -> list[str]:
        """All its values."""

    def items(self) -> Iterable[tuple[str, str]]:
        """All of all."""


class NoResponse(Exception):
    """A request had no response.

    Attributes:
        sent: the request in words.
        reason: why.
        is_dead: whether not even a connection could be opened.
    """

    def __init__(self, sent: str, reason: str, *, is_dead: bool = False) -> None:
        super().__init__(f"{sent}: no response ({reason})")
        self.sent = sent
        self.reason = reason
        self.is_dead = is_dead


@dataclass(frozen=True, slots=True)
class Reply:
    """A response, and the request in words.

    Attributes:
        sent: method, path, and what was special about the request.
        url: that answered, after redirects.
        status: of the response.
        reason: the phrase that goes with it.
        headers: of the response.
        body: of the response, cut.
        seconds: from the request to the end of the body.
        label: that the request was given.
    """

    sent: str
    url: str
    status: int
    reason: str
    headers: Headers
    body: bytes
    seconds: float
    label: str = ""

    @property
    def got(self) -> str:
        """The response in words; a refusal with its own, if they say more than the status."""
        text = f"{self.status} {self.reason}".rstrip()
        said = " ".join(self.text.split()) if self.media_type == "text/plain" else ""
        if self.status < 400 or not said or self.reason.lower() in said.lower():
            return text
        return f'{text} "{said[:_MAX_SAID]}"'

    @property
    def is_success(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300

    @property
    def is_refusal(self) -> bool:
        """Whether the status is 4xx."""
        return 400 <= self.status < 500

    @property
    def is_gone(self) -> bool:
        """Whether this is how a server refuses a DELETE of what does not exist.

        404 and 410 are right; some say 400. Any other refusal has another reason.
        """
        return self.status in (400, 404, 410)

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode("utf-8", "replace")

    @property
    def media_type(self) -> str:
        """The Content-Type without parameters, in lower case; empty without one."""
        return self.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    @property
    def location(self) -> str | None:
        """Where the session is, as an absolute URL."""
        if "Location" not in self.headers:
            return None
        return urljoin(self.url, self.headers["Location"])

    def listed(self, name: str) -> set[str]:
        """The members of a header that is a list, in lower case."""
        values = ",".join(self.headers.getall(name, []))
        return {part.strip().lower() for part in values.split(",")} - {""}


class Pace:
    """Gives out turns, one each `INTERVAL`."""

    def __init__(self) -> None:
        self._next = 0.0

    def wait(self, now: float) -> float:
        """Take a turn; returns the seconds until it comes."""
        turn = max(self._next, now)
        self._next = turn + INTERVAL
        return turn - now


class Exchange:
    """Sends requests and keeps what was answered; `async with Exchange() as exchange:`.

    Attributes:
        replies: all that came, in order, redirects too.
        sessions: the URLs of sessions not deleted yet, with the token of each.
    """

    def __init__(self) -> None:
        self.replies: list[Reply] = []
        self.sessions: dict[str, str | None] = {}
        self.requests = 0
        self._pace = Pace()
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=TIMEOUT),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": "live777py-conformance"},
            skip_auto_headers=("Content-Type",),
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

    async def request(
        self,
        method: str,
        url: str,
        *,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        body: str = "",
        what: str = "",
        label: str = "",
    ) -> Reply:
        """Send a request as it is; a POST follows 307 and 308.

        Args:
            method: in capitals.
            url: absolute.
            token: sent as bearer token, unless `headers` has an Authorization.
            headers: in addition.
            body: of the request.
            what: what is special about it, in words.
            label: of the replies.

        Raises:
            NoResponse: there was none.
        """
        given = dict(headers or {})
        if token is not None:
            given.setdefault("Authorization", f"Bearer {token}")
        path = urlsplit(url).path or "/"
        sent = f"{method} {path}{f' ({what})' if what else ''}"
        for _ in range(MAX_REDIRECTS + 1):
            # To its end also when cancelled: a session whose URL is lost cannot be deleted.
            reply = await finish(
                self._ask, method, url, token, given, body, sent, label
            )
            target = reply.location
            if method != "POST" or reply.status not in (307, 308) or target is None:
                return reply
            url = target
        raise NoResponse(sent, f"more than {MAX_REDIRECTS} redirects")

    async def clean(self) -> list[str]:
        """Delete what is left; returns the URLs of sessions that resisted."""
        resisted = []

        async def delete(url: str, token: str | None) -> None:
            reply = None
            with contextlib.suppress(NoResponse):
                reply = await self.request("DELETE", url, token=token)
            if reply is None or not (reply.is_success or reply.is_gone):
                resisted.append(url)

        # All at once: a server that is silent must not hold us up once for each.
        async with asyncio.TaskGroup() as group:
            for url, token in list(self.sessions.items()):
                group.create_task(delete(url, token))
        self.sessions.clear()
        return sorted(resisted)

    async def _ask(
        self,
        method: str,
        url: str,
        token: str | None,
        headers: Mapping[str, str],
        body: str,
        sent: str,
        label: str,
    ) -> Reply:
        reply = await self._send(method, url, headers, body, sent)
        reply = dataclasses.replace(reply, label=label)
        self.replies.append(reply)
        self._note(method, reply, token)
        return reply

    def _note(self, method: str, reply: Reply, token: str | None) -> None:
        location = reply.location
        # Also when the status is wrong there is somebody to be let go.
        has_made = reply.is_success or reply.status == 406
        if method == "POST" and has_made and location is not None:
            self.sessions[location] = token
        elif method == "DELETE" and (reply.is_success or reply.is_gone):
            self.sessions.pop(reply.url, None)

    async def _send(
        self, method: str, url: str, headers: Mapping[str, str], body: str, sent: str
    ) -> Reply:
        await self._wait()
        if self._http is None:
            raise RuntimeError("used outside of its block")
        self.requests += 1
        start = time.monotonic()
        try:
            async with self._http.request(
                method,
                url,
                data=body.encode() or None,
                headers=headers,
                allow_redirects=False,
            ) as response:
                data = await _read(response)
                return Reply(
                    sent,
                    url,
                    response.status,
                    response.reason or "",
                    response.headers,
                    data,
                    time.monotonic() - start,
                )
        except TimeoutError as error:
            raise NoResponse(sent, f"none within {TIMEOUT:g} s") from error
        except aiohttp.ClientConnectorError as error:
            raise NoResponse(sent, reason_of(error), is_dead=True) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            reason = str(error) or type(error).__name__
            raise NoResponse(sent, reason) from error

    async def _wait(self) -> None:
        await asyncio.sleep(self._pace.wait(time.monotonic()))


async def _read(response: aiohttp.ClientResponse) -> bytes:
    data = b""
    while len(data) < MAX_BODY and not response.content.at_eof():
        data += await response.content.read(MAX_BODY - len(data))
    return data
