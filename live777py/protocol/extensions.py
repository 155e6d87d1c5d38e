"""The RTP header extensions that this server knows, by URI (RFC 8285)."""

from __future__ import annotations

import enum


class Extension(enum.IntEnum):
    """Known header extensions; the value is the id that the relay uses for it inside.

    The first five describe the media and are copied from publisher to viewer, each under the
    id that the viewer negotiated. The others belong to one hop and are never copied.
    """

    AUDIO_LEVEL = 1
    VIDEO_ORIENTATION = 2
    PLAYOUT_DELAY = 3
    COLOR_SPACE = 4
    DEPENDENCY_DESCRIPTOR = 5
    MID = 8
    RID = 9
    REPAIRED_RID = 10
    TRANSPORT_CC = 11
    ABS_SEND_TIME = 12


#: Extensions that travel from a publisher to its viewers.
FORWARDED = frozenset(e for e in Extension if e <= Extension.DEPENDENCY_DESCRIPTOR)

URIS: dict[str, Extension] = {
    "urn:ietf:params:rtp-hdrext:ssrc-audio-level": Extension.AUDIO_LEVEL,
    "urn:3gpp:video-orientation": Extension.VIDEO_ORIENTATION,
    "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay": Extension.PLAYOUT_DELAY,
    "http://www.webrtc.org/experiments/rtp-hdrext/color-space": Extension.COLOR_SPACE,
    "https://aomediacodec.github.io/av1-rtp-spec/"
    "#dependency-descriptor-rtp-header-extension": Extension.DEPENDENCY_DESCRIPTOR,
    "urn:ietf:params:rtp-hdrext:sdes:mid": Extension.MID,
    "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id": Extension.RID,
    "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id": Extension.REPAIRED_RID,
    "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01": (
        Extension.TRANSPORT_CC
    ),
    "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time": Extension.ABS_SEND_TIME,
}
