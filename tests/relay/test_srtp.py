from __future__ import annotations

import os

from live777py.relay import srtp
from live777py.relay.seam import SrtpKeys

from .support import GCM, rtp


def test_both_ends_of_a_pair_understand_each_other() -> None:
    one, other = os.urandom(28), os.urandom(28)
    ours = srtp.create(SrtpKeys(GCM, receive=one, send=other), 1024)
    theirs = srtp.create(SrtpKeys(GCM, receive=other, send=one), 1024)
    assert ours.receive.unprotect(theirs.send.protect(rtp(1))) == rtp(1)
    assert theirs.receive.unprotect(ours.send.protect(rtp(2))) == rtp(2)
    assert all(ours.pointers)
    assert len(set(ours.pointers + theirs.pointers)) == 4


def test_the_window_covers_the_history_and_packets_may_be_sent_again() -> None:
    key = os.urandom(28)
    ours = srtp.create(SrtpKeys(GCM, receive=key, send=key), 1024)
    packets = [ours.send.protect(rtp(n)) for n in range(1000)]
    assert ours.send.protect(rtp(0)) == packets[0]
    ours.receive.unprotect(packets[-1])
    assert ours.receive.unprotect(packets[0]) == rtp(0)
