"""The API in OpenAPI 3.1: one place that says what there is, for people and for programs.

A test compares it with the routes, and another runs requests made from it against a server.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from aiohttp import web

from live777py import __version__
from live777py.api.native.openapi_schemas import (
    TEXT,
    Json,
    list_of,
    reference,
    schemas,
)
from live777py.api.native.watching import EVENT_NAMES
from live777py.core.stream import MAX_NAME_BYTES
from live777py.protocol.headers import NO_WAIT, SEEN, WAIT
from live777py.protocol.sdpfrag import MEDIA_TYPE as FRAGMENT

#: Open to all, as the page that shows it.
PATH = "/api/openapi.json"

SDP = "application/sdp"
JSON = "application/json"
EVENTS = "text/event-stream"


def add_routes(app: web.Application) -> None:
    """Serve the document."""
    text = json.dumps(document())

    async def serve(_request: web.Request) -> web.Response:
        return web.Response(text=text, content_type=JSON)

    app.router.add_get(PATH, serve)


def document() -> Json:
    """The whole document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "live777py",
            "version": __version__,
            "summary": "Live video by WHIP and WHEP.",
        },
        "security": [{}, {"bearer": []}, {"token": []}],
        "tags": [
            {"name": "sessions", "description": "WHIP (RFC 9725) and WHEP"},
            {"name": "streams", "description": "names, and who publishes and watches"},
            {"name": "cascades", "description": "pulled from other servers, or pushed"},
            {"name": "node", "description": "the server itself"},
        ],
        "paths": _complete(
            {
                **_endpoints(),
                **_sessions(),
                **_streams(),
                **_cascades(),
                **_node(),
            }
        ),
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "token": {"type": "apiKey", "in": "query", "name": "token"},
            },
            "schemas": schemas(),
        },
    }


def _operation(
    tag: str,
    summary: str,
    responses: Mapping[int, object],
    *,
    body: Mapping[str, object] | None = None,
    needs_body: bool = True,
    parameters: tuple[Json, ...] = (),
    is_open: bool = False,
) -> Json:
    """One operation.

    Args:
        tag, summary: as OpenAPI has them.
        responses: by status, a sentence or a whole response.
        body: schemas by media type.
        needs_body: whether there must be one.
        parameters: beside those of the path.
        is_open: whether nobody needs a token.
    """
    described = {
        str(status): _plain(status, r) if isinstance(r, str) else r
        for status, r in responses.items()
    }
    operation: Json = {"tags": [tag], "summary": summary, "responses": described}
    if body is not None:
        content = {kind: {"schema": schema} for kind, schema in body.items()}
        operation["requestBody"] = {"required": needs_body, "content": content}
    if parameters:
        operation["parameters"] = list(parameters)
    if is_open:
        operation["security"] = []
    return operation


def _plain(status: int, description: str) -> Json:
    """A response without content, or an error as all errors are."""
    return {"description": description} | ({} if status < 400 else _ERROR)


def _complete(paths: Json) -> Json:
    """Add the errors that come before any operation: who may ask, how often, in which form."""
    for path in paths.values():
        for method, operation in path.items():
            if method == "parameters":
                continue
            errors: dict[int, str] = {}
            if "parameters" in path:
                errors[400] = "a bad name"
            if "security" not in operation:
                errors[401] = "a token is needed, or it is not valid; WWW-Authenticate"
                errors[403] = "the token lacks a right, or [admission] says no"
                # The keys of an identity provider may be out of reach.
                errors[503] = "not now; Retry-After"
            if method != "get":
                errors[429] = "too many requests ([http] rate_limit); Retry-After"
            if "requestBody" in operation:
                errors[400] = "the body is not UTF-8, broke off, or a bad name"
                errors[408] = "the body did not come within 10 s"
                errors[413] = "the body is too large"
            described = operation["responses"]
            for status, description in errors.items():
                described.setdefault(str(status), _plain(status, description))
            operation["responses"] = dict(sorted(described.items()))
    return paths


def _with(description: str, kind: str, schema: Json, **headers: str) -> Json:
    """A response with a body and headers, each with what it means."""
    response: Json = {
        "description": description,
        "content": {kind: {"schema": schema}},
    }
    if headers:
        response["headers"] = _headers(**headers)
    return response


def _headers(**meanings: str) -> Json:
    return {
        name.replace("_", "-"): {"description": text, "schema": {"type": "string"}}
        for name, text in meanings.items()
    }


def _in_path(name: str, meaning: str, **schema: object) -> Json:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": meaning,
        "schema": {"type": "string", **schema},
    }


