"""The JSON of the API as schemas of OpenAPI 3.1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from live777py.core.events import EventType
from live777py.core.model import CascadeState, PeerState, Role

Json = dict[str, Any]

TEXT: Json = {"type": "string"}


def reference(name: str) -> Json:
    """The schema of that name."""
    return {"$ref": f"#/components/schemas/{name}"}


def list_of(schema: Json) -> Json:
    """A list of such."""
    return {"type": "array", "items": schema}


def object_of(required: Mapping[str, Json], **optional: Json) -> Json:
    """An object with these members, of which some may be missing."""
    return {
        "type": "object",
        "required": list(required),
        "properties": {**required, **optional},
    }


def schemas() -> Json:
    """All that have a name."""
    number: Json = {"type": "integer", "minimum": 0}
    moment = {**number, "description": "milliseconds since the epoch; 0 for not"}
    flag: Json = {"type": "boolean"}
    milliseconds = {"type": ["number", "null"], "description": "milliseconds"}
    total = object_of({"bytes": number, "packets": number, "bitrate": number})
    other_end = object_of({}, sourceUrl=TEXT, targetUrl=TEXT, sessionUrl=TEXT)
    return {
        "Stream": object_of(
            {
                "id": TEXT,
                "createdAt": moment,
                "publish": reference("Side"),
                "subscribe": reference("Side"),
                "codecs": list_of(
                    object_of({"kind": TEXT, "codec": TEXT, "fmtp": TEXT})
                ),
                "provisioned": flag,
                "onDemand": flag,
                "stats": object_of({"publish": total, "subscribe": total}),
                "statsScope": TEXT,
            }
        ),
        "Side": object_of(
            {"leaveAt": moment, "sessions": list_of(reference("Session"))},
        ),
        "Session": object_of(
            {
                "id": TEXT,
                "createdAt": moment,
                "leaveAt": moment,
                "state": {"enum": [state.value for state in PeerState]},
                "hasDataChannel": flag,
                "stats": object_of(
                    {
                        "bytes": number,
                        "packets": number,
                        "bitrate": number,
                        "lost": number,
                        "roundTripTime": milliseconds,
                        "jitter": milliseconds,
                    }
                ),
            },
            cascade=other_end,
        ),
        "Cascade": object_of(
            {
                "id": TEXT,
                "stream": TEXT,
                "configured": flag,
                "onDemand": flag,
                "state": {"enum": [state.value for state in CascadeState]},
                "createdAt": moment,
                "since": moment,
                "attempts": number,
                "lastError": {"type": ["string", "null"]},
                "warnings": list_of(TEXT),
                "session": {"type": ["string", "null"]},
                "bytes": number,
            },
            sourceUrl=TEXT,
            targetUrl=TEXT,
            sessionUrl=TEXT,
            sources=list_of(TEXT),
        ),
        "NewCascade": object_of(
            {},
            token={"type": ["string", "null"], "description": "for the other server"},
            sourceUrl={"type": ["string", "null"], "description": "a WHEP endpoint"},
            targetUrl={"type": ["string", "null"], "description": "a WHIP endpoint"},
        ),
        "Mute": {
            **object_of({"kind": {"enum": ["audio", "video"]}, "enabled": flag}),
            "additionalProperties": False,
        },
        "Layer": {
            **object_of({}, encodingId={"type": ["string", "null"]}),
            "additionalProperties": False,
        },
        "Event": object_of(
            {
                "number": number,
                "type": {"enum": [kind.value for kind in EventType]},
                "at": moment,
                "stream": TEXT,
                "publish": number,
                "subscribe": number,
            },
            session=TEXT,
            role={"enum": [role.value for role in Role]},
            cascade=other_end,
            reason=TEXT,
            cause=TEXT,
        ),
        "Strategy": object_of(
            {
                "each_stream_max_sub": number,
                "cascade_push_close_sub": flag,
                "auto_create_whip": flag,
                "auto_create_whep": flag,
                "auto_delete_whip": {"type": "integer"},
                "auto_delete_whep": {"type": "integer"},
                "takeover": TEXT,
                "idle_whep": TEXT,
            }
        ),
        "Info": object_of(
            {
                "version": TEXT,
                "gitHash": TEXT,
                "buildTime": TEXT,
                "features": list_of(TEXT),
            }
        ),
        "Problem": object_of(
            {"type": TEXT, "title": TEXT, "status": number, "detail": TEXT},
            code=TEXT,
        ),
    }
