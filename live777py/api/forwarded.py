"""Whose request it is, where reverse proxies hand requests on ([http] trusted_proxies).

What a header says is believed only of a trusted proxy, and only the part that trusted proxies have
written: each one appends the address from which it had the request.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from live777py.notation import IpAddress, IpNetwork, ip_of

_CLIENT = web.RequestKey("client", str)


def client_address(request: web.Request) -> str:
    """The IP address of the client, "" if it is gone already."""
    return request.get(_CLIENT) or request.remote or ""


def client_middleware(trusted: Sequence[IpNetwork]) -> Middleware:
    """Finds out, before anything else asks, what `client_address` is for each request.

    Args:
        trusted: addresses of proxies; without any the client is whoever connected.
    """

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        if trusted and (client := _client(request, trusted)) is not None:
            request[_CLIENT] = client
        return await handler(request)

    return middleware


def _client(request: web.Request, trusted: Sequence[IpNetwork]) -> str | None:
    """The client that trusted proxies name; None where that is not known."""
    peer = ip_of(request.remote or "")
    if peer is None or not _is_trusted(peer, trusted):
        return None
    client: IpAddress | None = None
    for text in _hops(request):
        client = ip_of(text)
        if client is None or not _is_trusted(client, trusted):
            break
    # All of them may be trusted: the client is one of ours then, the farthest.
    return None if client is None else str(client)


def _hops(request: web.Request) -> Iterator[str]:
    """The addresses that were seen on the way, the one that is nearest to us first.

    `Forwarded` (RFC 7239) counts only without an X-Forwarded-For: most proxies write the latter,
    and pass a client's `Forwarded` on.
    """
    lines = request.headers.getall("X-Forwarded-For", [])
    if lines:
        return (text.strip() for line in reversed(lines) for text in _backwards(line))
    return (element.get("for", "") for element in reversed(request.forwarded))


def _backwards(line: str) -> Iterable[str]:
    return reversed(line.split(","))


def _is_trusted(address: IpAddress, trusted: Sequence[IpNetwork]) -> bool:
    return any(address in network for network in trusted)
