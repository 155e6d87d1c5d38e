"""HTTP requests as series."""

from __future__ import annotations

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter

#: Methods that are told apart; a client may make up any number of others.
METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
OTHER_METHOD = "other"

#: The label of a request whose path or method there is no route for.
NO_ROUTE = "none"


class RequestSeries:
    """Counts responses as they begin, so that a stream of events counts at its beginning."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "live777_http_requests",
            "HTTP requests that were answered.",
            ["method", "route", "status"],
            registry=registry,
        )

    def install(self, app: web.Application) -> None:
        """Count what an application and those below it answer, whatever answers it."""
        app.on_response_prepare.append(self._count)

    async def _count(self, request: web.Request, response: web.StreamResponse) -> None:
        method = request.method if request.method in METHODS else OTHER_METHOD
        status = f"{response.status // 100}xx"
        self._requests.labels(method, route_of(request), status).inc()


def route_of(request: web.Request) -> str:
    """The path of a request's route as it was declared: never what a client made of it."""
    resource = request.match_info.route.resource
    return NO_ROUTE if resource is None else resource.canonical
