"""The table of statuses is whole, and every error has one."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st

from live777py import errors
from live777py.api.errors import (
    STATUSES,
    Problem,
    error_middleware,
    prefers_problem,
    problem_of_error,
    render,
    status_of,
)
from live777py.api.front import Front
from live777py.errors import (
    AtCapacity,
    BadToken,
    LiveError,
    Loop,
    MissingToken,
    NotPermitted,
    StreamNotFound,
    TakeoverPending,
    TooManyHops,
    UnusableOffer,
)
from tests.support.http import serving


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
    assert problem_of_error(TakeoverPending("cam"), {}).headers == {"Retry-After": "2"}


def test_a_part_of_a_second_is_a_second_for_retry_after() -> None:
    error = AtCapacity("full")
    error.retry_after = 0.2
    assert problem_of_error(error, {}).headers == {"Retry-After": "1"}


@pytest.mark.parametrize("kind", [Loop, TooManyHops])
def test_a_loop_is_told_to_programs_too(kind: type[Loop]) -> None:
    problem = problem_of_error(kind("a/cam → a/cam", "0123456789abcdef.a/cam"), {})
    assert problem.message.endswith(": a/cam → a/cam")
    assert problem.headers == {"Live777py-Via": "0123456789abcdef.a/cam"}
    assert problem_of_error(kind("a/cam → a/cam"), {}).headers == {}


@pytest.mark.parametrize(
    ("error", "challenge"),
    [
        (MissingToken(), 'Bearer realm="live777py"'),
        (BadToken("old"), 'Bearer realm="live777py", error="invalid_token"'),
        (
            NotPermitted("PUBLISH", "cam"),
            'Bearer realm="live777py", error="insufficient_scope"',
        ),
    ],
)
def test_who_is_not_let_in_is_told_what_to_show(
    error: LiveError, challenge: str
) -> None:
    problem = problem_of_error(error, {})
    assert problem.headers == {"WWW-Authenticate": challenge}
    assert problem.status in {401, 403}


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


def application(raised: Exception) -> web.Application:
    async def handler(_request: web.Request) -> web.Response:
        raise raised

    app = Front.of().application()
    app.router.add_get("/", handler)
    return app


async def test_an_error_is_one_sentence_of_plain_text() -> None:
    async with (
        serving(application(StreamNotFound("cam"))) as http,
        http.get("/", headers={"Accept": "application/sdp"}) as response,
    ):
        assert response.status == 404
        assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert response.headers["Vary"] == "Accept"
        assert await response.text() == str(StreamNotFound("cam"))


@pytest.mark.parametrize(
    ("raised", "status", "title", "code"),
    [
        (StreamNotFound("cam"), 404, "Not Found", "stream_not_found"),
        (AtCapacity("full"), 503, "Service Unavailable", "at_capacity"),
        (web.HTTPRequestEntityTooLarge(1, 2, text="big"), 413, None, None),
        (RuntimeError("secret"), 500, "Internal Server Error", "internal_error"),
    ],
)
async def test_a_client_that_wants_them_gets_problem_details(
    raised: Exception, status: int, title: str | None, code: str | None
) -> None:
    async with (
        serving(application(raised)) as http,
        http.get("/", headers={"Accept": "application/problem+json"}) as response,
    ):
        assert response.status == status
        assert response.headers["Content-Type"] == "application/problem+json"
        details = await response.json()
        assert details.keys() == {"type", "title", "status", "detail", "code"}
        assert details["type"] == "about:blank"
        assert details["status"] == status
        assert details["title"] == (title or HTTPStatus(status).phrase)
        assert details["code"] == (code or HTTPStatus(status).name.lower())
        assert "secret" not in await response.text()


async def test_what_aiohttp_refuses_is_a_problem_too() -> None:
    headers = {"Accept": "application/problem+json"}
    async with serving(application(StreamNotFound("cam"))) as http:
        async with http.get("/nothing", headers=headers) as response:
            assert (await response.json())["code"] == "not_found"
        async with http.post("/", headers=headers) as response:
            assert (await response.json())["code"] == "method_not_allowed"
            assert response.headers["Allow"] == "GET, HEAD, OPTIONS"


async def test_several_accept_lines_are_one_list() -> None:
    headers = [("Accept", "text/plain;q=0.1"), ("Accept", "application/problem+json")]
    async with (
        serving(application(StreamNotFound("cam"))) as http,
        http.get("/", headers=headers) as response,
    ):
        assert response.content_type == "application/problem+json"


@pytest.mark.parametrize(
    ("accept", "preferred"),
    [
        ("", False),
        ("*/*", False),
        ("application/sdp", False),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", False),
        ("application/problem+json", True),
        ("Application/Problem+JSON ; q=0.5", True),
        ("application/json", True),
        ("application/*", True),
        # axios, in live777's pages.
        ("application/json, text/plain, */*", False),
        ("application/json, text/plain;q=0.9, */*;q=0.1", True),
        ("application/json;q=0.5, text/plain", False),
        ("*/*, text/plain;q=0", True),
        ("application/problem+json;q=0, */*;q=0.5", False),
        ("application/problem+json;q=2", False),
        ("application/problem+json;q=x", False),
        ("application/sdp, application/problem+json;q=0.8", True),
    ],
)
def test_accept_says_who_prefers_problem_details(accept: str, preferred: bool) -> None:
    assert prefers_problem(accept) is preferred


@given(
    st.text() | st.lists(st.sampled_from([*";,=/* q01.5", "json", "text"])).map("".join)
)
def test_no_accept_header_breaks_an_answer(accept: str) -> None:
    assert prefers_problem(accept) in {True, False}


ranges = st.lists(
    st.tuples(
        st.sampled_from(["text/plain", "application/json", "*/*", "text/*", "a/b"]),
        st.sampled_from(["", ";q=0", ";q=0.5", ";q=1.000"]),
    ).map("".join)
)


@given(ranges.flatmap(lambda found: st.tuples(st.just(found), st.permutations(found))))
def test_the_order_of_media_ranges_does_not_matter(
    lists: tuple[list[str], list[str]],
) -> None:
    one, other = lists
    assert prefers_problem(",".join(one)) == prefers_problem(" , ".join(other))


def test_a_problem_keeps_its_headers() -> None:
    problem = Problem(HTTPStatus.CONFLICT, "no", "conflict", {"Retry-After": "2"})
    for accept in ("text/plain", "application/json"):
        request = make_mocked_request("GET", "/", headers={"Accept": accept})
        assert render(request, problem).headers["Retry-After"] == "2"
