"""live777's JSON, golden."""

from __future__ import annotations

from live777py.api.native.shapes import stream
from live777py.core.model import (
    Cascade,
    PeerState,
    SessionId,
    SessionInfo,
    SideInfo,
    StreamInfo,
    StreamName,
    Traffic,
)
from live777py.protocol.codecs import Codec
from tests.support.golden import golden


def test_a_stream_has_the_keys_of_live777() -> None:
    received = Traffic(1_250_000, 1_100, 2_000_000, lost=3, jitter=0.0025)
    sent = Traffic(500_000, 440, round_trip=0.01225)
    publisher = SessionInfo(
        SessionId("08c1f2a0a60b0deeb66ee572bd369f80"),
        1719326206947,
        PeerState.CONNECTED,
        traffic=received,
    )
    viewer = SessionInfo(
        SessionId("1b2df2a0a60b0deeb66ee572bd369f81"),
        1719326207000,
        PeerState.CLOSED,
        left_at=1719326209000,
        traffic=sent,
        cascade=Cascade(
            target_url="https://other.example/whip/push",
            session_url="https://other.example/session/push/1",
        ),
    )
    info = StreamInfo(
        name=StreamName("push"),
        created_at=1719326206862,
        publish=SideInfo(0, (publisher,), received),
        subscribe=SideInfo(1719326209000, (viewer,), sent),
        codecs=(
            Codec("video", "H264", 90_000, 1, (("profile-level-id", "640028"),)),
            Codec("audio", "opus", 48_000, 2),
        ),
    )
    assert stream(info) == golden("native/stream.json")
