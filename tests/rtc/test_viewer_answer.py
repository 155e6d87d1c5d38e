from __future__ import annotations

import re
from collections.abc import Mapping

import pytest

from live777py.errors import Invalid, InvalidOffer, UnsupportedCodec, UnusableOffer
from live777py.protocol.codecs import Codec, Kind
from live777py.protocol.extensions import Extension
from live777py.protocol.sdp import parse
from live777py.rtc.viewer_answer import ViewerAnswer, answer_viewer, check_viewer
from tests.rtc.offers import (
    LOCAL,
    SENDERS,
    TRANSPORT,
    audio,
    h264,
    offer,
    opus,
    read,
    video,
)

CHROMIUM = "chromium-156-whep-gathered"
HIGH: dict[Kind, Codec] = {"video": h264("640028"), "audio": opus(stereo="1")}


def answer(text: str, source: Mapping[Kind, Codec] | None) -> ViewerAnswer:
    return answer_viewer(
        text, LOCAL, source, SENDERS, stream_id="stream", cname="cname"
    )


def vp(number: int, **parameters: str) -> Codec:
    pairs = tuple((k.replace("_", "-"), v) for k, v in parameters.items())
    return Codec("video", f"VP{number}", 90000, parameters=pairs)


@pytest.mark.parametrize(
    ("source", "payload_type", "rtx"),
    [
        (vp(8), 96, 97),
        (vp(9), 98, 99),
        (vp(9, profile_id="2"), 100, 101),
        (h264("42e01f"), 108, 109),
        (h264("42c028"), 108, 109),
        (h264("42e01f", "0"), 114, 115),
        (h264("42001f"), 102, 103),
        (h264("4d0028"), 116, 117),
        (h264("640028"), 41, 42),
        (Codec("video", "AV1", 90000), 45, 46),
    ],
)
def test_the_live_codec_is_answered_first_then_all_others(
    source: Codec, payload_type: int, rtx: int
) -> None:
    answered = answer(read(CHROMIUM), {"video": source, "audio": opus()})

    media = answered.media[0]
    formats = parse(answered.sdp).media[0].formats
    assert formats[:2] == (str(payload_type), str(rtx))
    assert media.codecs[0][1:] == (payload_type, rtx)
    assert len(formats) == len(set(formats)) == 30
    assert media.payload_type_for(source) == (payload_type, rtx)


def test_a_later_publisher_finds_its_payload_type() -> None:
    media = answer(read(CHROMIUM), HIGH).media[0]

    assert media.payload_type_for(vp(8)) == (96, 97)
    assert media.payload_type_for(Codec("video", "H265", 90000)) is None
    assert media.payload_type_for(opus()) is None


def test_with_no_publication_all_codecs_are_answered_in_the_offers_order() -> None:
    answered = answer(read(CHROMIUM), None)

    picture, sound = answered.media
    assert [pt for _, pt, _ in picture.codecs[:3]] == [96, 98, 100]
    assert [codec.name for codec, _, _ in sound.codecs] == [
        "opus",
        "G722",
        "PCMU",
        "PCMA",
    ]
    assert "red/" not in answered.sdp
    assert "fec" not in answered.sdp.replace("useinbandfec", "")


def test_every_section_with_media_is_answered_sendonly_with_one_stream() -> None:
    media = parse(answer(read(CHROMIUM), HIGH).sdp).media

    assert [m.direction for m in media] == ["sendonly"] * 2
    assert [m.first("msid") for m in media] == ["stream video", "stream audio"]


def test_ssrcs_are_named_and_those_of_retransmissions_grouped() -> None:
    picture, sound = parse(answer(read(CHROMIUM), HIGH).sdp).media

    assert list(picture.all("ssrc-group")) == ["FID 2221 2222"]
    assert list(picture.all("ssrc")) == [
        "2221 cname:cname",
        "2221 msid:stream video",
        "2222 cname:cname",
        "2222 msid:stream video",
    ]
    assert not sound.has("ssrc-group")
    assert list(sound.all("ssrc")) == ["1111 cname:cname", "1111 msid:stream audio"]


def test_only_feedback_that_is_acted_on_is_answered() -> None:
    answered = answer(read(CHROMIUM), HIGH)

    assert answered.media[0].feedback == {"nack", "nack pli", "ccm fir"}
    assert answered.media[1].feedback == frozenset()
    assert "goog-remb" not in answered.sdp
    assert "transport-cc" not in answered.sdp


def test_a_viewer_that_tells_its_time_is_promised_an_answer() -> None:
    offer = re.sub(r"(a=rtcp-fb:\d+ )nack\r\n", r"\g<0>\1rrtr\r\n", read(CHROMIUM))
    answered = answer(offer, HIGH)

    assert answered.media[0].feedback == {"nack", "nack pli", "ccm fir", "rrtr"}
    assert " rrtr\r\n" in answered.sdp


