"""live777's JSON shapes, made from the domain's snapshots."""

from __future__ import annotations

from typing import Any

from live777py.core.model import SessionInfo, SideInfo, StreamInfo

Json = dict[str, Any]


def session(info: SessionInfo) -> Json:
    """One session of a stream."""
    return {
        "id": info.id,
        "createdAt": info.created_at,
        "state": info.state.value,
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
    }
