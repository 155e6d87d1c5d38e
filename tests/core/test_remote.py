from __future__ import annotations

import pytest

from live777py.core.remote import Remote, hidden, secrets_in, shown
from live777py.errors import InvalidRemote


@pytest.mark.parametrize(
    ("text", "token", "url", "found"),
    [
        ("http://a:7777/whep/x", "", "http://a:7777/whep/x", ""),
        ("https://a/whep/x?k=1", "Bearer t", "https://a/whep/x?k=1", "t"),
        ("http://a/whep/x", "bearer  t ", "http://a/whep/x", "t"),
        ("whep://t@a:7777/whep/x", "", "http://a:7777/whep/x", "t"),
        ("whip://a/whip/x", "", "http://a/whip/x", ""),
        ("wheps://t%2Bu@a/x", "", "https://a/x", "t+u"),
        ("http://old@a/x", "new", "http://a/x", "new"),
        ("http://[::1]:80/x", "", "http://[::1]:80/x", ""),
    ],
)
def test_urls_and_tokens_are_read(text: str, token: str, url: str, found: str) -> None:
    remote = Remote.parse(text, token)
    assert (remote.url, remote.token) == (url, found)
    assert remote.shown == url.partition("?")[0]


@pytest.mark.parametrize(
    ("text", "token"),
    [
        ("", ""),
        ("ftp://a/x", ""),
        ("http:///x", ""),
        ("http://a:port/x", ""),
        ("http://user:secret@a/x", ""),
        ("http://[a/x", ""),
        ("http://a/" + "x" * 3000, ""),
        ("http://a/x", "line\nbreak"),
    ],
)
def test_what_cannot_be_used_is_refused_and_not_quoted(text: str, token: str) -> None:
    with pytest.raises(InvalidRemote) as caught:
        Remote.parse(text, token)
    assert "secret" not in str(caught.value)


def test_nothing_secret_is_shown() -> None:
    remote = Remote.parse("whep://hidden@a/x?key=hidden", "hidden")
    assert "hidden" not in repr(remote)
    assert "hidden" not in remote.shown
    assert shown("http://hidden@a:1/x?hidden#hidden") == "http://a:1/x"
    assert shown("http://[") == ""


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://a/x", set()),
        ("http://a/x?k=1", set()),
        ("http://a/x?k=1&key=se%2Dcret", {"k=1&key=se%2Dcret", "se-cret"}),
        ("http://[", set()),
    ],
)
def test_secrets_of_a_query_are_known(url: str, expected: set[str]) -> None:
    assert secrets_in(url) == expected


def test_what_a_server_repeats_is_hidden() -> None:
    assert hidden("no abcd, no ab", {"ab", "abcd"}) == "no ***, no ***"
    assert hidden("nothing", set()) == "nothing"
