from __future__ import annotations

from live777py.conformance import fragments, offers


def test_a_fragment_has_the_form_of_rfc_8840() -> None:
    assert fragments.write("uf", "pw", ended=True) == (
        "a=ice-options:trickle\r\na=group:BUNDLE 0\r\n"
        "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n"
        "a=ice-ufrag:uf\r\na=ice-pwd:pw\r\n"
        f"a={fragments.HOST}\r\na=end-of-candidates\r\n"
    )


def test_credentials_may_stand_above() -> None:
    text = fragments.write("uf", "pw", (), above=True, also="m=video 9 x 1\na=mid:1")
    assert text.index("ice-ufrag") < text.index("m=audio") < text.index("m=video")


def test_the_credentials_of_an_offer_are_found() -> None:
    ufrag, pwd = fragments.credentials_of(offers.write("whip"))
    assert (len(ufrag), len(pwd)) == (8, 24)
    assert fragments.credentials_of("v=0\r\n") == ("", "")


def test_the_options_of_an_offer_stay() -> None:
    options = fragments.options_of("v=0\r\na=ice-options:trickle ice2\r\n")
    text = fragments.write("uf", "pw", options=options)
    assert text.startswith("a=ice-options:trickle ice2\r\n")
    assert fragments.options_of("v=0\r\n") == "trickle"


def test_what_a_server_says_is_read() -> None:
    found = fragments.read(
        "a=ice-lite\r\na=ice-options:trickle ice2\r\na=ice-pacing:50\r\n"
        "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=ice-ufrag:uf\r\na=ice-pwd:pw\r\n"
        "a=candidate:1 1 udp 2130706431 192.0.2.1 7777 typ host\r\n"
        "a=candidate:broken\r\n"
    )
    assert (found.ufrag, found.pwd, found.pacing) == ("uf", "pw", "50")
    assert found.options == {"trickle", "ice2"}
    assert found.is_lite
    assert [candidate.port for candidate in found.candidates] == [7777]


def test_nothing_said_is_nothing_read() -> None:
    found = fragments.read("")
    assert found.ufrag is None
    assert found.candidates == ()
    assert not found.is_lite
