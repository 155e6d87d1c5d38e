"""The OpenAPI document says what the routes are, and what they answer."""

from __future__ import annotations

import re

from aiohttp import web

from live777py.api.front import Front
from live777py.api.native.app import create_app
from live777py.api.native.openapi import document
from live777py.config import Strategy
from live777py.core.live import Live, Policy
from tests.api.native.support import client
from tests.core.fakes import FakeMedia


def routes() -> set[tuple[str, str]]:
    """Methods and paths of all that is no page; HEAD goes with GET, OPTIONS with all."""
    app = create_app(Live(FakeMedia(), Policy()), Strategy(), (), {}, Front.of())
    found = set()
    for route in app.router.routes():
        resource = route.resource
        assert isinstance(resource, web.Resource)
        if route.method not in ("HEAD", "OPTIONS"):
            found.add((route.method, resource.canonical))
    return found


async def test_the_document_has_every_route_and_no_other() -> None:
    described = {
        (method.upper(), path)
        for path, item in document()["paths"].items()
        for method in item
        if method != "parameters"
    }
    assert described == routes()


def test_every_parameter_of_a_path_is_described() -> None:
    for path, item in document()["paths"].items():
        names = {p["name"] for p in item.get("parameters", ())}
        assert names == set(re.findall(r"\{(\w+)\}", path)), path


def test_every_operation_says_who_may_ask_and_how_often() -> None:
    for path, item in document()["paths"].items():
        for method, operation in item.items():
            if method == "parameters":
                continue
            statuses = operation["responses"].keys()
            if "security" not in operation:
                assert {"401", "403"} <= statuses, path
            if method != "get":
                assert "429" in statuses, path
            if "requestBody" in operation:
                assert {"400", "408", "413", "415"} <= statuses, path


def test_every_reference_leads_somewhere() -> None:
    schemas = document()["components"]["schemas"]
    found = set(re.findall(r"#/components/schemas/(\w+)", str(document())))
    assert found <= schemas.keys()
    # An event stream's messages have no place for a schema of their own.
    assert schemas.keys() - found == {"Event"}


async def test_the_document_is_served() -> None:
    async with client() as http, http.get("/api/openapi.json") as response:
        assert response.status == 200
        assert response.content_type == "application/json"
        assert await response.json() == document()
