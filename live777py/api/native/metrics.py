"""`GET /metrics`: the node in numbers, for Prometheus."""

from __future__ import annotations

from aiohttp import web

from live777py.api.metrics.registry import Metrics
from live777py.api.native.callers import caller
from live777py.core.access import Right

METRICS = web.AppKey("metrics", Metrics)


def install(app: web.Application, metrics: Metrics) -> None:
    """Serve the page, and count what the application answers."""
    app[METRICS] = metrics
    metrics.count_requests(app)
    app.router.add_get("/metrics", show)


async def show(request: web.Request) -> web.Response:
    """`GET /metrics`: all series in Prometheus's text format, or in OpenMetrics's."""
    # It names every stream.
    caller(request).grant.require(Right.MANAGE)
    accept = request.headers.get("Accept", "")
    body, media_type = await request.app[METRICS].page(accept)
    headers = {"Content-Type": media_type, "Cache-Control": "no-store"}
    return web.Response(body=body, headers=headers)
