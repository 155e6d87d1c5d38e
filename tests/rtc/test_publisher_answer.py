from __future__ import annotations

import pytest

from live777py.errors import InvalidOffer, UnsupportedCodec, UnusableOffer
from live777py.protocol.extensions import Extension
from live777py.protocol.sdp import parse
from live777py.rtc.publisher_answer import (
    PUBLISHER_FEEDBACK,
    REMB,
    TRANSPORT_CC,
    PublisherAnswer,
    answer_publisher,
)
from tests.rtc.offers import LOCAL, audio, offer, read, video


def answer(text: str) -> PublisherAnswer:
    return answer_publisher(text, LOCAL)


def test_the_first_codec_that_is_forwarded_is_kept_with_its_rtx() -> None:
    answered = answer(read("chromium-156-whip-gathered"))

    opus, vp8 = answered.media
    assert (opus.mid, opus.kind, opus.codec.name, opus.payload_type) == (
        "0",
        "audio",
        "opus",
        111,
    )
    assert (vp8.codec.name, vp8.payload_type, vp8.rtx_payload_type) == ("VP8", 96, 97)
    assert [m.formats for m in parse(answered.sdp).media] == [("111",), ("96", "97")]


def test_a_codec_after_those_that_are_not_forwarded_is_kept() -> None:
    lines = "a=rtpmap:95 red/90000\na=rtpmap:96 H263/90000\na=rtpmap:97 AV1/90000"

    answered = answer(offer(video(extra=lines, formats="95 96 97")))

    assert [m.codec.name for m in answered.media] == ["AV1"]


@pytest.mark.parametrize("direction", ["sendonly", "sendrecv"])
def test_every_section_is_answered_recvonly(direction: str) -> None:
    answered = answer(offer(audio(direction), video(direction)))

    assert [m.direction for m in parse(answered.sdp).media] == ["recvonly"] * 2


@pytest.mark.parametrize("direction", ["recvonly", "inactive"])
def test_who_does_not_send_cannot_publish(direction: str) -> None:
    with pytest.raises(UnusableOffer, match=direction):
        answer(offer(audio(), video(direction)))


def test_two_videos_cannot_be_published() -> None:
    with pytest.raises(UnusableOffer, match="more than one video"):
        answer(offer(video(mid="0"), video(mid="1")))


def test_a_publisher_with_unknown_codecs_only_is_told_both_sides() -> None:
    text = offer(video(extra="a=rtpmap:96 H263/90000"))

    with pytest.raises(UnsupportedCodec) as caught:
        answer(text)

    assert str(caught.value) == (
        "the publisher's video is H263; this server forwards H264, H265, VP8, VP9, AV1"
    )


def test_a_publisher_without_any_named_codec_is_told_so() -> None:
    with pytest.raises(UnsupportedCodec, match="video is unnamed"):
        answer(offer(video(extra="")))


def test_no_section_is_dropped_to_save_another() -> None:
    with pytest.raises(UnsupportedCodec):
        answer(offer(audio(), video(extra="a=rtpmap:96 H263/90000")))


def test_one_payload_type_cannot_mean_two_codecs() -> None:
    lines = "a=rtpmap:111 VP8/90000"

    with pytest.raises(UnusableOffer, match="one payload type"):
        answer(offer(audio(), video(extra=lines, formats="111")))


def test_only_feedback_that_was_offered_and_is_sent_is_answered() -> None:
    answered = answer(read("chromium-156-whip-gathered"))

    assert answered.media[0].feedback == {TRANSPORT_CC}
    assert answered.media[1].feedback == set(PUBLISHER_FEEDBACK) - {REMB}


def test_transport_cc_brings_its_header_extension_and_takes_the_place_of_remb() -> None:
    answered = answer(read("chromium-156-whip-gathered"))

    for media in answered.media:
        assert TRANSPORT_CC in media.feedback
        assert media.extensions[3] is Extension.TRANSPORT_CC
    assert REMB not in answered.sdp


