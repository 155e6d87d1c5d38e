"""One signed POST of JSON to a URL of the operator's, and what came back; no retries here."""

from __future__ import annotations

import asyncio
import email.utils
import hashlib
import hmac
import math
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import aiohttp

from live777py.errors import Unavailable

SIGNATURE_HEADER = "X-Live777-Signature"

#: What is read of a response; a connection that has more to say is closed.
MAX_REPLY_BYTES = 4096

#: Seconds for which an idle connection is kept: less than what receivers have for a default,
#: or a request would meet the end of its connection.
KEEP_ALIVE = 4.0

#: Characters that are kept of what the other side says.
MAX_SAID = 200


class NoReply(Unavailable):
    """There was no response, or not in time, or not HTTP."""

    code = "no_reply"

    def __init__(self, reason: str) -> None:
        super().__init__(reason)


@dataclass(frozen=True, slots=True)
class Reply:
    """What the other side answered.

    Attributes:
        status: of the response.
        media_type: of its body, in lower case and without parameters.
        text: the beginning of its body.
        retry_after: seconds after which it wants to be asked again, 0 where it does not say.
    """

    status: int
    media_type: str = ""
    text: str = ""
    retry_after: float = 0.0

    @property
    def is_success(self) -> bool:
        """Whether it is a 2xx."""
        return 200 <= self.status < 300

    def __str__(self) -> str:
        """The reply as a line of the log has it."""
        if 300 <= self.status < 400:
            return f"answered {self.status}: redirects are not followed"
        said = "" if self.media_type == "text/html" else printable(self.text)
        return f"answered {self.status}{f': {said}' if said else ''}"


def signature(secret: str, body: bytes, now: float) -> str:
    """What proves to the other side who sent a body, and when.

    Args:
        secret: that both sides know.
        body: what is sent.
        now: the time of day, in seconds since the epoch.
    """
    seconds = int(now)
    signed = f"{seconds}.".encode() + body
    digest = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
    return f"t={seconds},v1={digest}"


def printable(text: str) -> str:
    """A text of somebody else's as one line without control characters, cut."""
    visible = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(visible.split())[:MAX_SAID]


def origin(url: str) -> str:
    """Where a URL leads, for the log: path and query may hold a token."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}{f':{parts.port}' if parts.port else ''}"


def client() -> aiohttp.ClientSession:
    """Connections for `post`; a context manager."""
    return aiohttp.ClientSession(
        # Who posts bounds how many requests are under way, and how long one may take.
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
        # Little is read of a response: it is not worth a decompressor that may be abused.
        headers={"User-Agent": "live777py", "Accept-Encoding": "identity"},
        auto_decompress=False,
        # One sender's cookies are of no concern to another.
        cookie_jar=aiohttp.DummyCookieJar(),
    )


async def post(
    http: aiohttp.ClientSession,
    url: str,
    body: bytes,
    *,
    secret: str = "",
    headers: Mapping[str, str] | None = None,
    timeout: float,
) -> Reply:
    """Post a body.

    Args:
        http: from `client`.
        url: of the receiver.
        body: JSON.
        secret: that it is signed with, "" for none.
        headers: beside the content type and the signature.
        timeout: seconds that all of it may take.

    Raises:
        NoReply: there was no response, or not in time.
    """
    sent = {**(headers or {}), "Content-Type": "application/json"}
    if secret:
        sent[SIGNATURE_HEADER] = signature(secret, body, time.time())
    try:
        async with (
            asyncio.timeout(timeout),
            http.post(url, data=body, headers=sent, allow_redirects=False) as response,
        ):
            return Reply(
                status=response.status,
                media_type=response.content_type,
                text=await _beginning(response),
                retry_after=retry_after(response.headers.get("Retry-After", "")),
            )
    except TimeoutError:
        raise NoReply(f"no answer within {timeout:g} s") from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        # Not the error's own text: aiohttp puts URLs into some.
        raise NoReply(_reason(error)) from None


async def _beginning(response: aiohttp.ClientResponse) -> str:
    data = b""
    while len(data) < MAX_REPLY_BYTES and not response.content.at_eof():
        data += await response.content.read(MAX_REPLY_BYTES - len(data))
    return data.decode("utf-8", "replace")


def retry_after(value: str) -> float:
    """The header's seconds or date (RFC 9110 section 10.2.3) as seconds from now."""
    if value.isascii() and value.isdigit() and len(value) < 10:
        return float(value)
    try:
        at = email.utils.parsedate_to_datetime(value)
        seconds = at.timestamp() - time.time()
    except (ValueError, OverflowError):
        return 0.0
    return seconds if math.isfinite(seconds) and seconds > 0 else 0.0


def _reason(error: Exception) -> str:
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "the connection was closed without an answer"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return "its certificate is not valid here"
    if isinstance(error, aiohttp.ClientSSLError):
        return "no TLS there"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "its name cannot be resolved"
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return f"no HTTP response ({type(error).__name__})"
