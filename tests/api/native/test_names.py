"""Stream names in URLs."""

from __future__ import annotations

import pytest
from aiohttp.test_utils import make_mocked_request

from live777py.api.native.names import name_in_path, session_path
from live777py.errors import InvalidName


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/whip/cam", "cam"),
        ("/whip/a%20b", "a b"),
        ("/whip/a%2Fb", "a/b"),
        ("/whip/100%25", "100%"),
        ("/session/K%C3%BCche/id", "Küche"),
    ],
)
def test_a_name_is_the_decoded_second_segment(path: str, name: str) -> None:
    assert name_in_path(make_mocked_request("POST", path)) == name


def test_what_is_not_utf8_is_refused() -> None:
    with pytest.raises(InvalidName):
        name_in_path(make_mocked_request("POST", "/whip/%FF"))


def test_a_session_path_encodes_all_that_is_not_plain() -> None:
    assert session_path("a/b ü", "id") == "/session/a%2Fb%20%C3%BC/id"
