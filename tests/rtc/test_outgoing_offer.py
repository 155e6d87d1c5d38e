from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from live777py.errors import InvalidAnswer
from live777py.protocol import sdp
from live777py.protocol.candidate import Candidate
from live777py.protocol.codecs import Codec
from live777py.protocol.extensions import Extension
from live777py.rtc.answer import LocalParameters
from live777py.rtc.offer import read_offer
from live777py.rtc.outgoing_offer import (
    Answer,
    OutgoingMedia,
    read_answer,
    write_offer,
)
from live777py.rtc.watched import DESCRIBING, watched
from tests.support.offers import OPUS, VP8

FINGERPRINT = "sha-256 " + ":".join(["AB"] * 32)
LOCAL = LocalParameters(
    "ufrag123",
    "pwd" * 8,
    FINGERPRINT,
    (Candidate("1", 1, "udp", 2130706431, "192.0.2.1", 5000),),
)
SENT = (
    OutgoingMedia("video", (VP8,), 1111, 2222),
    OutgoingMedia("audio", (OPUS,), 3333),
)

TRANSPORT = f"""\
a=ice-ufrag:theirufrag
a=ice-pwd:theirpasswordtheirpassword
a=fingerprint:{FINGERPRINT}
"""
CANDIDATE = "a=candidate:1 1 udp 2130706431 192.0.2.9 7777 typ host\n"
VIDEO = """\
m=video 9 UDP/TLS/RTP/SAVPF 96 97
c=IN IP4 0.0.0.0
a=mid:0
a=rtcp-mux
a=rtpmap:96 VP8/90000
a=rtcp-fb:96 nack
a=rtcp-fb:96 nack pli
a=rtpmap:97 rtx/90000
a=fmtp:97 apt=96
"""
AUDIO = """\
m=audio 9 UDP/TLS/RTP/SAVPF 98
c=IN IP4 0.0.0.0
a=mid:1
a=rtcp-mux
a=rtpmap:98 opus/48000/2
"""
HEAD = "v=0\no=- 1 1 IN IP4 0.0.0.0\ns=-\nt=0 0\na=group:BUNDLE 0 1\n"


def answer_to_sent(
    text: str = "",
    *,
    head: str = TRANSPORT + "a=setup:passive\n",
    video: str = "a=recvonly\n" + CANDIDATE,
    audio: str = "a=recvonly\n",
) -> Answer:
    return read_answer(text or HEAD + head + VIDEO + video + AUDIO + audio, SENT)


def offer(media: tuple[OutgoingMedia, ...]) -> str:
    return write_offer(media, LOCAL, session=77, cname="me")


def test_what_we_offer_to_send_a_server_like_ours_takes() -> None:
    read = read_offer(offer(SENT))
    assert read.bundle == ("0", "1")
    assert [section.direction for section in read.sections] == ["sendonly", "sendonly"]
    video = read.sections[0].media
    assert list(video.all("ssrc-group")) == ["FID 1111 2222"]
    assert list(video.all("rtpmap")) == ["96 VP8/90000", "97 rtx/90000"]
    assert list(video.all("rtcp-fb")) == ["96 nack", "96 nack pli", "96 ccm fir"]
    assert video.first("setup") == "actpass"
    assert [c.host for c in video.candidates] == ["192.0.2.1"]
    audio = read.sections[1].media
    assert audio.formats == ("98",)
    assert list(audio.all("ssrc")) == ["3333 cname:me", "3333 msid:me audio"]


def test_extensions_come_under_the_answers_ids() -> None:
    orientation = "urn:3gpp:video-orientation"
    color = "http://www.webrtc.org/experiments/rtp-hdrext/color-space"
    lines = (
        f"a=recvonly\na=extmap:7 {orientation}\na=extmap:4/sendonly {color}\n"
        "a=extmap:9 urn:example:unknown\n"
    )
    sent = (replace(SENT[0], extensions=DESCRIBING["video"]), SENT[1])
    text = HEAD + TRANSPORT + VIDEO + lines + AUDIO + f"a=extmap:7 {orientation}\n"
    video, audio = read_answer(text, sent).media
    # What only the other side would send is of no use, nor what was not offered.
    assert video.extensions == {7: Extension.VIDEO_ORIENTATION}
    assert audio.extensions == {}


