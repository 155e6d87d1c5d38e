"""SDP fragments as clients really write them, and what is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from live777py.protocol.candidate import Candidate
from live777py.protocol.rtp import Malformed
from live777py.protocol.sdpfrag import (
    MAX_LINES,
    Fragment,
    parse,
    write,
    write_candidates,
)

PWD = "aGVsbG8gd29ybGQgaGVsbG8gd29y"
HOST = "candidate:1 1 udp 2130706431 198.51.100.1 39132 typ host"

#: What a client sent, and what it says.
FRAGMENTS = {
    # RFC 9725 section 4.3.2: credentials above the only section.
    "rfc": (
        (
            f"a=ice-ufrag:EsAw\r\na=ice-pwd:{PWD}\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\n"
            f"a={HOST}\r\na=end-of-candidates\r\n"
        ),
        Fragment("EsAw", PWD, 1, True),
    ),
    # Credentials in each of several sections.
    "sections": (
        (
            "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\na=ice-ufrag:EsAw\r\n"
            f"a=ice-pwd:{PWD}\r\na={HOST}\r\n"
            f"m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:1\r\na=ice-ufrag:EsAw\r\n"
            f"a=ice-pwd:{PWD}\r\na={HOST}\r\n"
        ),
        Fragment("EsAw", PWD, 2, False),
    ),
    # A media type that has nothing to do with the session's, and a mid of letters.
    "any media": ("m=audio 9 RTP/AVP 0\r\na=mid:video\r\n", Fragment("", "", 0, False)),
    "tcp and mdns": (
        (
            "m=audio 9 RTP/AVP 0\na=mid:0\n"
            "a=candidate:1 1 tcp 1 198.51.100.1 9 typ host tcptype active\n"
            "a=candidate:1 1 udp 1 aaaa.local 9 typ host\na=candidate:nonsense\n"
        ),
        Fragment("", "", 3, False),
    ),
    "only an end": ("a=end-of-candidates", Fragment("", "", 0, True)),
    "a whole head": (
        "v=0\r\no=- 1 2 IN IP4 0.0.0.0\r\ns=-\r\n",
        Fragment("", "", 0, False),
    ),
}


@pytest.mark.parametrize("name", FRAGMENTS)
def test_fragments_are_read(name: str) -> None:
    text, read = FRAGMENTS[name]
    assert parse(text) == read


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty"),
        ("\r\n\r\n", "empty"),
        ("hello", "line 1"),
        ("a=mid:0\r\n{}", "line 2"),
        ("a=ice-ufrag:x\r\n", "ice-ufrag"),
        ("a=ice-pwd:short\r\n", "ice-pwd"),
        ("a=ice-ufrag:EsAw\r\na=ice-ufrag:Other\r\n", "two different"),
        ("a=x\n" * (MAX_LINES + 1), "more than"),
    ],
)
def test_what_is_no_fragment_is_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        parse(text)


@given(st.text())
def test_any_text_is_a_fragment_or_malformed(text: str) -> None:
    try:
        parse(text)
    except Malformed:
        return


def test_the_password_is_not_in_what_is_logged() -> None:
    assert PWD not in repr(parse(FRAGMENTS["rfc"][0]))


def test_what_is_written_can_be_read() -> None:
    candidate = Candidate("1", 1, "udp", 2130706431, "198.51.100.1", 7777)
    text = write(ufrag="EsAw", pwd=PWD, options="ice2", mid="0", candidates=[candidate])
    assert parse(text) == Fragment("EsAw", PWD, 1, True)
    assert text.startswith("a=ice-lite\r\na=ice-options:ice2\r\n")
    assert text.endswith("\r\n")


@pytest.mark.parametrize("is_complete", [True, False])
def test_candidates_that_follow_an_offer_can_be_read(is_complete: bool) -> None:
    candidate = Candidate("1", 1, "udp", 2130706431, "198.51.100.1", 7777)
    text = write_candidates(
        ufrag="EsAw",
        pwd=PWD,
        mids=("0", "1"),
        kind="video",
        candidates=[candidate] * 2,
        is_complete=is_complete,
    )
    assert parse(text) == Fragment("EsAw", PWD, 2, is_complete)
    assert text.startswith("a=group:BUNDLE 0 1\r\nm=video 9 ")
    assert "\r\na=mid:0\r\n" in text
