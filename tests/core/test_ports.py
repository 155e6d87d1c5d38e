"""The one thing in the interfaces that is no interface."""

from __future__ import annotations

from live777py.core.ports import PeerGone


def test_a_peer_that_has_gone_says_why_in_a_sentence_and_in_a_word() -> None:
    gone = PeerGone("not connected within 15 s", "not_connected")
    assert (str(gone), gone.cause) == ("not connected within 15 s", "not_connected")
    assert PeerGone("ended by its client").cause == "ended"