@pytest.mark.parametrize("trickles", [True, False])
def test_an_offer_says_whether_more_candidates_may_follow(trickles: bool) -> None:
    text = write_offer(SENT, LOCAL, session=77, cname="me", trickles=trickles)
    assert ("a=end-of-candidates" in text) is not trickles
    assert ("trickle" in text) is trickles


def test_an_answer_is_read() -> None:
    answer = answer_to_sent()
    assert (answer.ufrag, answer.pwd) == ("theirufrag", "theirpasswordtheirpassword")
    assert answer.dtls_role == "client"
    assert not answer.is_lite
    assert [(c.host, c.port) for c in answer.candidates] == [("192.0.2.9", 7777)]
    video, audio = answer.media
    assert video.is_accepted
    assert video.codecs == {96: VP8}
    assert video.rtx == {97: 96}
    assert video.feedback[96] == {"nack", "nack pli"}
    assert audio.codecs == {98: Codec("audio", "opus", 48000, 2)}
    assert answer.section("audio") is audio
    assert "password" not in repr(answer)


def test_transport_lines_may_be_in_any_section() -> None:
    every = TRANSPORT + CANDIDATE + "a=end-of-candidates\n"
    only_first = answer_to_sent(
        head="a=ice-lite\n", video="a=recvonly\na=setup:active\n" + every
    )
    assert only_first.is_lite
    assert only_first.dtls_role == "server"
    assert len(only_first.candidates) == 1
    only_last = answer_to_sent(head="", audio="a=recvonly\na=setup:passive\n" + every)
    assert only_last.fingerprints == only_first.fingerprints
    both = answer_to_sent(
        head="",
        video="a=recvonly\na=setup:active\n" + every,
        audio="a=recvonly\na=setup:active\n" + every,
    )
    assert len(both.candidates) == len(both.fingerprints) == 1
    above = answer_to_sent(head=TRANSPORT + CANDIDATE, video="a=recvonly\n")
    assert len(above.candidates) == 1


@pytest.mark.parametrize(
    ("setup", "role"),
    [
        ("a=setup:active\n", "server"),
        ("a=setup:passive\n", "client"),
        ("a=setup:actpass\n", "client"),
        ("", "client"),
    ],
)
def test_our_role_follows_from_theirs(setup: str, role: str) -> None:
    assert answer_to_sent(head=TRANSPORT + setup).dtls_role == role


def test_candidates_that_lead_nowhere_are_left_out() -> None:
    lines = (
        "a=candidate:1 1 tcp 1 192.0.2.9 9 typ host tcptype passive\n"
        "a=candidate:2 1 udp 1 name.local 9 typ host\n"
        "a=candidate:3 2 udp 1 192.0.2.9 8 typ host\n"
        "a=candidate:4 1 udp 1 192.0.2.9 0 typ host\n"
        "a=candidate:5 1 UDP 1 2001:db8::1 9 typ srflx raddr 10.0.0.1 rport 9\n"
        "a=candidate:nonsense\n"
    )
    answer = answer_to_sent(video="a=recvonly\n" + lines)
    assert [c.host for c in answer.candidates] == ["2001:db8::1"]


def test_rejected_sections_are_told_apart() -> None:
    rejected = AUDIO.replace("m=audio 9", "m=audio 0")
    text = HEAD + TRANSPORT + VIDEO + "a=recvonly\n" + rejected + "a=inactive\n"
    answer = read_answer(text, SENT)
    assert [media.is_accepted for media in answer.media] == [True, False]
    assert answer.section("audio") is None


