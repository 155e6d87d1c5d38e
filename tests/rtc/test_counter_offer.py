from __future__ import annotations

import pytest

from live777py.errors import InvalidOffer, UnsupportedCodec, UnusableOffer
from live777py.protocol import sdp
from live777py.protocol.candidate import Candidate
from live777py.protocol.extensions import Extension
from live777py.rtc.answer import LocalParameters
from live777py.rtc.counter_offer import CounterOffer, read_counter_offer
from live777py.rtc.outgoing_offer import OutgoingMedia, read_answer, write_offer
from live777py.rtc.watched import DESCRIBING, pulled
from tests.support.offers import OPUS, VP8, VP9

LOCAL = LocalParameters(
    "ufrag123",
    "pwd" * 8,
    "sha-256 " + ":".join(["AB"] * 32),
    (Candidate("1", 1, "udp", 2130706431, "192.0.2.1", 5000),),
)
SENT = (
    OutgoingMedia("video", (VP8, VP9), 1111, 2222, DESCRIBING["video"]),
    OutgoingMedia("audio", (OPUS,), 3333),
)


def theirs(media: tuple[OutgoingMedia, ...] = SENT, *, is_lite: bool = True) -> str:
    return write_offer(media, LOCAL, session=77, cname="them", is_lite=is_lite)


def read(text: str) -> CounterOffer:
    return read_counter_offer(text, pulled())


#: Has nothing that we forward.
UNKNOWN = theirs((SENT[0],)).replace("VP8/", "X/").replace("VP9/", "Y/")


def test_all_that_may_come_is_taken() -> None:
    counter = read(theirs())
    video, audio = counter.remote.media
    assert [codec.name for codec in video.codecs.values()] == ["VP8", "VP9"]
    assert [codec.name for codec in audio.codecs.values()] == ["opus"]
    assert video.ssrcs == (1111,)
    assert set(video.rtx.values()) == set(video.codecs)
    assert set(video.extensions.values()) == set(DESCRIBING["video"])
    # Transport-wide numbers were not offered, and so their feedback is no use.
    assert all("transport-cc" not in names for names in video.feedback.values())
    assert [c.host for c in counter.remote.candidates] == ["192.0.2.1"]
    assert counter.remote.is_lite
    assert counter.remote.rtcp_rsize


def test_whoever_offered_understands_the_answer() -> None:
    answer = read_answer(read(theirs()).answer(LOCAL), SENT)
    assert [section.is_accepted for section in answer.media] == [True, True]
    assert [c.name for c in answer.media[0].codecs.values()] == ["VP8", "VP9"]
    assert set(answer.media[0].extensions.values()) == set(DESCRIBING["video"])
    assert "nack pli" in next(iter(answer.media[0].feedback.values()))
    # We are active, which makes the other side passive; and we are no lite agent.
    assert answer.dtls_role == "server"
    assert not answer.is_lite
    assert answer.ufrag == LOCAL.ufrag


@pytest.mark.parametrize(
    ("setup", "ours"),
    [("actpass", "client"), ("passive", "client"), ("active", "server")],
)
def test_the_role_in_the_handshake_is_what_is_left(setup: str, ours: str) -> None:
    counter = read(theirs().replace("setup:actpass", f"setup:{setup}"))
    assert counter.remote.dtls_role == ours
    written = sdp.parse(counter.answer(LOCAL)).media[0].first("setup")
    assert written == {"client": "active", "server": "passive"}[ours]


def test_a_full_agent_is_one() -> None:
    assert not read(theirs(is_lite=False)).remote.is_lite


def test_what_we_have_no_use_for_is_rejected() -> None:
    data = (
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\n"
        "a=mid:data\r\na=sctp-port:5000\r\n"
    )
    second = theirs((SENT[0],)).partition("m=video")[2].replace("a=mid:0", "a=mid:more")
    text = theirs() + data + "m=video" + second
    text = text.replace("BUNDLE 0 1", "BUNDLE 0 1 data more")
    counter = read(text)
    assert [section.mid for section in counter.remote.media] == ["0", "1"]
    written = sdp.parse(counter.answer(LOCAL))
    assert [section.port != 0 for section in written.media] == [
        True,
        True,
        False,
        False,
    ]


def test_what_we_cannot_take_is_rejected_and_named() -> None:
    counter = read(theirs().replace("VP8/", "X/").replace("VP9/", "Y/"))
    audio, video = counter.remote.media
    assert (audio.kind, audio.is_accepted, audio.refusal) == ("audio", True, "")
    assert (video.kind, video.is_accepted) == ("video", False)
    assert video.refusal == "its section is X, rtx, Y, which we did not offer"
    written = sdp.parse(counter.answer(LOCAL))
    assert [section.port != 0 for section in written.media] == [False, True]


def test_a_second_section_makes_up_for_one_that_we_cannot_take() -> None:
    second = theirs((SENT[0],)).partition("m=video")[2].replace("a=mid:0", "a=mid:more")
    text = (UNKNOWN + "m=video" + second).replace("BUNDLE 0", "BUNDLE 0 more")
    [section] = read(text).remote.media
    assert (section.mid, section.refusal) == ("more", "")


@pytest.mark.parametrize(
    ("text", "error", "why"),
    [
        ("v=0\r\n", InvalidOffer, "offer"),
        (theirs().replace("sendonly", "recvonly"), UnusableOffer, "sends nothing"),
        (UNKNOWN, UnsupportedCodec, "X, rtx, Y"),
        (theirs().replace("a=fingerprint", "a=x"), InvalidOffer, "fingerprint"),
    ],
)
def test_what_cannot_be_answered_is_told(
    text: str, error: type[Exception], why: str
) -> None:
    with pytest.raises(error, match=why):
        read(text)


def test_one_number_for_two_codecs_is_refused() -> None:
    offered = theirs()
    number = sdp.parse(offered).media[1].formats[0]
    taken = sdp.parse(offered).media[0].formats[0]
    head, _, audio = offered.partition("m=audio")
    text = f"{head}m=audio{audio.replace(number, taken)}"
    with pytest.raises(UnusableOffer, match="two codecs"):
        read(text)


def test_numbers_of_the_transport_are_taken_where_they_are_offered() -> None:
    media = tuple(
        OutgoingMedia(m.kind, m.codecs, 5, extensions=(Extension.TRANSPORT_CC,))
        for m in SENT[:1]
    )
    [video] = read(theirs(media)).remote.media
    assert Extension.TRANSPORT_CC in video.extensions.values()
    assert all("transport-cc" in names for names in video.feedback.values())
