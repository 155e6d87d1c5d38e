"""Bodies over real sockets; those of SDP are in native/test_app.py."""

from __future__ import annotations

import io
import json
from http import HTTPStatus

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, ValidationError

from live777py.api.body import MAX_JSON_BYTES, SDP_TYPE, read_json, refuse
from live777py.api.front import Front
from live777py.errors import InvalidBody
from tests.support.http import serving

JSON = {"Content-Type": "application/json"}


class Mute(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    kind: str
    enabled: bool


def application() -> web.Application:
    async def handler(request: web.Request) -> web.Response:
        mute = await read_json(request, Mute)
        return web.Response(text=f"{mute.kind} {mute.enabled}")

    app = Front.of().application(
        overrides=lambda _: {InvalidBody: HTTPStatus.UNPROCESSABLE_ENTITY}
    )
    app.router.add_post("/", handler)
    return app


def test_a_refusal_keeps_its_headers() -> None:
    error = refuse(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send SDP", {"Accept-Post": SDP_TYPE}
    )
    assert error.status == 415
    assert error.text == "send SDP"
    assert error.headers["Accept-Post"] == SDP_TYPE


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "Application/JSON; charset=utf-8", "application/json;x=y"],
)
async def test_json_of_the_right_shape_is_read(content_type: str) -> None:
    body = b' {"kind": "audio", "enabled": false}\n'
    headers = {"Content-Type": content_type}
    async with (
        serving(application()) as http,
        http.post("/", data=body, headers=headers) as response,
    ):
        assert response.status == 200
        assert await response.text() == "audio False"


@pytest.mark.parametrize(
    "content_type", ["", "text/plain", "application/sdp", "application/jsonx"]
)
async def test_another_media_type_is_415_and_says_which_is_right(
    content_type: str,
) -> None:
    async with (
        serving(application()) as http,
        http.post("/", data=b"{}", headers={"Content-Type": content_type}) as response,
    ):
        assert response.status == 415
        assert response.headers["Accept-Post"] == "application/json"
        assert "send application/json" in await response.text()


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (b"", "is not JSON: EOF"),
        (b"{", "is not JSON: EOF"),
        (b'{"kind": "audio"} x', "is not JSON: trailing"),
        (b"\xff{}", "is not UTF-8 at byte 0"),
        (b"[" * 100_000, "is not JSON: recursion limit"),
        (b"{'kind': 1}", "is not JSON: key must be a string"),
    ],
)
async def test_what_is_no_json_is_400_with_the_reason(body: bytes, fault: str) -> None:
    async with (
        serving(application()) as http,
        http.post("/", data=body, headers=JSON) as response,
    ):
        assert response.status == 400
        assert fault in await response.text()


@pytest.mark.parametrize(
    ("body", "faults"),
    [
        ([], ["the body does not fit: Input should be an object"]),
        ({}, ["kind: Field required", "enabled: Field required"]),
        ({"kind": 5, "enabled": "yes"}, ["kind: Input", "enabled: Input"]),
        ({"kind": "audio", "enabled": True, "x": 1}, ["x: Extra inputs"]),
        ({str(n): n for n in range(9)}, ["and 6 more"]),
    ],
)
async def test_another_shape_is_422_and_names_the_keys(
    body: object, faults: list[str]
) -> None:
    async with (
        serving(application()) as http,
        http.post("/", json=body) as response,
    ):
        assert response.status == 422
        text = await response.text()
    for fault in faults:
        assert fault in text


async def test_a_huge_body_is_413() -> None:
    body = io.BytesIO(b" " * (MAX_JSON_BYTES + 1))
    async with (
        serving(application()) as http,
        http.post("/", data=body, headers=JSON) as response,
    ):
        assert response.status == 413


async def test_a_compressed_body_is_not_read() -> None:
    headers = {**JSON, "Content-Encoding": "br"}
    async with (
        serving(application()) as http,
        http.post("/", data=b"x", headers=headers) as response,
    ):
        assert response.status in {400, 415}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(json_values)
def test_no_json_breaks_what_names_its_faults(value: object) -> None:
    from live777py.api.body import _fault

    document = json.loads(json.dumps(value))
    with pytest.raises(ValidationError) as caught:
        Mute.model_validate(document)
    for fault in caught.value.errors():
        assert _fault(fault)
