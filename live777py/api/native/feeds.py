"""Event streams of the node: all streams whenever they change, and what happens to them."""

from __future__ import annotations

import asyncio
import json
import time

from aiohttp import web

from live777py.api.native.callers import caller
from live777py.api.native.shapes import Json, cascade
from live777py.api.native.streams import wanted
from live777py.api.sse import KEEP_ALIVE, EventStream, ReaderGone
from live777py.core.events import Event

#: Seconds after which statistics are looked at anew, though nothing has happened.
TICK = 2.0

#: Seconds between two lists at least: hundreds of joins a second are one change to a reader.
PAUSE = 0.1


def add_routes(app: web.Application) -> None:
    """Serve both."""
    app.router.add_get("/api/sse/streams", streams, allow_head=False)
    app.router.add_get("/api/sse/events", events, allow_head=False)


async def streams(request: web.Request) -> web.StreamResponse:
    """`GET /api/sse/streams`: the list of streams, now and whenever it has changed.

    Each message is the whole list, `?streams=` as for `/api/streams/`; it has neither a name nor
    an id, as live777's.
    """
    asked = caller(request)
    stream = EventStream(request)
    with asked.events() as subscription:
        await stream.open()
        sent, sent_at = "", 0.0
        try:
            while not subscription.has_ended:
                subscription.taken()
                shapes = wanted(request, asked.streams())
                text, now = json.dumps(shapes), time.monotonic()
                if text != sent:
                    await stream.send(shapes)
                    sent, sent_at = text, now
                elif now - sent_at >= KEEP_ALIVE:
                    await stream.keep_alive()
                    sent_at = now
                await asyncio.sleep(PAUSE)
                await subscription.wait(TICK - PAUSE)
        except ReaderGone:
            pass
    return stream.response


async def events(request: web.Request) -> web.StreamResponse:
    """`GET /api/sse/events`: what happens to streams and sessions, one message for each.

    A message has the event's type for a name and its number for an id. Numbers have no gaps: who
    finds one was too slow, or away.
    """
    names = set(request.query.getall("streams", []))
    stream = EventStream(request)
    with caller(request).events() as subscription:
        await stream.open()
        try:
            while not subscription.has_ended:
                if not await subscription.wait(KEEP_ALIVE):
                    await stream.keep_alive()
                for event in subscription.taken():
                    if not names or event.stream in names:
                        await stream.send(
                            shape(event), event=event.type.value, id=str(event.number)
                        )
        except ReaderGone:
            pass
    return stream.response


def shape(event: Event) -> Json:
    """An event in JSON; what does not apply is left out."""
    optional = {
        "session": event.session,
        "role": None if event.role is None else event.role.value,
        "cascade": None if event.cascade is None else cascade(event.cascade),
        "reason": event.reason or None,
        "cause": event.cause or None,
    }
    return {
        "number": event.number,
        "type": event.type.value,
        "at": event.at,
        "stream": event.stream,
        "publish": event.publishers,
        "subscribe": event.viewers,
        **{key: value for key, value in optional.items() if value is not None},
    }