@pytest.mark.parametrize("missing", ["a=extmap:3 ", "transport-cc"])
def test_remb_is_for_those_without_transport_cc_or_its_extension(missing: str) -> None:
    text = read("chromium-156-whip-gathered")
    lines = [line for line in text.splitlines(keepends=True) if missing not in line]

    answered = answer("".join(lines))

    assert REMB in answered.media[1].feedback
    assert "transport-cc" not in answered.sdp
    assert "transport-wide-cc" not in answered.sdp


def test_what_we_cannot_send_is_not_answered() -> None:
    answered = answer_publisher(
        read("chromium-156-whip-gathered"), LOCAL, feedback=("nack", REMB)
    )

    assert answered.media[1].feedback == {"nack", REMB}
    assert "transport-wide-cc" not in answered.sdp


def test_extensions_that_describe_media_and_the_mid_are_answered() -> None:
    answered = answer(read("chromium-156-whip-gathered"))

    assert answered.media[0].extensions == {
        1: Extension.AUDIO_LEVEL,
        3: Extension.TRANSPORT_CC,
        4: Extension.MID,
    }
    assert answered.media[1].extensions == {
        13: Extension.VIDEO_ORIENTATION,
        3: Extension.TRANSPORT_CC,
        5: Extension.PLAYOUT_DELAY,
        8: Extension.COLOR_SPACE,
        4: Extension.MID,
    }
    video_section = parse(answered.sdp).media[1]
    ids = [value.split()[0] for value in video_section.all("extmap")]
    assert ids == ["13", "3", "5", "8", "4"]


def test_the_ssrcs_of_media_are_told_from_those_of_retransmissions() -> None:
    answered = answer(read("chromium-156-whip-gathered"))

    assert [m.ssrcs for m in answered.media] == [(2463409144,), (1400209187,)]


def test_ssrcs_that_are_none_are_ignored() -> None:
    lines = "a=ssrc:abc x\na=ssrc:99999999999 x\na=ssrc:4294967296 x\na=ssrc:7 x"

    answered = answer(
        offer(audio(extra=f"{lines}\na=ssrc-group:SIM 7 8\na=ssrc-group:"))
    )

    assert answered.media[0].ssrcs == (7,)


@pytest.mark.parametrize(
    ("name", "rids"),
    [
        ("chromium-156-whip-simulcast-gathered", ("h", "m", "l")),
        ("obs-32.1-simulcast", ("0", "1", "2")),
    ],
)
def test_simulcast_is_seen_but_not_answered(name: str, rids: tuple[str, ...]) -> None:
    answered = answer(read(name))

    assert answered.media[1].rids == rids
    assert "simulcast" not in answered.sdp
    assert "a=rid" not in answered.sdp


def test_rids_to_receive_are_not_those_of_a_publisher() -> None:
    answered = answer(offer(audio(extra="a=rid:1 recv\na=rid:\na=rid:2 send")))

    assert answered.media[0].rids == ("2",)


@pytest.mark.parametrize("profile", ["42e01f", "640028", "f4001f", "6e0028"])
def test_every_profile_of_h264_is_accepted(profile: str) -> None:
    lines = f"a=rtpmap:96 H264/90000\na=fmtp:96 profile-level-id={profile}"

    answered = answer(offer(video(extra=lines)))

    assert answered.media[0].codec.parameter("profile-level-id") == profile
    assert f"a=fmtp:96 profile-level-id={profile}\r\n" in answered.sdp


@pytest.mark.parametrize(
    "name",
    ["opus/48000/2", "multiopus/48000/6", "PCMU/8000", "PCMA/8000", "G722/8000/1"],
)
def test_every_audio_codec_that_is_forwarded_is_accepted(name: str) -> None:
    text = offer(audio().replace("opus/48000/2", name))

    assert answer(text).media[0].codec.name == name.partition("/")[0]


def test_a_malformed_feedback_line_is_tolerated() -> None:
    answered = answer(read("ffmpeg-8.1-dev-malformed-feedback"))

    assert answered.media[1].feedback == frozenset()


def test_a_group_that_names_more_than_there_is_is_tolerated() -> None:
    answered = answer(read("ffmpeg-8.0-video-only"))

    assert parse(answered.sdp).first("group") == "BUNDLE 1"
    assert answered.remote.dtls_role == "client"


def test_an_invalid_offer_stays_one() -> None:
    with pytest.raises(InvalidOffer):
        answer("nonsense")
