from __future__ import annotations

import pytest

from live777py.errors import InvalidOffer, UnusableOffer
from live777py.rtc.offer import read_offer
from tests.rtc.offers import FINGERPRINT, TRANSPORT, audio, offer, read, video

DIGEST = FINGERPRINT.partition(" ")[2]


def test_the_remote_parameters_come_from_the_tagged_section() -> None:
    text = offer(
        audio().replace("a=ice-ufrag:client", "a=ice-ufrag:other"),
        video(),
        session="a=group:BUNDLE 1 0",
    )

    remote = read_offer(text).remote

    assert remote.ufrag == "client"
    assert remote.pwd == "a+password+of+the+client"
    assert remote.fingerprints == (("sha-256", DIGEST),)
    assert "password" not in repr(remote)


def test_bundle_only_sections_need_no_port_and_no_ice_attributes() -> None:
    checked = read_offer(read("rfc9725-bundle-only"))

    assert [kind for kind, _ in checked.acceptable] == ["audio", "video"]
    assert checked.bundle == ("0", "1")
    assert checked.remote.ufrag


def test_the_transport_of_a_bundle_may_be_that_of_its_data_channel() -> None:
    data = f"m=application 9 UDP/DTLS/SCTP webrtc-datachannel\n{TRANSPORT}\na=mid:2"
    bare = video().replace(TRANSPORT, "").replace("video 9", "video 0")

    checked = read_offer(
        offer(data, f"{bare}\na=bundle-only", session="a=group:BUNDLE 2 1")
    )

    assert checked.remote.ufrag == "client"


def test_the_transport_may_be_described_at_session_level() -> None:
    bare = audio().replace(TRANSPORT, "")

    checked = read_offer(offer(bare, session=TRANSPORT))

    assert checked.remote.ufrag == "client"
    assert checked.remote.dtls_role == "server"


@pytest.mark.parametrize(
    ("group", "bundle"),
    [
        ("a=group:BUNDLE 0 1", ("1",)),
        ("a=group:BUNDLE 1 1", ("1",)),
        ("a=group:LS 0 1\na=group:BUNDLE 1", ("1",)),
        ("a=group:LS 1", ()),
        ("a=group:", ()),
        ("", ()),
    ],
)
def test_a_bundle_consists_of_the_tags_that_exist(
    group: str, bundle: tuple[str, ...]
) -> None:
    assert read_offer(offer(video(), session=group)).bundle == bundle


@pytest.mark.parametrize("group", ["", "a=group:BUNDLE 0", "a=group:LS 0 1"])
def test_two_sections_outside_one_bundle_are_unusable(group: str) -> None:
    with pytest.raises(UnusableOffer, match="BUNDLE"):
        read_offer(offer(audio(), video(), session=group))


def test_sections_without_mid_are_tolerated_alone() -> None:
    checked = read_offer(offer(video().replace("a=mid:1\n", ""), session=""))

    assert checked.bundle == ()
    assert not checked.sections[0].has_mid


def test_sections_without_mid_are_those_that_the_bundle_names() -> None:
    text = offer(audio(), video())

    checked = read_offer(text.replace("a=mid:0\r\n", "").replace("a=mid:1\r\n", ""))

    assert checked.bundle == ("0", "1")
    assert [s.mid for s in checked.sections] == ["0", "1"]


def test_a_section_without_direction_has_that_of_the_session_or_both() -> None:
    bare = video().replace("a=sendonly\n", "")

    assert read_offer(offer(bare)).sections[0].direction == "sendrecv"
    assert (
        read_offer(offer(bare, session="a=recvonly")).sections[0].direction
        == "recvonly"
    )


@pytest.mark.parametrize(
    ("setup", "role"),
    [
        ("a=setup:actpass", "server"),
        ("a=setup:active", "server"),
        ("a=setup:passive", "client"),
        ("a=x-nothing", "server"),
    ],
)
def test_our_dtls_role_is_the_other_one(setup: str, role: str) -> None:
    text = offer(audio(), video()).replace("a=setup:actpass", setup)

    assert read_offer(text).remote.dtls_role == role


def test_reduced_size_rtcp_needs_all_sections() -> None:
    rsize = "a=rtcp-rsize"

    assert not read_offer(offer(audio(extra=rsize), video())).remote.rtcp_rsize
    both = offer(audio(extra=rsize), video(extra=rsize))
    assert read_offer(both).remote.rtcp_rsize


