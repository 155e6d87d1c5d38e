from __future__ import annotations

import pytest

from live777py.conformance import offers
from live777py.conformance.model import Side
from live777py.protocol import sdp


@pytest.mark.parametrize(("side", "direction"), offers.DIRECTIONS.items())
def test_an_offer_is_in_the_form_of_a_browsers(side: Side, direction: str) -> None:
    text = offers.write(side)
    read = sdp.parse(text)
    assert text.startswith("v=0\r\n")
    assert text.endswith("\r\n")
    assert read.first("group") == "BUNDLE 0 1"
    assert [section.kind for section in read.media] == ["audio", "video"]
    for section in read.media:
        assert section.direction == direction
        assert section.has("rtcp-mux-only")
        assert section.has("msid") is (side == "whip")
        assert set(section.formats) == {
            value.split(" ")[0] for value in section.all("rtpmap")
        }


def test_no_two_offers_share_credentials() -> None:
    one, other = (sdp.parse(offers.write("whip")).media[0] for _ in range(2))
    for name in ("ice-ufrag", "ice-pwd", "fingerprint"):
        assert one.first(name) != other.first(name)


def test_what_may_be_changed() -> None:
    read = sdp.parse(
        offers.write("whip", direction="inactive", setup="active", simulcast=True)
    )
    assert {section.direction for section in read.media} == {"inactive"}
    assert read.media[0].first("setup") == "active"
    assert read.media[1].first("simulcast") == "send h;m;l"
    above = sdp.parse(offers.write("whip", certificate_above=True))
    assert above.has("fingerprint")
    assert not above.media[0].has("fingerprint")
    assert "a=fingerprint" not in offers.write("whip", certificate="")
    unknown = sdp.parse(offers.write("whip", unknown=("video",)))
    assert unknown.media[1].formats == ("100",)
    bundled = sdp.parse(offers.write("whep", bundle_only=True)).media[1]
    assert bundled.port == 0
    assert bundled.has("bundle-only")
    assert not bundled.has("ice-ufrag")
    assert not bundled.has("fingerprint")
