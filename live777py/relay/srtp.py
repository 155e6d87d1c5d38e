"""The libsrtp sessions that media uses. RTCP's belong to `rtc/`: a session serves one thread."""

from __future__ import annotations

from typing import NamedTuple

from pylibsrtp import Error, Policy, Session
from pylibsrtp._binding import ffi

from .seam import SrtpKeys

__all__ = ["Error", "Sessions", "create"]

#: The replay window for what is received: how far back a sequence may jump.
RECEIVED = 8192
#: What libsrtp's replay window may be: it counts in a signed 16-bit number.
MIN_WINDOW = 64
MAX_WINDOW = 16_384


class Sessions(NamedTuple):
    """A peer's pair of sessions; libsrtp frees them when the last reference goes."""

    receive: Session
    send: Session

    @property
    def pointers(self) -> tuple[int, int]:
        """The addresses of both, for compiled code."""
        return _pointer(self.receive), _pointer(self.send)


def _pointer(session: Session) -> int:
    return int(ffi.cast("uintptr_t", session._srtp[0]))


def _session(key: bytes, direction: int, profile: int, window: int) -> Session:
    policy = Policy(key=key, ssrc_type=direction, srtp_profile=profile)
    # A plain retransmission is the same packet again, byte for byte.
    policy.allow_repeat_tx = True
    policy.window_size = window
    return Session(policy)


def create(keys: SrtpKeys, history: int) -> Sessions:
    """Sessions for the media of one peer.

    Args:
        keys: from the handshake.
        history: packets of which any may be retransmitted. libsrtp moves a window of so
            many bits at every packet: 8,192 of them took longer than encryption.
    """
    sent = min(max(history, MIN_WINDOW), MAX_WINDOW)
    return Sessions(
        _session(keys.receive, Policy.SSRC_ANY_INBOUND, keys.profile, RECEIVED),
        _session(keys.send, Policy.SSRC_ANY_OUTBOUND, keys.profile, sent),
    )
