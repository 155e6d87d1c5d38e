"""What webhooks are told of an event: the JSON of live777 up to 0.9, and what is new beside it.

Pure but for the counts, which follow the events.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass

from live777py.core.events import Event, EventType
from live777py.core.model import Role, StreamName

#: What live777 tells beside a viewer's coming and going, where we push to another node.
_PUSHED = {
    EventType.SUBSCRIBE_UP: "reforwardUp",
    EventType.SUBSCRIBE_DOWN: "reforwardDown",
}

#: Every type that a webhook may be told, as `type` in the body and `events` in the configuration.
EVENT_NAMES = (*(kind.value for kind in EventType), *_PUSHED.values())

_STEPS = {
    EventType.STREAM_UP: ("stream", 1),
    EventType.STREAM_DOWN: ("stream", -1),
    EventType.PUBLISH_UP: ("publish", 1),
    EventType.PUBLISH_DOWN: ("publish", -1),
    EventType.SUBSCRIBE_UP: ("subscribe", 1),
    EventType.SUBSCRIBE_DOWN: ("subscribe", -1),
}


@dataclass(frozen=True, slots=True)
class Body:
    """One thing to tell.

    Attributes:
        id: unique, also among nodes and over restarts.
        name: of the event's type.
        stream: of the event.
        data: JSON.
    """

    id: str
    name: str
    stream: StreamName
    data: bytes


class Bodies:
    """Makes bodies of events; it must see every event of the node, from the first one on."""

    def __init__(self, run: str) -> None:
        """Prepare.

        Args:
            run: begins every id, and is this process's alone.
        """
        self._run = run
        self._totals = Counter(stream=0, publish=0, subscribe=0, reforward=0)
        self._pushes: Counter[StreamName] = Counter()

    def of(self, event: Event) -> list[Body]:
        """What is to be told of an event: one body, two for a viewer that is another node."""
        names = [event.type.value]
        if (pushed := self._pushed(event)) is not None:
            names.append(pushed)
            self._push(event)
        if event.type in _STEPS:
            key, step = _STEPS[event.type]
            self._totals[key] += step
        return [self._body(event, name) for name in names]

    def _pushed(self, event: Event) -> str | None:
        is_push = event.cascade is not None and event.cascade.target_url != ""
        return _PUSHED.get(event.type) if is_push else None

    def _push(self, event: Event) -> None:
        step = 1 if event.type is EventType.SUBSCRIBE_UP else -1
        self._totals["reforward"] += step
        self._pushes[event.stream] += step
        if not self._pushes[event.stream]:
            del self._pushes[event.stream]

    def _body(self, event: Event, name: str) -> Body:
        id = f"{self._run}-{event.number}-{name}"
        value = {
            "metrics": dict(self._totals),
            "event": {
                "stream": {
                    "type": name,
                    "stream": {
                        "stream": event.stream,
                        "session": event.session,
                        "publish": event.publishers,
                        "subscribe": event.viewers,
                        "reforward": self._pushes[event.stream],
                    },
                }
            },
            "id": id,
            "number": event.number,
            "at": event.at,
            "role": _value(event.role),
            "reason": event.reason or None,
            "cause": event.cause or None,
        }
        return Body(id, name, event.stream, json.dumps(value).encode())


def _value(role: Role | None) -> str | None:
    return None if role is None else role.value