def test_extensions_have_the_viewers_ids_and_none_is_of_one_hop_only() -> None:
    answered = answer(read(CHROMIUM), HIGH)

    assert answered.media[0].extensions == {
        Extension.VIDEO_ORIENTATION: 3,
        Extension.PLAYOUT_DELAY: 5,
        Extension.COLOR_SPACE: 8,
    }
    assert answered.media[1].extensions == {Extension.AUDIO_LEVEL: 14}
    for name in ("sdes:mid", "stream-id", "transport-wide-cc", "abs-send-time"):
        assert name not in answered.sdp


def test_an_extension_that_the_viewer_only_receives_is_only_sent() -> None:
    assert "a=extmap:6/sendonly http" in answer(read("firefox-play"), None).sdp


@pytest.mark.parametrize(
    ("source", "stereo"),
    [
        ({"audio": opus(stereo="1")}, True),
        ({"audio": opus(sprop_stereo="1")}, True),
        ({"audio": opus()}, True),
        ({"audio": opus(minptime="10")}, False),
        ({"video": vp(8)}, False),
        (None, True),
    ],
)
def test_opus_is_played_in_stereo_when_the_source_may_be(
    source: Mapping[Kind, Codec] | None, stereo: bool
) -> None:
    answered = answer(read(CHROMIUM), source)

    expected = "111 minptime=10;useinbandfec=1"
    expected += ";stereo=1;sprop-stereo=1" if stereo else ""
    assert parse(answered.sdp).media[1].first("fmtp") == expected


def test_a_viewer_that_asks_for_mono_is_told_that_it_is_stereo() -> None:
    text = offer(audio("recvonly", "a=fmtp:111 stereo=0"))

    answered = answer(text, {"audio": opus(stereo="1")})

    assert "a=fmtp:111 stereo=1;sprop-stereo=1\r\n" in answered.sdp


@pytest.mark.parametrize("maxbundle", ["", "-maxbundle"])
@pytest.mark.parametrize("lacking", ["audio", "video"])
def test_a_kind_that_the_stream_lacks_is_inactive_inside_the_bundle(
    lacking: Kind, maxbundle: str
) -> None:
    source = {kind: codec for kind, codec in HIGH.items() if kind != lacking}

    answered = answer(read(f"chromium-156-whep{maxbundle}-gathered"), source)

    description = parse(answered.sdp)
    inactive = next(m for m in description.media if m.kind == lacking)
    assert inactive.direction == "inactive"
    assert inactive.port == 7777
    assert not inactive.has("ssrc")
    assert not inactive.has("msid")
    assert description.first("group") == "BUNDLE 0 1"
    assert [m.kind for m in answered.media] == list(source)


def test_audio_first_and_lacking_still_carries_the_transport() -> None:
    text = offer(audio("recvonly"), video("recvonly"))

    first, second = parse(answer(text, {"video": vp(8)}).sdp).media

    assert (first.kind, first.direction, first.port) == ("audio", "inactive", 7777)
    assert first.candidates == LOCAL.candidates
    assert second.direction == "sendonly"


def test_a_lacking_kind_without_known_codec_repeats_what_was_offered() -> None:
    lines = "a=rtpmap:96 H263/90000\na=fmtp:96 x=1"
    text = offer(audio("recvonly"), video("recvonly", lines))

    inactive = parse(answer(text, {"audio": opus()}).sdp).media[1]

    assert inactive.formats == ("96",)
    assert inactive.first("rtpmap") == "96 H263/90000"
    assert inactive.first("fmtp") == "96 x=1"


def test_an_inactive_section_always_has_a_format() -> None:
    text = offer(audio("recvonly"), video("recvonly", "", formats=""))

    assert parse(answer(text, None).sdp).media[1].formats == ("0",)


def test_a_viewer_may_want_only_one_kind() -> None:
    answered = answer(read("eyevinn-player-audio-only"), HIGH)

    assert [m.kind for m in answered.media] == ["audio"]


def test_a_section_that_the_viewer_left_inactive_stays_so() -> None:
    text = offer(audio("inactive"), video("recvonly"))

    answered = answer(text, {"video": vp(8), "audio": opus()})

    assert [m.kind for m in answered.media] == ["video"]
    assert parse(answered.sdp).media[0].direction == "inactive"


def test_a_lone_section_without_direction_is_played() -> None:
    text = offer(video("x-nothing"), session="")

    answered = answer(text, {"video": vp(8)})

    assert parse(answered.sdp).media[0].direction == "sendonly"


