from __future__ import annotations

import pytest

from live777py.conformance import offers
from live777py.conformance.checks.counter_offer import answer_to
from live777py.conformance.model import NotApplicable
from live777py.protocol import sdp


def test_a_player_takes_every_section() -> None:
    offer = sdp.parse(offers.write("whip"))
    answer = sdp.parse(answer_to(str(offer)))
    assert answer.first("group") == "BUNDLE 0 1"
    assert [s.mid for s in answer.media] == ["0", "1"]
    for ours, theirs in zip(answer.media, offer.media, strict=True):
        assert ours.direction == "recvonly"
        assert ours.first("setup") == "active"
        assert ours.formats == theirs.formats
        assert list(ours.all("rtpmap")) == list(theirs.all("rtpmap"))
        assert ours.first("ice-ufrag") != theirs.first("ice-ufrag")
        assert (ours.first("fingerprint") or "").startswith("sha-256 ")


def test_what_cannot_be_read_cannot_be_answered() -> None:
    with pytest.raises(NotApplicable, match="cannot be read"):
        answer_to("v=1")
