"""live777's JSON, golden."""

from __future__ import annotations

from live777py.api.native.shapes import cascade_info, stream
from live777py.core.model import (
    Cascade,
    CascadeId,
    CascadeInfo,
    CascadeState,
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


def test_a_cascade_shows_where_it_leads_and_what_became_of_it() -> None:
    urls = ("https://a.example/whep/cam", "https://b.example/whep/cam")
    info = CascadeInfo(
        id=CascadeId("5b1f2a0a60b0deeb66ee572bd369f80c"),
        stream=StreamName("cam"),
        cascade=Cascade(urls[1], "", "https://b.example/session/cam/1"),
        state=CascadeState.CONNECTED,
        created_at=1719326203854,
        since=1719326205079,
        attempts=0,
        error="https://a.example/whep/cam answered 404",
        session=SessionId("08c1f2a0a60b0deeb66ee572bd369f80"),
        warnings=(
            f"{urls[1]} sends no audio: its section is X, which we did not offer",
        ),
        sources=urls,
        is_configured=True,
        is_on_demand=True,
        traffic=Traffic(bytes=48211034),
    )
    assert cascade_info(info) == golden("native/cascade.json")
