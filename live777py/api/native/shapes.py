"""live777's JSON shapes, made from the domain's snapshots."""

from __future__ import annotations

from typing import Any

from live777py.core.model import (
    Cascade,
    CascadeInfo,
    SessionInfo,
    SideInfo,
    StreamInfo,
    Traffic,
)

Json = dict[str, Any]


def traffic(info: Traffic) -> Json:
    """What has passed: in bytes, packets and bit/s; times in milliseconds, null if unknown."""
    return {
        "bytes": info.bytes,
        "packets": info.packets,
        "bitrate": info.bitrate,
        "lost": info.lost,
        "roundTripTime": _milliseconds(info.round_trip),
        "jitter": _milliseconds(info.jitter),
    }


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)


def total(info: Traffic) -> Json:
    """What has passed on a side, over all its sessions."""
    return {"bytes": info.bytes, "packets": info.packets, "bitrate": info.bitrate}


def session(info: SessionInfo) -> Json:
    """One session of a stream."""
    shape: Json = {
        "id": info.id,
        "createdAt": info.created_at,
        "leaveAt": info.left_at,
        "state": info.state.value,
        "hasDataChannel": False,
        "stats": traffic(info.traffic),
    }
    if info.cascade is not None:
        shape["cascade"] = cascade(info.cascade)
    return shape


def cascade(info: Cascade) -> Json:
    """Where a session leads that this node opened itself; what does not apply is left out."""
    urls = {
        "sourceUrl": info.source_url,
        "targetUrl": info.target_url,
        "sessionUrl": info.session_url,
    }
    return {key: url for key, url in urls.items() if url}


def cascade_info(info: CascadeInfo) -> Json:
    """One cascade, with what has become of it so far."""
    return {
        "id": info.id,
        "stream": info.stream,
        **cascade(info.cascade),
        **({"sources": list(info.sources)} if info.sources else {}),
        "configured": info.is_configured,
        "onDemand": info.is_on_demand,
        "state": info.state.value,
        "createdAt": info.created_at,
        "since": info.since,
        "attempts": info.attempts,
        "lastError": info.error or None,
        "warnings": list(info.warnings),
        "session": info.session,
        "bytes": info.traffic.bytes,
    }


def side(info: SideInfo) -> Json:
    """The publishing or the subscribing side of a stream."""
    return {
        "leaveAt": info.left_at,
        "sessions": [session(item) for item in info.sessions],
    }


def stream(info: StreamInfo) -> Json:
    """One stream as `GET /api/streams/` lists it."""
    return {
        "id": info.name,
        "createdAt": info.created_at,
        "publish": side(info.publish),
        "subscribe": side(info.subscribe),
        "codecs": [
            {"kind": codec.kind, "codec": codec.name.lower(), "fmtp": codec.fmtp}
            for codec in info.codecs
        ],
        "provisioned": info.is_provisioned,
        "onDemand": info.is_on_demand,
        "stats": {
            "publish": total(info.publish.traffic),
            "subscribe": total(info.subscribe.traffic),
        },
        "statsScope": "node",
    }