#: One sentence, or problem details where Accept asks for them.
_ERROR: Json = {
    "content": {
        "text/plain": {"schema": TEXT},
        "application/problem+json": {"schema": reference("Problem")},
    }
}
_STREAM = _in_path("stream", "the stream's name", minLength=1, maxLength=MAX_NAME_BYTES)
_SESSION = _in_path("session", "the session's id", pattern="^[0-9a-f]{32}$")
_CASCADE = _in_path("cascade", "the cascade's id", pattern="^[0-9a-f]{32}$")
_NAMES = _in_path("names", f"of {', '.join(EVENT_NAMES)}, with commas between")
_IF_MATCH: Json = {
    "name": "If-Match",
    "in": "header",
    "description": "the session's ETag; * to restart ICE",
    "schema": TEXT,
}
_CHOSEN: Json = {
    "name": "streams",
    "in": "query",
    "description": "only these; may be given several times",
    "schema": list_of(TEXT),
}
_WAIT: Json = {
    "name": WAIT,
    "in": "header",
    "description": f"{NO_WAIT}: where nobody publishes, say so instead of letting me wait",
    "schema": TEXT,
}
_SEEN: Json = {
    "name": SEEN,
    "in": "header",
    "description": "seconds ago: begin with no key frame that is older, if a new one may come",
    "schema": {"type": "number", "minimum": 0},
}
_SESSION_HEADERS = {
    "Location": "the session's URL",
    "ETag": "of its ICE credentials",
    "Link": "ICE servers and extensions",
    "Accept_Patch": "what it takes by PATCH",
}


def _endpoints() -> Json:
    paths: Json = {}
    for endpoint, what, refused in (
        ("whip", "Publish", 409),
        ("whep", "Watch", 503),
    ):
        answers: dict[int, object] = {
            201: _with("our SDP answer", SDP, TEXT, **_SESSION_HEADERS),
            400: "the SDP is malformed or lacks something; a bad name",
            404: "there is no such stream, and [strategy] creates none",
            refused: "there is a publisher" if endpoint == "whip" else "it is full",
            415: "the Content-Type is not application/sdp",
            422: "well-formed, but not to be used",
            508: "of a node's cascade: it would lead back to this very stream",
        }
        if endpoint == "whep":
            answers[406] = {
                "description": "the viewer cannot decode the stream; or, where the body was "
                "empty, our offer, to be answered by PATCH within 30 s",
                "content": {SDP: {"schema": TEXT}, **_ERROR["content"]},
            }
            answers[404] = (
                "there is no such stream, and [strategy] creates none; of an edge: nor "
                "does an origin have it"
            )
            answers[409] = "nobody publishes, and this viewer may or will not wait"
            answers[504] = "an edge has no answer of its origins"
        paths[f"/{endpoint}/{{stream}}"] = {
            "parameters": [_STREAM],
            "post": _operation(
                "sessions",
                f"{what} by an SDP offer",
                answers,
                body={SDP: TEXT},
                parameters=(_WAIT, _SEEN) if endpoint == "whep" else (),
                needs_body=endpoint == "whip",
            ),
            "get": _operation(
                "sessions",
                "What may be sent here; no content",
                {200: "nothing", 400: "a bad name"},
            ),
        }
    return paths


def _sessions() -> Json:
    gone = "there is no such session, or no more"
    session = {
        "parameters": [_STREAM, _SESSION],
        "get": _operation(
            "sessions",
            "Whether there is such a session; no content",
            {204: "there is", 404: gone},
        ),
        "patch": _operation(
            "sessions",
            "Trickle candidates, restart ICE, or answer our offer",
            {
                200: _with("ICE restarts", FRAGMENT, TEXT, ETag="the new one"),
                204: "the candidates or the answer are taken",
                400: "the fragment or the answer is malformed",
                404: gone,
                409: "no answer is awaited",
                412: "If-Match is not the session's ETag",
                415: "another media type; Accept-Patch says which there are",
                428: "If-Match is missing",
            },
            body={FRAGMENT: TEXT, SDP: TEXT},
            parameters=(_IF_MATCH,),
        ),
        "post": _operation(
            "sessions",
            "Mute or unmute a kind for a viewer",
            {
                200: _with("done", JSON, {"type": "object"}),
                400: "not JSON",
                404: gone,
                409: "it is a publisher's session",
                415: "the Content-Type is not application/json",
                422: "JSON of another shape",
            },
            body={JSON: reference("Mute")},
        ),
        "delete": _operation(
            "sessions",
            "End it",
            {204: "it has ended, and its peer was told", 404: gone},
        ),
    }
    events = {200: _with("events", EVENTS, TEXT), 404: gone}
    path = "/session/{stream}/{session}"
    return {
        path: session,
        f"{path}/layer": _layer(gone),
        f"{path}/sse": {
            "parameters": [_STREAM, _SESSION],
            "post": _operation(
                "sessions",
                "Choose events of the stream",
                {
                    201: {
                        "description": "their URL",
                        "headers": _headers(Location="of the event stream"),
                    },
                    400: "not JSON",
                    404: gone,
                    415: "the Content-Type is not application/json",
                    422: "not a list of events",
                },
                body={JSON: list_of({"enum": list(EVENT_NAMES)})},
            ),
            "get": _operation("sessions", "All events of the stream", events),
        },
        f"{path}/sse/{{names}}": {
            "parameters": [_STREAM, _SESSION, _NAMES],
            "get": _operation("sessions", "Chosen events of the stream", events),
            "delete": _operation(
                "sessions", "End such event streams", {204: "they have", 404: gone}
            ),
        },
    }


