"""Who calls: made from the request, and never without a grant."""

from __future__ import annotations

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from live777py.api.auth import GRANT
from live777py.api.native.callers import ADMISSION, LIVE, caller
from live777py.core.access import Grant
from live777py.core.live import Live, Policy
from tests.core.fakes import FakeMedia


async def test_a_caller_has_the_grant_and_the_client_of_its_request() -> None:
    app = web.Application()
    app[LIVE] = Live(FakeMedia(), Policy())
    app[ADMISSION] = ()
    request = make_mocked_request("GET", "/", {"User-Agent": "x" * 500}, app=app)
    with pytest.raises(KeyError):
        caller(request)
    request[GRANT] = Grant("cam")
    called = caller(request)
    assert called.grant == Grant("cam")
    assert called.client.user_agent == "x" * 200
    assert called.admission is None