def test_the_ssrcs_of_an_answer_tell_media_from_retransmissions() -> None:
    ssrcs = "a=ssrc-group:FID 10 11\na=ssrc:10 cname:a\na=ssrc:11 cname:a\n"
    # One that does not fit into 32 bits is none.
    ssrcs += "a=ssrc:4294967296 cname:a\n"
    text = HEAD + TRANSPORT + VIDEO + "a=sendonly\n" + ssrcs + AUDIO + "a=sendonly\n"
    (video, _) = read_answer(text, watched()).media
    assert video.ssrcs == (10,)
    assert video.rtx_ssrcs == {11: 10}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("m=video 9 RTP 96", "does not begin with v=0"),
        ("<html>", "x=value"),
        (HEAD, "0 media sections"),
        (HEAD + TRANSPORT + AUDIO + VIDEO, "section 0 of the answer is 'audio'"),
        (HEAD + VIDEO + AUDIO, "no usable ice-ufrag"),
        (
            HEAD + TRANSPORT.replace("sha-256", "md5") + VIDEO + AUDIO,
            "no usable fingerprint",
        ),
        (HEAD + TRANSPORT + "a=setup:holdconn\n" + VIDEO + AUDIO, "holdconn"),
        (
            HEAD + TRANSPORT + VIDEO + "a=inactive\n" + AUDIO + "a=inactive\n",
            "accepts none",
        ),
        (
            HEAD + TRANSPORT + VIDEO + "a=sendonly\n" + AUDIO + "a=sendonly\n",
            "accepts none",
        ),
    ],
)
def test_an_unusable_answer_says_why(text: str, reason: str) -> None:
    with pytest.raises(InvalidAnswer, match=reason):
        answer_to_sent(text)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("m=audio 9", "m=audio 0", "rejects the section, which has port 0"),
        ("a=recvonly\n", "a=inactive\n", "rejects the section, which is inactive"),
        ("opus/48000/2", "X/8000", "is X, which we did not offer"),
        ("a=rtpmap:98 opus/48000/2\n", "", "is without a codec, which we did"),
        ("", "", ""),
    ],
)
def test_a_refused_section_says_why(old: str, new: str, reason: str) -> None:
    audio = (AUDIO + "a=recvonly\n").replace(old, new)
    text = HEAD + TRANSPORT + VIDEO + "a=recvonly\n" + audio
    video, refused = read_answer(text, SENT).media
    assert video.refusal == ""
    assert reason in refused.refusal
    assert refused.is_accepted is not bool(reason)


def test_a_refusal_is_not_as_long_as_the_other_server_likes() -> None:
    numbers = range(96, 112)
    names = "".join(f"a=rtpmap:{n} {'X' * 60}{n}/8000\n" for n in numbers)
    formats = " ".join(map(str, numbers))
    audio = f"m=audio 9 UDP/TLS/RTP/SAVPF {formats}\na=mid:1\na=recvonly\n{names}"
    text = HEAD + TRANSPORT + VIDEO + "a=recvonly\n" + audio
    assert 100 < len(read_answer(text, SENT).media[1].refusal) < 160


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        # It has no sound, perhaps: nobody can tell.
        ("m=audio 9", "m=audio 0", ""),
        ("a=sendonly\n", "a=inactive\n", ""),
        ("opus/48000/2", "X/8000", "is X, which we did not offer"),
    ],
)
def test_who_lacks_what_was_asked_for_refuses_nothing(
    old: str, new: str, reason: str
) -> None:
    wanted = watched()
    audio = (AUDIO + "a=sendonly\n").replace(old, new)
    text = HEAD + TRANSPORT + VIDEO + "a=sendonly\n" + audio
    video, lacking = read_answer(text, wanted).media
    assert (video.is_accepted, lacking.is_accepted) == (True, False)
    assert bool(lacking.refusal) is bool(reason)
    assert reason in lacking.refusal


@given(st.text())
def test_no_answer_does_harm(text: str) -> None:
    with pytest.raises(InvalidAnswer):
        read_answer(text, SENT)


@given(st.text(alphabet="a=:0 1x\n", max_size=200))
def test_strange_lines_in_a_good_answer_do_no_harm(lines: str) -> None:
    try:
        answer_to_sent(video="a=recvonly\n" + lines + "\n")
    except InvalidAnswer:
        return


def test_our_offer_is_whole_sdp() -> None:
    assert str(sdp.parse(offer(SENT))) == offer(SENT)
