from __future__ import annotations

import pytest

from live777py.protocol.codecs import Codec, Kind
from live777py.protocol.extensions import FORWARDED, Extension
from live777py.protocol.profiles import FORWARDED_CODECS, best_match, matches
from live777py.rtc.answer import LocalParameters
from live777py.rtc.codecs import offered_codecs, offered_extensions
from live777py.rtc.offer import read_offer
from live777py.rtc.outgoing_offer import OutgoingMedia, write_offer
from live777py.rtc.publisher_answer import TRANSPORT_CC
from live777py.rtc.watched import DESCRIBING, WATCHED, pulled, watched
from tests.support.offers import h264

LOCAL = LocalParameters("ufrag123", "pwd" * 8, "sha-256 " + ":".join(["AB"] * 32), ())


def offer(media: tuple[OutgoingMedia, ...]) -> str:
    return write_offer(media, LOCAL, session=77, cname="me")


def test_what_we_offer_to_watch_names_all_codecs_and_no_extension() -> None:
    text = offer(watched())
    read = read_offer(text)
    assert [section.direction for section in read.sections] == ["recvonly", "recvonly"]
    for section in read.sections:
        kind: Kind = "video" if section.media.kind == "video" else "audio"
        offered = [found.codec for found in offered_codecs(section.media, kind)]
        assert offered == list(WATCHED[kind])
        assert {codec.name for codec in offered} == set(FORWARDED_CODECS[kind])
    assert "extmap" not in text
    assert "transport" not in text
    assert "ssrc" not in text


@pytest.mark.parametrize(
    "codec",
    [
        *map(
            h264, ("42e01f", "42001f", "4d001f", "640028", "6e0028", "7a0028", "f40028")
        ),
        h264("42e01f", mode="0"),
        *(Codec("video", "VP9", 90_000, 1, (("profile-id", n),)) for n in "0123"),
        *(Codec("video", "AV1", 90_000, 1, (("profile", n),)) for n in "01"),
        *(Codec("video", "H265", 90_000, 1, (("profile-id", n),)) for n in "12"),
    ],
    ids=str,
)
def test_every_profile_can_be_watched(codec: Codec) -> None:
    assert any(matches(codec, offered) for offered in WATCHED["video"])


@pytest.mark.parametrize("profile", ["42e01f", "42001f", "4d001f", "640028"])
def test_single_units_are_known_for_what_they_are(profile: str) -> None:
    for mode in "01":
        found = best_match(h264(profile, mode=mode), WATCHED["video"])
        assert found is not None
        assert found.parameter("packetization-mode") == mode


def test_payload_types_are_those_that_everybody_takes() -> None:
    sections = read_offer(offer(watched())).sections
    formats = [int(number) for section in sections for number in section.media.formats]
    assert len(set(formats)) == len(formats)
    assert not any(64 <= number < 96 for number in formats)
    numbers = {
        name: int(number)
        for number, _, name in (
            line.partition(" ")
            for section in sections
            for line in reversed(list(section.media.all("rtpmap")))
        )
    }
    # MediaMTX wants PCMU of whoever plays a picture without sound.
    assert numbers["PCMU/8000"] == 0
    assert numbers["PCMA/8000"] == 8
    assert numbers["G722/8000"] == 9
    for name in ("opus/48000/2", "H264/90000", "VP8/90000", "H265/90000", "AV1/90000"):
        assert 96 <= numbers[name] < 128, name


def test_what_we_offer_to_pull_has_extensions_and_transport_wide_feedback() -> None:
    sections = read_offer(offer(pulled())).sections
    names: dict[str, int] = {}
    for section in sections:
        media = section.media
        kind: Kind = "video" if media.kind == "video" else "audio"
        extensions = offered_extensions((media,), set(Extension), "inactive")
        assert {found.extension for found in extensions} == {
            *DESCRIBING[kind],
            Extension.TRANSPORT_CC,
        }
        for found in extensions:
            assert names.setdefault(found.extension.name, found.id) == found.id
        assert all(
            TRANSPORT_CC in found.feedback for found in offered_codecs(media, kind)
        )
    assert len(set(names.values())) == len(names)
    assert DESCRIBING["video"] + DESCRIBING["audio"] == tuple(
        dict.fromkeys(DESCRIBING["video"] + DESCRIBING["audio"])
    )
    assert {e for kind in DESCRIBING.values() for e in kind} == FORWARDED