def _layer(gone: str) -> Json:
    none = "the publisher sends no layers, or the session is its own"
    return {
        "parameters": [_STREAM, _SESSION],
        "get": _operation(
            "sessions",
            "The simulcast layers that may be chosen",
            {200: _with("they", JSON, list_of(reference("Layer"))), 404: gone},
        ),
        "post": _operation(
            "sessions",
            "Choose a layer for a viewer",
            {
                200: "done",
                400: "not JSON",
                404: gone,
                409: none,
                415: "the Content-Type is not application/json",
                422: "JSON of another shape",
            },
            body={JSON: reference("Layer")},
        ),
        "delete": _operation(
            "sessions", "Give the choice up", {200: "done", 404: gone, 409: none}
        ),
    }


def _streams() -> Json:
    listing = {
        "get": _operation(
            "streams",
            "All streams, by name",
            {200: _with("the streams", JSON, list_of(reference("Stream")))},
            parameters=(_CHOSEN,),
        )
    }
    return {
        "/api/streams/": listing,
        "/api/streams": listing,
        "/api/streams/{stream}": {
            "parameters": [_STREAM],
            "get": _operation(
                "streams",
                "One stream",
                {200: _with("it", JSON, reference("Stream")), 404: "there is none"},
            ),
            "post": _operation(
                "streams",
                "Create a stream, which stays without sessions",
                {204: "it is there", 400: "a bad name", 409: "it was there before"},
            ),
            "delete": _operation(
                "streams",
                "End a stream and all its sessions",
                {
                    204: "it has ended",
                    404: "there is none",
                    409: "it belongs to the configuration",
                },
            ),
        },
        "/api/sse/streams": {
            "get": _operation(
                "streams",
                "All streams, now and whenever they change",
                {200: _with("messages with the whole list", EVENTS, TEXT)},
                parameters=(_CHOSEN,),
            )
        },
        "/api/sse/events": {
            "get": _operation(
                "streams",
                "What happens to streams and sessions",
                {200: _with("messages with an event each", EVENTS, TEXT)},
                parameters=(_CHOSEN,),
            )
        },
    }


def _cascades() -> Json:
    listing = {
        "get": _operation(
            "cascades",
            "All cascades, the oldest first",
            {200: _with("the cascades", JSON, list_of(reference("Cascade")))},
        )
    }
    gone = "there is no such cascade, or no more"
    return {
        "/api/cascade/": listing,
        "/api/cascade": listing,
        "/api/cascade/{stream}": {
            "parameters": [_STREAM],
            "get": _operation(
                "cascades",
                "Those of one stream",
                {200: _with("the cascades", JSON, list_of(reference("Cascade")))},
            ),
            "post": _operation(
                "cascades",
                "Pull it from another server, or push it to one, until that is deleted",
                {
                    200: {
                        "description": "the other server has made a session; no content",
                        "headers": _headers(Location="the cascade's URL"),
                    },
                    400: "neither URL, both, or one that cannot be used; not JSON",
                    404: "there is no such stream to be pushed",
                    409: "a pull of a stream that is published, or pulled already",
                    415: "the Content-Type is not application/json",
                    422: "JSON of another shape",
                    502: "the other server refused; its status and words are in ours",
                    504: "the other server did not answer",
                    508: "it would lead back to this very stream; the path is in words",
                },
                body={JSON: reference("NewCascade")},
            ),
        },
        "/api/cascade/{stream}/{cascade}": {
            "parameters": [_STREAM, _CASCADE],
            "get": _operation(
                "cascades",
                "One cascade",
                {200: _with("it", JSON, reference("Cascade")), 404: gone},
            ),
            "delete": _operation(
                "cascades",
                "End it, and its session at the other server",
                {
                    204: "it has ended; viewers stay",
                    404: gone,
                    409: "the configuration asked for it",
                },
            ),
        },
    }


def _node() -> Json:
    strategy = {
        "get": _operation(
            "node",
            "The rules for streams that have none of their own",
            {200: _with("[strategy]", JSON, reference("Strategy"))},
        )
    }
    return {
        "/api/strategy/": strategy,
        "/api/strategy": strategy,
        "/api/info": {
            "get": _operation(
                "node",
                "Version and features",
                {200: _with("they", JSON, reference("Info"))},
            )
        },
        PATH: {
            "get": _operation(
                "node",
                "This document",
                {200: _with("it", JSON, {"type": "object"})},
                is_open=True,
            )
        },
        "/metrics": {
            "get": _operation(
                "node",
                "The node in numbers, for Prometheus",
                {200: _with("its text format, or OpenMetrics's", "text/plain", TEXT)},
            )
        },
        "/healthz": {
            "get": _operation(
                "node",
                "Whether the process answers",
                {200: _with("it does", "text/plain", TEXT)},
                is_open=True,
            )
        },
        "/readyz": {
            "get": _operation(
                "node",
                "Whether new sessions are taken",
                {200: _with("they are", "text/plain", TEXT), 503: "it is stopping"},
                is_open=True,
            )
        },
    }
