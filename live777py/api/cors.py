"""Cross-origin requests: which pages of other origins may use the API (Fetch standard).

Everything is a list of names: `*` would not cover Authorization, and scripts need to see
Location. Credentials are never allowed: tokens are sent by scripts, not by browsers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

ANY_ORIGIN = "*"

METHODS = "POST, GET, HEAD, PATCH, DELETE, OPTIONS"

#: What a script may send beside the headers that are always allowed. ETag is no request
#: header, but some players send the session's with a PATCH.
REQUEST_HEADERS = ", ".join(
    [
        "Accept",
        "Authorization",
        "Cache-Control",
        "Content-Type",
        "ETag",
        "If-Match",
        "If-None-Match",
        "Last-Event-ID",
    ]
)

#: What a script may read. Access-Control-Allow-Methods is among it because players ask
#: endpoints by OPTIONS what they can do.
RESPONSE_HEADERS = ", ".join(
    [
        "Accept-Patch",
        "Accept-Post",
        "Access-Control-Allow-Methods",
        "Allow",
        "ETag",
        "Link",
        "Location",
        "Retry-After",
        "WWW-Authenticate",
    ]
)

#: Seconds for which a browser need not ask again; Chromium takes no more.
MAX_AGE = "7200"

#: Headers that a resource adds to its answers to OPTIONS, for everybody.
ResourceHeaders = Callable[[web.Request], Mapping[str, str]]

#: Link headers that it adds for those who may use it, and never to a preflight.
ResourceLinks = Callable[[web.Request], Sequence[str]]


class CrossOrigin:
    """The origins that are allowed, and what their requests are answered with."""

    def __init__(self, origins: Sequence[str] = (ANY_ORIGIN,)) -> None:
        self._any = ANY_ORIGIN in origins
        self._origins = frozenset(origins)

    def headers(self, origin: str | None) -> dict[str, str]:
        """What every response carries, given the request's Origin; empty if there is nothing."""
        if self._any:
            allowed = ANY_ORIGIN
        elif origin is not None and origin.lower() in self._origins:
            allowed = origin
        else:
            return {}
        return {
            "Access-Control-Allow-Origin": allowed,
            "Access-Control-Expose-Headers": RESPONSE_HEADERS,
        }

    @property
    def varies(self) -> bool:
        """Whether responses to different origins differ."""
        return bool(self._origins) and not self._any

    def preflight_headers(self, origin: str | None) -> dict[str, str]:
        """What a preflight is answered with, beside `headers`."""
        if not self.headers(origin):
            return {}
        return {
            "Access-Control-Allow-Methods": METHODS,
            "Access-Control-Allow-Headers": REQUEST_HEADERS,
            "Access-Control-Max-Age": MAX_AGE,
        }

    def install(self, app: web.Application) -> None:
        """Let every response of an application carry `headers`: errors and streams too."""

        async def on_prepare(
            request: web.Request, response: web.StreamResponse
        ) -> None:
            response.headers.update(self.headers(request.headers.get("Origin")))
            if self.varies:
                vary = response.headers.get("Vary")
                response.headers["Vary"] = f"{vary}, Origin" if vary else "Origin"

        app.on_response_prepare.append(on_prepare)


def is_preflight(request: web.Request) -> bool:
    """Whether a browser asks on behalf of a page; it never sends a token with that."""
    return (
        request.method == "OPTIONS"
        and "Origin" in request.headers
        and "Access-Control-Request-Method" in request.headers
    )


def preflight_middleware(cors: CrossOrigin, resource: ResourceHeaders) -> Middleware:
    """Answers preflights, whatever they are for, before anybody is asked for a token.

    Args:
        cors: the origins.
        resource: what the resource says of itself, such as Accept-Post.
    """

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not is_preflight(request):
            return await handler(request)
        headers = {
            **resource(request),
            **cors.preflight_headers(request.headers.get("Origin")),
            "Cache-Control": "no-store",
        }
        # 200 and not 204: RFC 9725 section 4.2 speaks of a 200.
        return web.Response(status=HTTPStatus.OK, headers=headers)

    return middleware


def options_middleware(resource: ResourceHeaders, links: ResourceLinks) -> Middleware:
    """Answers OPTIONS for every route of an application, and has 405 name it in Allow.

    Args:
        resource: what the resource says of itself, such as Accept-Post.
        links: such as ICE servers (RFC 9725 section 4.6).
    """

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPMethodNotAllowed as error:
            allowed = ", ".join(sorted({*error.allowed_methods, "OPTIONS"}))
            if request.method != "OPTIONS":
                error.headers["Allow"] = allowed
                raise
        headers = {
            "Allow": allowed,
            "Access-Control-Allow-Methods": METHODS,
            **resource(request),
        }
        response = web.Response(status=HTTPStatus.OK, headers=headers)
        for link in links(request):
            response.headers.add("Link", link)
        return response

    return middleware
