from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from live777py.errors import InvalidOffer
from live777py.protocol.codecs import Codec, Kind
from live777py.protocol.extensions import FORWARDED, Extension
from live777py.protocol.sdp import Attribute, MediaSection, parse
from live777py.rtc import codecs
from live777py.rtc.codecs import (
    OfferedCodec,
    OfferedExtension,
    codec_attributes,
    extension_attributes,
    offered_codecs,
    offered_extensions,
    offered_names,
)
from tests.rtc.offers import read

LEVEL = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
MID = "urn:ietf:params:rtp-hdrext:sdes:mid"
ROTATION = "urn:3gpp:video-orientation"


def section(formats: str, *lines: str, kind: Kind = "video") -> MediaSection:
    text = f"v=0\nm={kind} 9 UDP/TLS/RTP/SAVPF {formats}\n" + "\n".join(lines)
    return parse(text).media[0]


def offered(media: MediaSection, kind: Kind = "video") -> tuple[OfferedCodec, ...]:
    return offered_codecs(media, kind)


def test_a_codec_has_its_parameters_feedback_and_retransmissions() -> None:
    media = section(
        "97 96 98",
        "a=rtpmap:96 h264/90000",
        "a=fmtp:96 Packetization-Mode=1; profile-level-id=42e01f;;x",
        "a=rtcp-fb:96 nack",
        "a=rtcp-fb:96 nack  pli",
        "a=rtcp-fb:* ccm fir",
        "a=rtcp-fb:97 goog-remb",
        "a=rtpmap:97 VP8/90000",
        "a=rtpmap:98 rtx/90000",
        "a=fmtp:98 apt=96;rtx-time=3000",
    )

    vp8, h264 = offered(media)

    assert vp8.codec == Codec("video", "VP8", 90000)
    assert vp8.rtx_payload_type is None
    assert vp8.feedback == {"ccm fir", "goog-remb"}
    assert h264 == OfferedCodec(
        codec=Codec(
            "video",
            "H264",
            90000,
            parameters=(
                ("packetization-mode", "1"),
                ("profile-level-id", "42e01f"),
                ("x", ""),
            ),
        ),
        payload_type=96,
        rtx_payload_type=98,
        feedback=frozenset({"nack", "nack pli", "ccm fir"}),
    )


def test_what_is_not_media_of_its_own_is_dropped() -> None:
    audio, video = parse(read("chromium-156-whip-initial")).media

    assert [o.codec.name for o in offered(audio, "audio")] == [
        "opus",
        "G722",
        "PCMU",
        "PCMA",
    ]
    assert {o.codec.name for o in offered(video)} == {"VP8", "VP9", "H264", "AV1"}


def test_static_payload_types_need_no_rtpmap() -> None:
    names = [o.codec.name for o in offered(section("0 8 9 13", kind="audio"), "audio")]

    assert names == ["PCMU", "PCMA", "G722"]


def test_the_channels_of_audio_are_read_and_those_of_video_are_not() -> None:
    audio = section("100", "a=rtpmap:100 multiopus/48000/6", kind="audio")
    video = section("100", "a=rtpmap:100 VP8/90000/2")

    assert offered(audio, "audio")[0].codec.channels == 6
    assert offered(video)[0].codec.channels == 1


def test_a_codec_of_the_other_kind_is_unknown() -> None:
    assert offered(section("96", "a=rtpmap:96 opus/48000/2")) == ()


def test_malformed_lines_are_as_if_they_were_not_there() -> None:
    media = section(
        "96 97 98 99 x 200 96",
        "a=rtpmap:96 VP8/90000",
        "a=rtpmap:97 VP8",
        "a=rtpmap:98 VP8/0",
        "a=rtpmap:٩٩ VP8/90000",
        "a=rtpmap:200 VP8/90000",
        "a=rtcp-fb96 nack",
        "a=rtcp-fb:96",
    )

    (vp8,) = offered(media)

    assert vp8.payload_type == 96
    assert vp8.feedback == {""}


def fmtp(payload_type: int, count: int) -> str:
    return f"a=fmtp:{payload_type} " + ";".join(f"p{n}={n}" for n in range(count))


def test_the_parameters_of_a_payload_type_are_bounded() -> None:
    rtpmap = "a=rtpmap:96 VP8/90000"
    most = codecs.MAX_PARAMETERS
    longest = "a=fmtp:96 " + "x" * codecs.MAX_FMTP_CHARACTERS

    assert len(offered(section("96", rtpmap, fmtp(96, most)))[0].codec.parameters) == 32
    assert len(offered(section("96", rtpmap, longest))[0].codec.fmtp) == 1024
    with pytest.raises(InvalidOffer, match="type 96 has more than 32 parameters"):
        offered(section("96", rtpmap, fmtp(96, most + 1)))
    with pytest.raises(InvalidOffer, match="type 96 is longer than 1024 characters"):
        offered(section("96", rtpmap, longest, "a=fmtp:96 x"))


