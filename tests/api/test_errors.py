"""The table of statuses is whole, and every error has one."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus

import pytest
from aiohttp import ClientSession, web

from live777py import errors
from live777py.api.errors import (
    STATUSES,
    Problem,
    error_middleware,
    problem_of_error,
    status_of,
)
from live777py.errors import AtCapacity, LiveError, StreamNotFound, UnusableOffer


def leaves(kind: type[LiveError]) -> Iterator[type[LiveError]]:
    for child in kind.__subclasses__():
        yield child
        yield from leaves(child)


def test_the_table_covers_exactly_the_second_rank() -> None:
    assert set(STATUSES) == set(LiveError.__subclasses__())


def test_every_error_has_a_code_of_its_own() -> None:
    kinds = list(leaves(LiveError))
    assert len({kind.code for kind in kinds}) == len(kinds)


def test_the_tree_in_the_docstring_names_every_error_of_the_module() -> None:
    here = [kind for kind in leaves(LiveError) if kind.__module__ == errors.__name__]
    for kind in here:
        assert kind.__name__ in (errors.__doc__ or "")


def test_an_override_counts_for_the_subclasses_too() -> None:
    table: dict[type[LiveError], HTTPStatus] = {
        errors.InvalidOffer: HTTPStatus.UNPROCESSABLE_ENTITY
    }
    assert status_of(UnusableOffer("x"), table) == 422
    assert status_of(errors.InvalidName("x"), table) == 400


def test_the_root_of_all_errors_alone_is_ours() -> None:
    assert status_of(LiveError("x"), {}) == 500


def test_unavailable_says_when_to_come_back() -> None:
    assert problem_of_error(AtCapacity("full"), {}).headers == {"Retry-After": "2"}
    assert problem_of_error(StreamNotFound("cam"), {}).headers == {}


@pytest.mark.parametrize(
    ("raised", "status", "text"),
    [
        (StreamNotFound("cam"), 404, "'cam' does not exist"),
        (web.HTTPForbidden(text="no"), 403, "no"),
        (web.HTTPForbidden(), 403, "Forbidden"),
        (RuntimeError("secret"), 500, "internal error"),
    ],
)
async def test_every_error_is_answered_in_the_words_of_the_dialect(
    raised: Exception, status: int, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    def render(_request: web.Request, problem: Problem) -> web.Response:
        return web.Response(status=problem.status, text=problem.message)

    async def handler(_request: web.Request) -> web.Response:
        raise raised

    app = web.Application(middlewares=[error_middleware(render, lambda _: {})])
    app.router.add_get("/", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        async with ClientSession() as http, http.get(f"http://{host}:{port}/") as reply:
            assert reply.status == status
            body = await reply.text()
    finally:
        await runner.cleanup()
    assert text in body
    assert "secret" not in body
    assert ("secret" in caplog.text) == (status == 500)
