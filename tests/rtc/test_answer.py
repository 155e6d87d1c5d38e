from __future__ import annotations

from dataclasses import replace

from live777py.protocol.sdp import SessionDescription, parse
from live777py.rtc.answer import AnsweredSection, LocalParameters, write_answer
from live777py.rtc.offer import read_offer
from tests.rtc.offers import LOCAL, TRANSPORT, audio, offer, video

VP8 = AnsweredSection("recvonly", ("96",), after=[("rtpmap", "96 VP8/90000")])


def answer(text: str, *mids: str, local: LocalParameters = LOCAL) -> SessionDescription:
    return parse(write_answer(read_offer(text), local, dict.fromkeys(mids, VP8)))


def test_the_session_says_lite_and_repeats_the_bundle() -> None:
    description = answer(offer(audio(), video()), "0", "1")

    assert description.first("group") == "BUNDLE 0 1"
    assert description.has("ice-lite")
    assert description.first("ice-options") == "ice2"
    assert not description.has("extmap-allow-mixed")


def test_only_the_first_bundled_section_has_the_candidates() -> None:
    text = offer(audio(), video(), session="a=group:BUNDLE 1 0")

    first, second = answer(text, "0", "1").media

    assert not first.has("candidate")
    assert not first.has("end-of-candidates")
    assert second.candidates == LOCAL.candidates
    assert second.has("end-of-candidates")


def test_every_accepted_section_names_the_first_candidate_and_the_transport() -> None:
    for media in answer(offer(audio(), video()), "0", "1").media:
        assert media.port == 7777
        assert media.connection == "IN IP4 198.51.100.7"
        assert media.first("ice-ufrag") == LOCAL.ufrag
        assert media.first("ice-pwd") == LOCAL.pwd
        assert media.first("fingerprint") == LOCAL.fingerprint
        assert media.first("setup") == "passive"
        assert media.has("rtcp-mux")
        assert media.has("rtcp-mux-only")
        assert not media.has("rtcp-rsize")


def test_an_ipv6_candidate_may_be_the_first() -> None:
    local = replace(LOCAL, candidates=LOCAL.candidates[::-1])

    (media,) = answer(offer(audio()), "0", local=local).media

    assert media.connection == "IN IP6 2001:db8::7"


def test_without_candidates_the_port_is_a_placeholder() -> None:
    local = replace(LOCAL, candidates=())

    (media,) = answer(offer(audio()), "0", local=local).media

    assert (media.port, media.connection) == (9, "IN IP4 0.0.0.0")
    assert not media.has("end-of-candidates")


def test_who_offers_passive_is_answered_active() -> None:
    text = offer(audio()).replace("actpass", "passive")

    assert answer(text, "0").media[0].first("setup") == "active"


def test_what_is_offered_for_rtcp_and_extensions_is_echoed() -> None:
    extra = "a=rtcp-rsize\na=extmap-allow-mixed"

    description = answer(offer(audio(extra=extra), session="a=extmap-allow-mixed"), "0")

    assert description.has("extmap-allow-mixed")
    assert description.media[0].has("rtcp-rsize")
    assert description.media[0].has("extmap-allow-mixed")


def test_rejected_sections_keep_their_place_and_leave_the_bundle() -> None:
    data = f"m=application 9 UDP/DTLS/SCTP webrtc-datachannel\n{TRANSPORT}\na=mid:data"
    text = offer(data, audio(), session="a=group:BUNDLE data 0")

    description = answer(text, "0")

    rejected, accepted = description.media
    assert description.first("group") == "BUNDLE 0"
    assert (rejected.kind, rejected.port) == ("application", 0)
    assert rejected.formats == ("webrtc-datachannel",)
    assert rejected.mid == "data"
    assert rejected.has("inactive")
    assert not rejected.has("ice-ufrag")
    assert accepted.has("candidate")


def test_a_rejected_section_always_has_a_format_and_no_mid_that_was_not_offered() -> (
    None
):
    text = offer("m=text 9 RTP/AVP", audio(), session="")

    rejected = answer(text, "0").media[0]

    assert rejected.formats == ("0",)
    assert rejected.mid is None


def test_a_section_without_mid_is_answered_without() -> None:
    text = offer(audio().replace("a=mid:0\n", ""), session="")

    description = answer(text, read_offer(text).sections[0].mid)

    assert description.media[0].mid is None
    assert description.media[0].has("candidate")
    assert description.first("group") is None


def test_the_answer_ends_its_lines_with_crlf_and_begins_with_the_version() -> None:
    text = write_answer(read_offer(offer(audio())), LOCAL, {"0": VP8})

    assert text.startswith("v=0\r\no=- ")
    assert text.endswith("\r\n")
    assert text.count("\n") == text.count("\r\n")


def test_the_session_id_differs_with_the_session() -> None:
    other = replace(LOCAL, ufrag="another")

    assert (
        answer(offer(audio()), "0").origin
        != answer(offer(audio()), "0", local=other).origin
    )
    assert int(answer(offer(audio()), "0").origin.split()[1]) < 2**63


def test_the_password_is_not_shown() -> None:
    assert LOCAL.pwd not in repr(LOCAL)
