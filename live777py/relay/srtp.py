"""The libsrtp sessions that media uses. RTCP's belong to `rtc/`: a session serves one thread."""

from __future__ import annotations

from typing import NamedTuple

from pylibsrtp import Error, Policy, Session
from pylibsrtp._binding import ffi

from .seam import SrtpKeys

__all__ = ["WINDOW", "Error", "Sessions", "create"]

#: The replay window, which covers any history that a retransmission may come from.
WINDOW = 8192


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


def _session(key: bytes, direction: int, profile: int) -> Session:
    policy = Policy(key=key, ssrc_type=direction, srtp_profile=profile)
    # A plain retransmission is the same packet again, byte for byte.
    policy.allow_repeat_tx = True
    policy.window_size = WINDOW
    return Session(policy)


def create(keys: SrtpKeys) -> Sessions:
    """Sessions for the media of one peer."""
    return Sessions(
        _session(keys.receive, Policy.SSRC_ANY_INBOUND, keys.profile),
        _session(keys.send, Policy.SSRC_ANY_OUTBOUND, keys.profile),
    )