def test_fingerprints_of_unknown_hashes_are_passed_over() -> None:
    text = offer(audio()).replace(
        "a=fingerprint", "a=fingerprint:sha-1 AA:BB\r\na=fingerprint"
    )

    assert read_offer(text).remote.fingerprints == (("sha-256", DIGEST),)


def test_fingerprints_may_be_written_in_any_case() -> None:
    text = offer(audio()).replace(DIGEST, DIGEST.lower()).replace("sha-256", "SHA-256")

    assert read_offer(text).remote.fingerprints == (("sha-256", DIGEST),)


@pytest.mark.parametrize("port", ["9", "0"])
def test_data_channels_cannot_be_accepted(port: str) -> None:
    data = f"m=application {port} UDP/DTLS/SCTP webrtc-datachannel\na=mid:2"

    checked = read_offer(offer(audio(), data, session="a=group:BUNDLE 0 2"))

    assert [s.kind for s in checked.sections] == ["audio", None]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("a=ice-ufrag:client\r\n", ""), "no ice-ufrag"),
        (("a=ice-ufrag:client", "a=ice-ufrag:a:b"), "ice-ufrag is not"),
        (("a=ice-ufrag:client", "a=ice-ufrag:abc"), "ice-ufrag is not"),
        (("a=ice-pwd:a+password+of+the+client", "a=ice-pwd:short"), "ice-pwd is not"),
        ((f"{FINGERPRINT}\r\n", ""), "no fingerprint"),
        ((DIGEST, DIGEST[:-3]), "fingerprint is malformed"),
        ((DIGEST, DIGEST[:-1] + "g"), "fingerprint is malformed"),
        (("a=setup:actpass", "a=setup:maybe"), "setup is 'maybe'"),
        (("a=mid:0", "a=mid:1"), "the same mid"),
        (("a=mid:0", "a=mid:a b"), "a mid of the offer"),
        (("a=mid:0", "a=mid:"), "a mid of the offer"),
    ],
)
def test_offers_that_lack_what_webrtc_needs_are_invalid(
    change: tuple[str, str], reason: str
) -> None:
    text = offer(audio(), video()).replace(*change)

    with pytest.raises(InvalidOffer, match=reason) as caught:
        read_offer(text)
    assert not isinstance(caught.value, UnusableOffer)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("a=setup:actpass", "a=setup:holdconn"), "holdconn"),
        (("a=group", "a=ice-lite\r\na=group"), "ICE-lite"),
        (("a=rtcp-mux\r\n", ""), "rtcp-mux"),
        (("UDP/TLS/RTP/SAVPF", "RTP/AVP"), "RTP/AVP"),
        ((FINGERPRINT, "a=fingerprint:sha-1 AA"), "sha-1: use sha-256"),
        (("audio 9", "audio 0"), "no audio or video"),
    ],
)
def test_offers_that_nobody_could_serve_are_unusable(
    change: tuple[str, str], reason: str
) -> None:
    text = offer(audio()).replace(*change)

    with pytest.raises(UnusableOffer, match=reason):
        read_offer(text)


@pytest.mark.parametrize(
    ("session", "extra", "reason"),
    [
        ("a=group:BUNDLE 0" + " x" * 64, "", "name more than 64 sections"),
        ("a=group:BUNDLE 0\n" * 65, "", "name more than 64 sections"),
        ("a=group:BUNDLE 0", f"{FINGERPRINT}\n" * 16, "more than 16 fingerprints"),
        ("a=group:BUNDLE 0", "a=rid:1 send\n" * 17, "more than 16 rids"),
        ("a=group:BUNDLE 0", f"a=rid:{'1' * 256} send", "more than 255 characters"),
    ],
)
def test_what_a_session_would_keep_is_bounded(
    session: str, extra: str, reason: str
) -> None:
    with pytest.raises(InvalidOffer, match=reason):
        read_offer(offer(audio(extra=extra), session=session))


def test_the_rids_of_rejected_sections_are_not_looked_at() -> None:
    rejected = video(extra="a=rid:1 send\n" * 17).replace("m=video 9", "m=video 0")

    checked = read_offer(offer(audio(), rejected))

    assert [s.kind for s in checked.sections] == ["audio", None]


def test_an_offer_without_any_section_is_invalid() -> None:
    with pytest.raises(InvalidOffer, match="no media section"):
        read_offer("v=0\r\n")
