"""Writes TOML: only as much of it as a configuration needs, each section under its header."""

from __future__ import annotations

import json
import re
from datetime import date, datetime, time
from typing import Any

_BARE = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)


def dumps(table: dict[str, Any]) -> str:
    """The text of a table, as tomli would read it."""
    # Keys come before headers, else they would belong to the section above.
    lines = _pairs({k: v for k, v in table.items() if not isinstance(v, dict)})
    for name, section in table.items():
        if isinstance(section, dict):
            lines += ["", f"[{_key(name)}]", *_pairs(section)]
    return "\n".join([*lines, ""]).lstrip("\n")


def _pairs(table: dict[str, Any]) -> list[str]:
    return [f"{_key(key)} = {_value(value)}" for key, value in table.items()]


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _string(name)


def _value(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return _string(value)
        case int() | float():
            return repr(value)
        case datetime() | date() | time():
            return value.isoformat()
        case list():
            return "[" + ", ".join(map(_value, value)) + "]"
        case dict():
            inner = (f"{_key(key)} = {_value(one)}" for key, one in value.items())
            return "{" + ", ".join(inner) + "}"
        case _:
            raise TypeError(f"TOML has no {type(value).__name__}")


def _string(text: str) -> str:
    # JSON escapes as TOML's basic strings do, but for DEL, which TOML wants escaped.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