def test_data_channels_are_rejected_for_now() -> None:
    data = f"m=application 9 UDP/DTLS/SCTP webrtc-datachannel\n{TRANSPORT}\na=mid:2"
    text = offer(video("recvonly"), data, session="a=group:BUNDLE 1 2")

    description = parse(answer(text, None).sdp)

    assert description.media[1].port == 0
    assert description.first("group") == "BUNDLE 1"


@pytest.mark.parametrize(
    ("sections", "reason"),
    [
        ([video("sendonly")], "sendonly"),
        ([video("inactive")], "all sections are inactive"),
        ([video("recvonly", mid="0"), video("recvonly", mid="1")], "more than one"),
    ],
)
def test_who_does_not_receive_one_of_each_cannot_view(
    sections: list[str], reason: str
) -> None:
    with pytest.raises(UnusableOffer, match=reason):
        answer(offer(*sections), None)


def test_a_viewer_of_what_the_stream_lacks_is_told_both_sides() -> None:
    text = offer(audio("recvonly"))

    with pytest.raises(UnusableOffer) as caught:
        answer(text, {"video": h264("640028")})
    assert str(caught.value) == (
        "the stream is H264 High 4.0; the viewer asks only for audio"
    )
    with pytest.raises(UnusableOffer, match="the stream is empty"):
        answer(text, {})


def test_a_viewer_that_cannot_decode_is_told_both_sides() -> None:
    lines = "a=rtpmap:96 VP8/90000\na=rtpmap:97 VP9/90000"
    text = offer(audio("recvonly"), video("recvonly", lines, formats="96 97"))

    with pytest.raises(UnsupportedCodec) as caught:
        answer(text, HIGH)

    assert str(caught.value) == (
        "the stream is H264 High 4.0 and opus; the viewer can play VP8, VP9"
    )


def test_a_viewer_of_single_units_is_told_why_it_cannot_watch() -> None:
    lines = "a=rtpmap:96 H264/90000\na=fmtp:96 profile-level-id=42e01f"
    text = offer(audio("recvonly"), video("recvonly", lines, formats="96"))

    with pytest.raises(UnsupportedCodec) as caught:
        answer(text, {"video": h264("42e01f")})

    assert str(caught.value) == (
        "the stream is H264 Constrained Baseline 3.1; the viewer can play H264 Constrained "
        "Baseline 3.1, but only by packetization-mode=0, and the stream's packets are those "
        "of packetization-mode=1: offer that"
    )
    with pytest.raises(UnsupportedCodec) as caught:
        answer(text, {"video": h264("6e0028")})
    assert "packetization" not in str(caught.value)
    answer(text, {"video": h264("42e01f", mode="0")})


def test_a_viewer_of_another_profile_is_told_which() -> None:
    with pytest.raises(UnsupportedCodec) as caught:
        answer(read("firefox-play"), {**HIGH, "video": h264("6e0028")})

    assert str(caught.value) == (
        "the stream is H264 High 10 4.0 and opus; the viewer can play VP8, "
        "H264 Constrained Baseline 3.1, H264 Baseline 3.1, VP9"
    )


@pytest.mark.parametrize(
    ("lines", "names"), [("a=rtpmap:96 H263/90000", "H263"), ("", "nothing")]
)
def test_a_viewer_with_unknown_codecs_only_is_told_both_sides(
    lines: str, names: str
) -> None:
    text = offer(video("recvonly", lines))

    with pytest.raises(UnsupportedCodec) as caught:
        answer(text, None)
    assert str(caught.value) == (
        f"the viewer can play {names}; this server forwards H264, H265, VP8, VP9, AV1"
    )
    with pytest.raises(UnsupportedCodec, match=f"can play {names}$"):
        answer(text, HIGH)


def test_gstreamer_names_no_profile_and_plays_all() -> None:
    media = answer(read("gstreamer-whepclientsrc"), HIGH).media

    assert media[1].codecs[0][1] == 102


def test_safari_is_given_the_high_profile_it_offers() -> None:
    media = answer(read("safari-play"), HIGH).media

    assert media[1].codecs[0][1:] == (96, 97)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("no SDP", InvalidOffer),
        (offer(video("sendonly")), UnusableOffer),
        (offer(video("recvonly", "a=rtpmap:96 H263/90000")), UnsupportedCodec),
    ],
)
def test_an_offer_is_refused_that_fits_no_stream(
    text: str, error: type[Invalid]
) -> None:
    with pytest.raises(error):
        check_viewer(text)


def test_an_offer_is_fine_that_fits_some_stream() -> None:
    check_viewer(read(CHROMIUM))