def test_the_parameters_of_a_section_are_bounded() -> None:
    numbers = [n for n in range(128) if n not in range(64, 96)]

    def media(count: int) -> MediaSection:
        lines = [f"a=rtpmap:{n} VP8/90000\n{fmtp(n, 32)}" for n in numbers[:count]]
        return section(" ".join(map(str, numbers)), *lines)

    assert len(offered(media(16))) == 16
    with pytest.raises(InvalidOffer, match="more than 512 format parameters"):
        offered(media(17))


@pytest.mark.parametrize("number", ["96", "*"])
def test_the_feedback_of_a_payload_type_is_bounded(number: str) -> None:
    lines = [f"a=rtcp-fb:{number} x{n}" for n in range(codecs.MAX_FEEDBACK + 1)]

    (vp8,) = offered(section("96", "a=rtpmap:96 VP8/90000", *lines[1:]))
    assert len(vp8.feedback) == codecs.MAX_FEEDBACK
    with pytest.raises(InvalidOffer, match="more than 32 rtcp-fb lines"):
        offered(section("96", "a=rtpmap:96 VP8/90000", *lines))


class Counting(tuple[Attribute, ...]):
    """Attributes that know how often somebody went through them."""

    passes = 0

    def __iter__(self) -> Iterator[Attribute]:
        self.passes += 1
        return super().__iter__()


def test_the_lines_are_read_as_often_for_many_payload_types_as_for_one() -> None:
    def passes(numbers: range) -> int:
        media = section(
            " ".join(map(str, numbers)),
            *(f"a=rtpmap:{n} VP8/90000\na=rtcp-fb:{n} nack" for n in numbers),
        )
        attributes = Counting(media.attributes)
        assert len(offered(replace(media, attributes=attributes))) == len(numbers)
        return attributes.passes

    assert passes(range(96, 128)) == passes(range(96, 97)) == 3


def test_payload_types_that_look_like_rtcp_are_not_used() -> None:
    media = section("72 96", "a=rtpmap:72 VP8/90000", "a=rtpmap:96 VP8/90000")

    assert [o.payload_type for o in offered(media)] == [96]


def test_the_names_of_all_payload_types_are_told_once() -> None:
    media = section("96 97", "a=rtpmap:96 H263/90000", "a=rtpmap:97 H263/90000")

    assert offered_names(media) == "H263"


def test_a_codec_is_written_with_its_feedback_and_rtx() -> None:
    codec = Codec("audio", "opus", 48000, 2, (("stereo", "1"),))

    assert codec_attributes(codec, 111, 112, ["nack"]) == [
        ("rtpmap", "111 opus/48000/2"),
        ("rtcp-fb", "111 nack"),
        ("fmtp", "111 stereo=1"),
        ("rtpmap", "112 rtx/48000"),
        ("fmtp", "112 apt=111"),
    ]
    assert codec_attributes(Codec("audio", "PCMU", 8000), 0, None, ()) == [
        ("rtpmap", "0 PCMU/8000")
    ]


def test_wanted_extensions_are_found_by_name() -> None:
    media = section(
        "96",
        f"a=extmap:1/recvonly {LEVEL}",
        f"a=extmap:2 {MID}",
        f"a=extmap:3 {ROTATION} with attributes",
        "a=extmap:4 urn:unknown",
        "a=extmap:nonsense",
    )

    found = offered_extensions((media,), FORWARDED, "sendonly")

    assert found == (
        OfferedExtension(Extension.AUDIO_LEVEL, 1, "recvonly"),
        OfferedExtension(Extension.VIDEO_ORIENTATION, 3, "sendrecv"),
    )
    assert extension_attributes(found) == [
        ("extmap", f"1/sendonly {LEVEL}"),
        ("extmap", f"3 {ROTATION}"),
    ]


def test_extensions_of_no_use_in_their_direction_are_left_out() -> None:
    media = section(
        "96", f"a=extmap:1/recvonly {LEVEL}", f"a=extmap:2/inactive {ROTATION}"
    )

    assert offered_extensions((media,), FORWARDED, "recvonly") == ()


def test_of_double_extensions_and_ids_the_first_counts() -> None:
    media = section(
        "96",
        f"a=extmap:1 {LEVEL}",
        f"a=extmap:1 {ROTATION}",
        f"a=extmap:2 {LEVEL}",
        f"a=extmap:15 {ROTATION}",
        f"a=extmap:0 {ROTATION}",
    )

    found = offered_extensions((media, media), FORWARDED, "recvonly")

    assert found == (OfferedExtension(Extension.AUDIO_LEVEL, 1, "sendrecv"),)
