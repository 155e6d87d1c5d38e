"""Who calls: the token of a request, and what it grants.

A request's grant stands at `request[GRANT]`; what it permits is asked by `core.access.Caller`.
No token, nor any part of one, goes into a log line or an error.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
from collections.abc import Collection
from urllib.parse import quote

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from live777py.api.limits import (
    OncePerSecond,
    RateLimiter,
    address_of,
    too_many_requests,
)
from live777py.core.access import EVERYTHING, Grant, Right
from live777py.errors import BadToken, MissingToken
from live777py.tokens import Verifier

logger = logging.getLogger(__name__)

#: What the caller of a request may do; every request that reaches a handler has one.
GRANT = web.RequestKey("grant", Grant)

#: Who showed nothing where nothing is needed: on public pages, and for OPTIONS.
NOBODY = Grant(stream="", rights=Right(0), holder="nobody")

#: Requests that may be delayed at a time because their token was wrong, in all and of one
#: address. More are refused at once: a delay costs memory, and must not be a lever.
MAX_DELAYED = 256
MAX_DELAYED_EACH = 8

#: Seconds of a delay, and up to how many are added by chance.
DELAY = 1.0
JITTER = 1.0

#: What scripts send that put a variable into a header before it has a value.
_NO_VALUES = frozenset({"", "undefined", "null"})

_BEARER = re.compile(r"bearer(?:[ \t]+(?P<token>.*))?", re.IGNORECASE | re.DOTALL)


class FailedAttempts:
    """Delays, counts and logs wrong tokens.

    Attributes:
        total: wrong tokens so far.
        refused: of these, the ones that were refused without a delay, by 429.
        delayed: requests that are being delayed now.
    """

    def __init__(self, limiter: RateLimiter) -> None:
        """Prepare the counters.

        Args:
            limiter: whose buckets each failure costs something.
        """
        self._limiter = limiter
        self._by_address: dict[str, int] = {}
        self._lines = OncePerSecond()
        self.total = 0
        self.refused = 0
        self.delayed = 0

    async def note(self, address: str, error: BadToken) -> None:
        """Take note of a wrong token, and make its sender wait.

        Raises:
            web.HTTPTooManyRequests: too many are waiting, or this address tried too often.
        """
        self.total += 1
        if (held := self._lines.due(address)) is not None:
            more = f" ({held} more in the meantime)" if held else ""
            logger.warning("wrong token from %s: %s%s", address, error, more)
        here = self._by_address.get(address, 0)
        admitted = self._limiter.punish(address)
        if not admitted or here >= MAX_DELAYED_EACH or self.delayed >= MAX_DELAYED:
            self.refused += 1
            raise too_many_requests(
                "too many wrong tokens from your address: wait, then send a right one",
                DELAY + JITTER,
            )
        self.delayed += 1
        self._by_address[address] = here + 1
        try:
            # Chance hides what the server did with the token until then.
            jitter = JITTER * random.random()  # noqa: S311 - no secret
            await asyncio.sleep(DELAY + jitter)
        finally:
            self.delayed -= 1
            self._by_address[address] -= 1
            if not self._by_address[address]:
                del self._by_address[address]


class Authenticator:
    """Finds out what a request's token grants."""

    def __init__(self, verifier: Verifier | None, failures: FailedAttempts) -> None:
        """Prepare it.

        Args:
            verifier: None where nobody needs a token.
            failures: take note of wrong ones.
        """
        self._verifier = verifier
        self.failures = failures

    @property
    def is_open(self) -> bool:
        """Whether everybody may do everything."""
        return self._verifier is None

    async def grant(self, request: web.Request) -> Grant:
        """What the caller may do.

        Raises:
            MissingToken: a token is needed, and there is none.
            BadToken: it is not valid; raised after a while.
            Unavailable: it cannot be verified just now.
        """
        if self._verifier is None:
            return EVERYTHING
        token = token_of(request)
        if token is None:
            raise MissingToken
        try:
            return await self._verifier.grant(token)
        except BadToken as error:
            await self.failures.note(address_of(request), error)
            raise


def token_of(request: web.Request) -> str | None:
    """The token of a request; one in the header counts rather than one in the URL."""
    return bearer_token(request.headers.get("Authorization")) or query_token(request)


def bearer_token(authorization: str | None) -> str | None:
    """The token of an Authorization header (RFC 6750 section 2.1); None if there is none.

    Any other text comes back as it is, also one with characters that no token has: it is wrong
    then, and not absent.
    """
    match = _BEARER.fullmatch((authorization or "").strip())
    return _value(match["token"]) if match is not None else None


def query_token(request: web.Request) -> str | None:
    """The token of `?token=`, for clients that can set nothing but a URL."""
    return _value(request.rel_url.query.get("token"))


def with_token(url: str, token: str) -> str:
    """A path on this server with a token: what follows it is used by the same client."""
    path, mark, fragment = url.partition("#")
    separator = "&" if "?" in path else "?"
    return f"{path}{separator}token={quote(token, safe='')}{mark}{fragment}"


def auth_middleware(
    authenticator: Authenticator, public_paths: Collection[str]
) -> Middleware:
    """Puts the grant of each request at `request[GRANT]`, or refuses it.

    Args:
        authenticator: finds it out.
        public_paths: may be read (GET, HEAD) by everybody, and nobody is asked who they are.
    """

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.method in ("GET", "HEAD") and request.path in public_paths:
            request[GRANT] = NOBODY
            return await handler(request)
        try:
            request[GRANT] = await authenticator.grant(request)
        except MissingToken:
            # What an endpoint can do everybody may ask (RFC 9725 section 4.2); the handler
            # tells more to those with a grant.
            if request.method != "OPTIONS":
                raise
            request[GRANT] = NOBODY
        response = await handler(request)
        if not authenticator.is_open and not response.prepared:
            _hand_on_token(request, response)
        return response

    return middleware


def _hand_on_token(request: web.Request, response: web.StreamResponse) -> None:
    """Give a client whose token was in the URL URLs that work for it."""
    token = query_token(request)
    if token is None or bearer_token(request.headers.get("Authorization")) is not None:
        return
    # RFC 6750 section 2.3: no shared cache may keep it.
    response.headers.setdefault("Cache-Control", "private")
    location = response.headers.get("Location", "")
    if _is_ours(location):
        response.headers["Location"] = with_token(location, token)
    links = response.headers.popall("Link", [])
    for link in links:
        target, bracket, rest = link[1:].partition(">")
        if link.startswith("<") and _is_ours(target):
            link = f"<{with_token(target, token)}{bracket}{rest}"
        response.headers.add("Link", link)


def _is_ours(url: str) -> bool:
    """Whether a URL is a path on this server; the token goes nowhere else."""
    return url.startswith("/") and not url.startswith("//")


def _value(text: str | None) -> str | None:
    text = (text or "").strip()
    return None if text.lower() in _NO_VALUES else text
