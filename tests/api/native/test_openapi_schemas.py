"""Schemas are whole: what an object must have it describes, and names lead somewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from live777py.api.native.openapi_schemas import TEXT, list_of, object_of, schemas
from live777py.core.events import EventType


def objects(schema: Any) -> Iterator[dict[str, Any]]:
    """All objects within a schema."""
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            yield schema
        schema = list(schema.values())
    if isinstance(schema, list):
        for part in schema:
            yield from objects(part)


def test_what_an_object_must_have_is_described() -> None:
    found = list(objects(schemas()))
    assert len(found) > 10
    for each in found:
        assert set(each["required"]) <= each["properties"].keys()


def test_members_are_needed_or_may_be_missing() -> None:
    assert object_of({"a": TEXT}, b=list_of(TEXT)) == {
        "type": "object",
        "required": ["a"],
        "properties": {
            "a": {"type": "string"},
            "b": {"type": "array", "items": {"type": "string"}},
        },
    }


def test_references_within_schemas_lead_to_schemas() -> None:
    named = schemas()
    found = set(re.findall(r"#/components/schemas/(\w+)", str(named)))
    assert found
    assert found <= named.keys()


def test_every_kind_of_event_is_named() -> None:
    assert all(repr(kind.value) in str(schemas()["Event"]) for kind in EventType)
