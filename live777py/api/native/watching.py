"""What a viewer is told of its stream: the WHEP extension for server-sent events.

The 201 of a WHEP POST has a Link to `/session/{stream}/{session}/sse`. A POST there, with a JSON
list of events, is answered with the URL of an event stream for them; a GET there is an event
stream for all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http import HTTPStatus

from aiohttp import web
from pydantic import RootModel

from live777py.api.body import read_json
from live777py.api.native.callers import caller
from live777py.api.native.names import name_in_path, session_path
from live777py.api.sse import KEEP_ALIVE, EventStream, ReaderGone
from live777py.core.events import Event, EventType, Subscription
from live777py.core.model import PeerState, StreamInfo
from live777py.errors import InvalidBody, NotFound, SessionNotFound, StreamNotFound

#: What may be asked for.
EVENT_NAMES = ("active", "inactive", "layers", "viewercount", "reconnect")

#: How the end of a session is told; one that never was connected has failed.
SESSION_ENDS = frozenset(
    {EventType.SUBSCRIBE_DOWN, EventType.PUBLISH_DOWN, EventType.SESSION_FAILED}
)

#: Event streams that are open, by path, to be ended by DELETE.
OPEN = web.AppKey("open_event_streams", dict[str, set[Subscription]])


class Names(RootModel[list[str]]):
    """The body of a POST: names of events."""


class EventStreamNotFound(NotFound):
    """An event stream with names that there are not."""

    code = "event_stream_not_found"


def add_routes(app: web.Application) -> None:
    """Serve viewers' event streams."""
    app[OPEN] = {}
    path = "/session/{stream}/{session}/sse"
    app.router.add_post(path, choose)
    app.router.add_get(path, watch, allow_head=False)
    app.router.add_get(f"{path}/{{names}}", watch, allow_head=False)
    app.router.add_delete(f"{path}/{{names}}", end)


async def choose(request: web.Request) -> web.Response:
    """`POST`: choose events; 201 with the URL of their stream."""
    name, session = name_in_path(request), request.match_info["session"]
    caller(request).session_version(name, session)
    names = (await read_json(request, Names)).root
    unknown = [repr(event[:40]) for event in names if event not in EVENT_NAMES]
    if unknown or not names:
        raise InvalidBody(
            f"{', '.join(unknown[:3]) or 'an empty list'} cannot be asked for: there are "
            + ", ".join(EVENT_NAMES)
        )
    chosen = ",".join(dict.fromkeys(names))
    location = f"{session_path(name, session)}/sse/{chosen}"
    return web.Response(status=HTTPStatus.CREATED, headers={"Location": location})


async def watch(request: web.Request) -> web.StreamResponse:
    """`GET`: the events, beginning with what is the case now, until the session ends."""
    name, session = name_in_path(request), request.match_info["session"]
    caller(request).session_version(name, session)
    names = _names(request)
    stream = EventStream(request)
    with (
        caller(request).stream_events(name) as subscription,
        _opened(request, subscription),
    ):
        # Looked at before anything is sent: afterwards the stream may be gone.
        current = list(_current(caller(request).stream(name)))
        await stream.open()
        try:
            for event, data in current:
                if event in names:
                    await stream.send(data, event=event)
            await _tell(stream, request, subscription, names)
        except ReaderGone:
            pass
    return stream.response


async def end(request: web.Request) -> web.Response:
    """`DELETE`: the end of the event streams of this URL."""
    name, session = name_in_path(request), request.match_info["session"]
    caller(request).session_version(name, session)
    _names(request)
    for subscription in tuple(request.app[OPEN].get(request.rel_url.raw_path, ())):
        subscription.end()
    return web.Response(status=HTTPStatus.NO_CONTENT)


async def _tell(
    stream: EventStream,
    request: web.Request,
    subscription: Subscription,
    names: frozenset[str],
) -> None:
    """Send what happens to the stream for as long as the session lives."""
    name, session = name_in_path(request), request.match_info["session"]
    while not subscription.has_ended:
        if not await subscription.wait(KEEP_ALIVE):
            await stream.keep_alive()
            continue
        for event in subscription.taken():
            if event.session == session and event.type in SESSION_ENDS:
                return
            if event.stream == name:
                for told, data in _told(request, event):
                    if told in names:
                        await stream.send(data, event=told)
    is_stopping = caller(request).live.is_closing
    if "reconnect" in names and is_stopping and not subscription.was_too_slow:
        # The viewer had better come again by itself.
        await stream.send({}, event="reconnect")


def _told(request: web.Request, event: Event) -> Iterable[tuple[str, object]]:
    """What an event of the node is to a viewer."""
    match event.type:
        case EventType.PUBLISH_UP:
            yield "active", {}
            try:
                yield "layers", _layers(caller(request).stream(event.stream))
            except (StreamNotFound, SessionNotFound):
                return
        case EventType.PUBLISH_DOWN if event.publishers == 0:
            yield "inactive", {}
        case EventType.SUBSCRIBE_UP | EventType.SUBSCRIBE_DOWN:
            yield "viewercount", {"viewercount": event.viewers}
        case _:
            pass


def _current(stream: StreamInfo) -> Iterable[tuple[str, object]]:
    """What is the case when an event stream begins."""
    if stream.codecs:
        yield "active", {}
        yield "layers", _layers(stream)
    else:
        yield "inactive", {}
    states = [session.state for session in stream.subscribe.sessions]
    yield "viewercount", {"viewercount": states.count(PeerState.CONNECTED)}


def _layers(stream: StreamInfo) -> dict[str, object]:
    """The layers of each kind of media: one, where nothing is simulcast."""
    return {
        codec.kind: {"active": [{"id": codec.kind}], "inactive": [], "layers": []}
        for codec in stream.codecs
    }


def _names(request: web.Request) -> frozenset[str]:
    text = request.match_info.get("names")
    if text is None:
        return frozenset(EVENT_NAMES)
    names = frozenset(text.split(","))
    if not names <= set(EVENT_NAMES):
        raise EventStreamNotFound(
            f"there is no such event stream: POST a JSON list of {', '.join(EVENT_NAMES)}"
        )
    return names


@contextmanager
def _opened(request: web.Request, subscription: Subscription) -> Iterator[None]:
    path = request.rel_url.raw_path
    streams = request.app[OPEN]
    streams.setdefault(path, set()).add(subscription)
    try:
        yield
    finally:
        streams[path].discard(subscription)
        if not streams[path]:
            del streams[path]
