"""Bodies: live777's members as they were, ours beside them, counts that follow the events."""

from __future__ import annotations

import json
import re
import typing
from pathlib import Path
from typing import Any

from live777py.clients.event_body import EVENT_NAMES, Bodies
from live777py.config.values import EventName
from live777py.core.events import Event, EventType
from live777py.core.model import Cascade, Role, SessionId, StreamName
from tests.support.golden import golden

ROOT = Path(__file__).parents[2]
PUSH = Cascade(target_url="http://other/whip/cam")


def event(type: EventType, number: int = 1, **facts: Any) -> Event:
    given: dict[str, Any] = {"publishers": 0, "viewers": 0, **facts}
    name = StreamName(given.pop("stream", "cam"))
    return Event(number, type, at=1_790_000_000_123, stream=name, **given)


def told(bodies: Bodies, type: EventType, **facts: Any) -> list[dict[str, Any]]:
    return [json.loads(body.data) for body in bodies.of(event(type, **facts))]


def test_a_body_is_as_documented() -> None:
    page = (ROOT / "docs" / "howto" / "webhooks.md").read_text("utf-8")
    documented, *_ = re.findall("```json\n(.*?)```", page, re.DOTALL)
    bodies = Bodies("b1946ac92492d234")
    told(bodies, EventType.STREAM_UP)
    [body] = bodies.of(
        event(
            EventType.PUBLISH_UP,
            2,
            publishers=1,
            session=SessionId("08c1f2a0a60b0deeb66ee572bd369f80"),
            role=Role.PUBLISH,
        )
    )
    assert (body.name, body.stream) == ("publishUp", "cam")
    assert json.loads(body.data) == json.loads(documented)
    assert json.loads(body.data) == golden("native/webhook.json")
    assert body.id == json.loads(documented)["id"]


def test_every_type_is_documented() -> None:
    page = (ROOT / "docs" / "howto" / "webhooks.md").read_text("utf-8")
    for name in EVENT_NAMES:
        assert f"`{name}`" in page


def test_what_ends_says_why() -> None:
    [body] = told(
        Bodies("run"),
        EventType.SESSION_FAILED,
        role=Role.SUBSCRIBE,
        reason="not connected within 15 s",
        cause="not_connected",
    )
    assert body["event"]["stream"]["type"] == "sessionFailed"
    assert body["reason"] == "not connected within 15 s"
    assert body["cause"] == "not_connected"
    assert body["metrics"] == dict.fromkeys(
        ("stream", "publish", "subscribe", "reforward"), 0
    )


def test_the_counts_are_of_the_node() -> None:
    bodies = Bodies("run")
    last: dict[str, Any] = {}
    for type, stream in (
        (EventType.STREAM_UP, "a"),
        (EventType.PUBLISH_UP, "a"),
        (EventType.STREAM_UP, "b"),
        (EventType.SUBSCRIBE_UP, "b"),
        (EventType.SUBSCRIBE_UP, "b"),
        (EventType.PUBLISH_DOWN, "a"),
        (EventType.STREAM_DOWN, "a"),
    ):
        [last] = told(bodies, type, stream=stream)
    assert last["metrics"] == {
        "stream": 1,
        "publish": 0,
        "subscribe": 2,
        "reforward": 0,
    }


def test_a_viewer_that_is_another_node_is_told_as_a_reforward_too() -> None:
    bodies = Bodies("run")
    up = told(bodies, EventType.SUBSCRIBE_UP, viewers=1, cascade=PUSH)
    assert [body["event"]["stream"]["type"] for body in up] == [
        "subscribeUp",
        "reforwardUp",
    ]
    for body in up:
        assert body["metrics"]["subscribe"] == body["metrics"]["reforward"] == 1
        assert body["event"]["stream"]["stream"]["reforward"] == 1
    assert len({body["id"] for body in up}) == 2
    [other] = told(bodies, EventType.STREAM_UP, stream="other")
    assert other["event"]["stream"]["stream"]["reforward"] == 0
    down = told(bodies, EventType.SUBSCRIBE_DOWN, cascade=PUSH)
    assert down[1]["event"]["stream"]["type"] == "reforwardDown"
    assert down[1]["metrics"]["reforward"] == 0
    assert not bodies._pushes


def test_what_is_pulled_is_no_reforward() -> None:
    pulled = Cascade(source_url="http://other/whep/cam")
    assert len(told(Bodies("run"), EventType.PUBLISH_UP, cascade=pulled)) == 1


def test_the_configuration_knows_every_name() -> None:
    assert typing.get_args(EventName) == EVENT_NAMES
