"""live777's JSON, golden."""

from __future__ import annotations

from live777py.api.native.shapes import stream
from live777py.core.model import (
    PeerState,
    SessionId,
    SessionInfo,
    SideInfo,
    StreamInfo,
    StreamName,
)
from live777py.protocol.codecs import Codec


def test_a_stream_has_the_keys_of_live777() -> None:
    session = SessionInfo(SessionId("s1"), 1719326206947, PeerState.CONNECTED)
    info = StreamInfo(
        name=StreamName("push"),
        created_at=1719326206862,
        publish=SideInfo(0, (session,)),
        subscribe=SideInfo(1719326206862, ()),
        codecs=(
            Codec("video", "H264", 90_000, 1, (("profile-level-id", "640028"),)),
            Codec("audio", "opus", 48_000, 2),
        ),
    )
    assert stream(info) == {
        "id": "push",
        "createdAt": 1719326206862,
        "publish": {
            "leaveAt": 0,
            "sessions": [
                {
                    "id": "s1",
                    "createdAt": 1719326206947,
                    "leaveAt": 0,
                    "state": "connected",
                    "hasDataChannel": False,
                    "stats": {
                        "bytes": 0,
                        "packets": 0,
                        "bitrate": 0,
                        "lost": 0,
                        "roundTripTime": None,
                        "jitter": None,
                    },
                }
            ],
        },
        "subscribe": {"leaveAt": 1719326206862, "sessions": []},
        "codecs": [
            {"kind": "video", "codec": "h264", "fmtp": "profile-level-id=640028"},
            {"kind": "audio", "codec": "opus", "fmtp": ""},
        ],
        "provisioned": False,
        "onDemand": False,
        "stats": {
            "publish": {"bytes": 0, "packets": 0, "bitrate": 0},
            "subscribe": {"bytes": 0, "packets": 0, "bitrate": 0},
        },
        "statsScope": "node",
    }
