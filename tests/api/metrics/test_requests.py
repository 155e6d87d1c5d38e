"""HTTP requests as series."""

from __future__ import annotations

from tests.api.metrics.support import Samples, parsed
from tests.api.native.support import client


def requests(got: Samples) -> dict[tuple[str, ...], float]:
    """How many there were, by method, route and status."""
    return {
        tuple(dict(labels)[label] for label in ("method", "route", "status")): value
        for (name, labels), value in got.items()
        if name == "live777_http_requests_total"
    }


async def test_requests_are_counted_by_route_and_never_by_path() -> None:
    async with client() as http:
        for method, path in (
            ("GET", "/api/streams/one"),
            ("GET", "/api/streams/two"),
            ("POST", "/whip/three"),
            ("PATCH", "/healthz"),
            ("GET", "/nothing/here"),
            ("PROPFIND", "/nothing/there"),
            ("GET", "/healthz"),
        ):
            async with http.request(method, path):
                pass
        # One that goes on counts when it begins.
        async with http.get("/api/sse/streams") as stream:
            await stream.content.readany()
            async with http.get("/metrics") as response:
                text = await response.text()
        got = parsed(text)
    assert requests(got) == {
        ("GET", "/api/streams/{stream}", "4xx"): 2,
        ("POST", "/whip/{stream}", "4xx"): 1,
        ("PATCH", "none", "4xx"): 1,
        ("GET", "none", "4xx"): 1,
        ("other", "none", "4xx"): 1,
        ("GET", "/healthz", "2xx"): 1,
        ("GET", "/api/sse/streams", "2xx"): 1,
    }
    for name in ("one", "two", "three", "here", "PROPFIND"):
        assert f'"{name}"' not in text
