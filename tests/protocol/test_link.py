from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from live777py.protocol.link import MAX_LINKS, LinkedIceServer, ice_servers

#: As RFC 9725 section 4.6 has them.
EXAMPLE = (
    '<stun:stun.example.net>; rel="ice-server"',
    (
        '<turn:turn.example.net?transport=udp>; rel="ice-server"; username="user"; '
        'credential="myPassword"; credential-type="password"'
    ),
    (
        '<turn:turn.example.net?transport=tcp>; rel="ice-server"; username="user"; '
        'credential="myPassword"; credential-type="password"'
    ),
    (
        '<turns:turn.example.net?transport=tcp>; rel="ice-server"; username="user"; '
        'credential="myPassword"; credential-type="password"'
    ),
)


def test_the_example_of_the_rfc_is_read() -> None:
    expected = (
        LinkedIceServer("stun", "stun.example.net", 3478),
        LinkedIceServer("turn", "turn.example.net", 3478, "udp", "user", "myPassword"),
        LinkedIceServer("turn", "turn.example.net", 3478, "tcp", "user", "myPassword"),
        LinkedIceServer("turns", "turn.example.net", 5349, "tcp", "user", "myPassword"),
    )
    assert ice_servers(EXAMPLE) == expected
    # Several links may share a header.
    assert ice_servers([", ".join(EXAMPLE)]) == expected


@pytest.mark.parametrize(
    ("header", "host", "port"),
    [
        ("<stun:192.0.2.1:19302>; rel=ice-server", "192.0.2.1", 19302),
        ('<stun:[2001:db8::1]:3479>; rel="ice-server"', "2001:db8::1", 3479),
        (
            '<STUN:a.example>; title="x, <y>"; rel="alternate ice-server"',
            "a.example",
            3478,
        ),
    ],
)
def test_addresses_and_other_parameters_are_read(
    header: str, host: str, port: int
) -> None:
    (server,) = ice_servers([header])
    assert (server.host, server.port) == (host, port)


def test_escapes_in_quotes_are_undone() -> None:
    header = r'<turn:t.example>; rel="ice-server"; username="a\"b"; credential="c\\d"'
    (server,) = ice_servers([header])
    assert (server.username, server.credential) == ('a"b', "c\\d")


@pytest.mark.parametrize(
    "header",
    [
        "",
        '<http://a.example>; rel="ice-server"',
        "<stun:a.example>",
        '<stun:a.example>; rel="next"',
        '<stun:a.example:99999>; rel="ice-server"',
        '<stun:a b>; rel="ice-server"',
        "stun:a.example; rel=ice-server",
    ],
)
def test_what_is_no_ice_server_is_left_out(header: str) -> None:
    assert ice_servers([header]) == ()


def test_links_are_bounded() -> None:
    assert len(ice_servers(['<stun:a>; rel="ice-server"'] * 1000)) == MAX_LINKS


def test_a_credential_is_not_shown() -> None:
    assert "myPassword" not in repr(ice_servers(EXAMPLE))


@given(st.lists(st.text(max_size=200), max_size=5))
def test_no_header_does_harm(headers: list[str]) -> None:
    ice_servers(headers)
