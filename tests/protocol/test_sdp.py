from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from live777py.errors import InvalidOffer
from live777py.protocol import sdp
from live777py.protocol.sdp import MediaSection, SessionDescription, parse

TEXT = """v=0
o=- 12 2 IN IP4 127.0.0.1
s=a name
c=IN IP4 192.0.2.1
t=0 0
a=group:BUNDLE 0 1
a=msid-semantic: WMS
m=audio 9 UDP/TLS/RTP/SAVPF 111 0
i=a title
c=IN IP4 0.0.0.0
a=mid:0
a=recvonly
a=rtpmap:111 opus/48000/2
m=application 0 UDP/DTLS/SCTP webrtc-datachannel
a=mid:1
a=candidate:1 1 udp 1 192.0.2.1 7777 typ host
a=candidate:nonsense
"""


def test_sessions_and_sections_are_taken_apart() -> None:
    description = parse(TEXT)

    assert description.origin == "- 12 2 IN IP4 127.0.0.1"
    assert description.name == "a name"
    assert description.connection == "IN IP4 192.0.2.1"
    assert description.first("msid-semantic") == "WMS"
    audio, data = description.media
    assert (audio.kind, audio.port, audio.protocol) == (
        "audio",
        9,
        "UDP/TLS/RTP/SAVPF",
    )
    assert audio.formats == ("111", "0")
    assert audio.connection == "IN IP4 0.0.0.0"
    assert audio.mid == "0"
    assert audio.direction == "recvonly"
    assert audio.has("recvonly")
    assert audio.first("recvonly") is None
    assert list(audio.all("rtpmap")) == ["111 opus/48000/2"]
    assert data.formats == ("webrtc-datachannel",)
    assert data.direction is None
    assert not data.has("recvonly")


def test_candidates_that_cannot_be_read_are_left_out() -> None:
    assert [c.host for c in parse(TEXT).media[1].candidates] == ["192.0.2.1"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_any_line_end_will_do(end: str) -> None:
    assert parse(TEXT.replace("\n", end)) == parse(TEXT)


def test_blank_lines_and_a_missing_last_line_end_will_do() -> None:
    assert parse("\r\n" + TEXT.rstrip() + "\n \n") == parse(TEXT)
    assert parse(TEXT.strip()) == parse(TEXT)


def test_what_is_written_ends_every_line_with_crlf_and_begins_with_the_version() -> (
    None
):
    text = str(parse(TEXT))

    assert text.startswith("v=0\r\no=- 12 2 IN IP4 127.0.0.1\r\ns=a name\r\n")
    assert text.endswith("\r\n")
    assert text.count("\n") == text.count("\r") == text.count("\r\n")


def test_a_session_without_connection_has_no_connection_line() -> None:
    assert str(SessionDescription()) == (
        "v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n"
    )


def test_the_lines_that_are_not_needed_may_lack() -> None:
    assert parse("v=0\n") == SessionDescription()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "does not begin with v=0"),
        ("{}", "line 1 of the SDP"),
        ("o=- 1 1 IN IP4 0.0.0.0\r\nv=0\r\n", "does not begin with v=0"),
        ("v=1\r\n", "does not begin with v=0"),
        ("v=0\r\ngarbage\r\n", "line 2 of the SDP"),
        ("v=0\r\nA=b\r\n", "line 2 of the SDP"),
        ("v=0\r\na=b\0c\r\n", "line 2 of the SDP"),
        ("v=0\r\na=\r\n", "line 2 of the SDP is an attribute without name"),
        ("v=0\r\na=:value\r\n", "line 2 of the SDP is an attribute without name"),
        ("v=0\r\nm=audio\r\n", "line 2 of the SDP is not a media"),
        ("v=0\r\nm=audio x RTP/AVP 0\r\n", "line 2 of the SDP is not a media"),
        ("v=0\r\nm=audio 65536 RTP/AVP 0\r\n", "line 2 of the SDP is not a media"),
        ("v=0\r\n" + "a=b\r\n" * sdp.MAX_LINES, "more than 5000 lines"),
        (
            "v=0\r\n" + "m=audio 9 RTP/AVP 0\r\n" * 65,
            "more than 64 media sections",
        ),
        (
            "v=0\r\n" + "a=b\r\n" * (sdp.MAX_ATTRIBUTES + 1),
            r"more than 1000 attributes \(line 1002\)",
        ),
        (
            "v=0\r\nm=audio 9 RTP/AVP 0\r\n" + "a=b\r\n" * (sdp.MAX_ATTRIBUTES + 1),
            r"more than 1000 attributes \(line 1003\)",
        ),
        (
            "v=0\r\nm=audio 9 RTP/AVP" + " 0" * (sdp.MAX_FORMATS + 1),
            "line 2 of the SDP has more than 128 formats",
        ),
    ],
)
def test_what_is_not_sdp_is_refused_with_the_place(text: str, reason: str) -> None:
    with pytest.raises(InvalidOffer, match=reason):
        parse(text)


def test_the_bounds_themselves_are_allowed() -> None:
    section = "m=audio 9 RTP/AVP" + " 0" * sdp.MAX_FORMATS + "\r\n"
    attributes = "a=b\r\n" * sdp.MAX_ATTRIBUTES

    (media,) = parse("v=0\r\n" + attributes + section + attributes).media

    assert len(media.formats) == sdp.MAX_FORMATS
    assert len(media.attributes) == sdp.MAX_ATTRIBUTES


_WORD = st.from_regex("[!-9;-~]{1,12}", fullmatch=True)
_ATTRIBUTES = st.lists(
    st.tuples(_WORD, st.none() | st.from_regex("[ -~é]{0,20}", fullmatch=True))
).map(tuple)
_SECTIONS = st.builds(
    MediaSection,
    attributes=_ATTRIBUTES,
    kind=_WORD,
    port=st.integers(0, 65535),
    protocol=_WORD,
    formats=st.lists(_WORD).map(tuple),
    connection=st.none() | st.just("IN IP6 2001:db8::1"),
)


@given(
    st.builds(
        SessionDescription,
        attributes=_ATTRIBUTES,
        origin=_WORD,
        name=_WORD,
        connection=st.none() | st.just("IN IP4 192.0.2.1"),
        media=st.lists(_SECTIONS, max_size=4).map(tuple),
    )
)
def test_what_is_written_reads_back_the_same(description: SessionDescription) -> None:
    assert parse(str(description)) == description


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    for candidate in (text, f"v=0\r\n{text}"):
        with contextlib.suppress(InvalidOffer):
            parse(candidate)
