"""How often one address may ask: a token bucket each, in a table that is bounded."""

from __future__ import annotations

import ipaddress
import logging
import math
import time
from collections import OrderedDict
from collections.abc import Callable

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from live777py.api.forwarded import client_address

logger = logging.getLogger(__name__)

#: Addresses that are remembered; the one that has been quiet for longest is forgotten.
MAX_ADDRESSES = 16_384

#: Methods that make the server work (RFC 9725 section 5).
LIMITED_METHODS = frozenset({"POST", "PATCH", "DELETE", "PUT"})

#: What a wrong token costs, in requests.
FAILURE_COST = 10

#: An IPv6 network that one customer has: its addresses are as good as one.
_IPV6_PREFIX = 64

#: Seconds after which a refused client may try again; a bucket never needs longer.
RETRY_AFTER = 1


class RateLimiter:
    """A bucket for each address, which holds as many requests as a second brings.

    Attributes:
        refused: requests that were refused so far.
    """

    def __init__(
        self, rate: int, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Prepare an empty table.

        Args:
            rate: requests a second; 0 for any number.
            clock: seconds, going forward only.
        """
        self._rate = rate
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self.refused = 0

    def admit(self, address: str) -> bool:
        """Take one request out of an address's bucket; false, and counted, if it is empty."""
        if self._take(address, 1):
            return True
        self.refused += 1
        return False

    def punish(self, address: str) -> bool:
        """Take out what a failed attempt costs; false if the bucket was empty already."""
        return self._take(address, FAILURE_COST)

    def _take(self, address: str, cost: float) -> bool:
        if self._rate == 0:
            return True
        now = self._clock()
        level, since = self._buckets.pop(address, (float(self._rate), now))
        level = min(self._rate, level + (now - since) * self._rate)
        admitted = level >= 1
        if admitted:
            # A cost that is more than what is there empties the bucket.
            level = max(0.0, level - cost)
        self._buckets[address] = level, now
        if len(self._buckets) > MAX_ADDRESSES:
            self._buckets.popitem(last=False)
        return admitted


class OncePerSecond:
    """Lets one line a second through for each address, and counts the others."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def due(self, address: str) -> int | None:
        """How many lines were held back since the last one, or None: hold this back too."""
        now = self._clock()
        since, held = self._seen.pop(address, (now - 1, 0))
        if now - since < 1:
            self._seen[address] = since, held + 1
            return None
        self._seen[address] = now, 0
        if len(self._seen) > MAX_ADDRESSES:
            self._seen.popitem(last=False)
        return held


def address_of(request: web.Request) -> str:
    """The client's address as limits and the log take it: IPv6 by its /64."""
    return client_network(client_address(request))


def client_network(address: str) -> str:
    """What counts as one client: an IPv4 address, or a /64 of IPv6."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.IPv6Network((parsed, _IPV6_PREFIX), strict=False))
    return str(parsed)


def too_many_requests(message: str, seconds: float = RETRY_AFTER) -> web.HTTPException:
    """429, to be raised (RFC 6585 section 4)."""
    return web.HTTPTooManyRequests(
        text=message, headers={"Retry-After": str(math.ceil(seconds))}
    )


def rate_middleware(limiter: RateLimiter) -> Middleware:
    """Refuses what an address asks too often, before anything else is done for it."""
    lines = OncePerSecond()

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.method in LIMITED_METHODS:
            address = address_of(request)
            if not limiter.admit(address):
                if (held := lines.due(address)) is not None:
                    logger.warning(
                        "%s asks more than [http] rate_limit allows: %d requests refused",
                        address,
                        held + 1,
                    )
                raise too_many_requests(
                    "too many requests from your address ([http] rate_limit): try again "
                    "in a moment"
                )
        return await handler(request)

    return middleware
