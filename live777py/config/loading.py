"""Reads a TOML file, over it the environment, and tells all faults of both, a line for each.

This module reads a file and an environment that it is given. It starts nothing and looks at
nothing else.
"""

from __future__ import annotations

import difflib
import re
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tomli
from pydantic import ValidationError

from live777py.config.sections import Config, RemoteServer, Section
from live777py.errors import ConfigError

#: `LIVE777_HTTP__LISTEN` overrides `[http] listen`.
ENVIRONMENT_PREFIX = "LIVE777_"

#: Variables that are no keys: where relay/cache.py keeps compiled code.
OTHER_VARIABLES = frozenset({"LIVE777_CACHE"})

Location = tuple[str | int, ...]


def load(path: Path | None, environ: Mapping[str, str]) -> Config:
    """The configuration of a file, overridden by an environment.

    Args:
        path: the TOML file, or None for the defaults alone.
        environ: variables such as LIVE777_HTTP__LISTEN; others are not looked at.

    Raises:
        ConfigError: with one line for every fault of both.
    """
    faults: list[str] = []
    data = {} if path is None else _read(path)
    names = _override(data, environ, faults)
    try:
        config = Config.model_validate(data)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        faults += [_describe(fault, path, names) for fault in found]
    else:
        if not faults:
            return config
    # Outside the except block: pydantic's error holds the input, secrets included.
    raise ConfigError(*faults)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomli.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not UTF-8 text") from None
    except (tomli.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: is not valid TOML: {error}") from None


def _override(
    data: dict[str, Any], environ: Mapping[str, str], faults: list[str]
) -> dict[Location, str]:
    """Put the environment's values into `data`; returns which variable set which key."""
    known = {_variable(location): location for location in _keys(Config)}
    names: dict[Location, str] = {}
    for variable, text in sorted(environ.items()):
        if not variable.startswith(ENVIRONMENT_PREFIX) or variable in OTHER_VARIABLES:
            continue
        if variable not in known:
            suggestion = _suggest(variable, list(known), ENVIRONMENT_PREFIX)
            faults.append(f"{variable}: unknown key{suggestion}")
            continue
        location = known[variable]
        table = data
        for part in location[:-1]:
            table = table.setdefault(part, {})
        if isinstance(table, dict):  # otherwise the file is wrong, and will be told so
            try:
                table[location[-1]] = _from_text(location, text)
            except tomli.TOMLDecodeError:
                # Without the text: it may hold a credential.
                faults.append(
                    f'{variable}: is not TOML such as [{{urls = ["stun:…"]}}]'
                )
            names[location] = variable
    return names


def _keys(
    section: type[Section], prefix: tuple[str, ...] = ()
) -> list[tuple[str, ...]]:
    """The location of every key that is not itself a table."""
    found: list[tuple[str, ...]] = []
    for name, field in section.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, Section):
            found += _keys(inner, (*prefix, name))
        else:
            found.append((*prefix, name))
    return found


def _variable(location: tuple[str, ...]) -> str:
    return ENVIRONMENT_PREFIX + "__".join(location).upper()


def _from_text(location: tuple[str, ...], text: str) -> object:
    """A variable's text as the value that TOML would have given for this key.

    Text that does not fit is returned as it is: validation has the words for that.
    """
    annotation = _section_at(location[:-1]).model_fields[location[-1]].annotation
    if annotation is bool:
        return {"true": True, "1": True, "false": False, "0": False}.get(
            text.strip().lower(), text
        )
    if annotation is int and re.fullmatch(r"\s*[+-]?\d{1,18}\s*", text, re.ASCII):
        return int(text)
    if typing.get_origin(annotation) is dict:
        return tomli.loads(f"value = {text}")["value"]
    if typing.get_origin(annotation) is tuple:
        element = _element(annotation)
        is_bare = element is RemoteServer and not text.lstrip().startswith("[")
        if element is not None and not is_bare:
            return tomli.loads(f"value = {text}")["value"]
        return [part.strip() for part in text.split(",") if part.strip()]
    return text


def _element(annotation: object) -> type[Section] | None:
    """The section that an array of tables, or a table of tables, consists of."""
    for inner in typing.get_args(annotation):
        if isinstance(inner, type) and issubclass(inner, Section):
            return inner
    return None


def _section_at(location: Sequence[str | int]) -> type[Section]:
    section: type[Section] = Config
    is_name = False
    for part in location:
        if isinstance(part, str) and not is_name:
            inner = section.model_fields[part].annotation
            section = _element(inner) or typing.cast("type[Section]", inner)
            is_name = typing.get_origin(inner) is dict
        else:
            # An index of a list, or a name in a table of tables.
            is_name = False
    return section


def _describe(
    fault: Mapping[str, Any], path: Path | None, names: Mapping[Location, str]
) -> str:
    """One line: where, which key, what is wrong; never the value of a secret."""
    location: Location = fault["loc"]
    for length in range(len(location), 0, -1):
        if location[:length] in names:
            where = [names[location[:length]], *map(str, location[length:])]
            return ": ".join([".".join(where), _sentence(fault)])
    key = ".".join(map(str, location))
    return ": ".join(
        [str(path), key, _sentence(fault)] if path else [key, _sentence(fault)]
    )


def _sentence(fault: Mapping[str, Any]) -> str:
    location: Location = fault["loc"]
    context = fault.get("ctx", {})
    match fault["type"]:
        case "extra_forbidden":
            known = _section_at(location[:-1]).model_fields
            return f"unknown key{_suggest(str(location[-1]), list(known))}"
        case "value_error":
            return str(context["error"])
        case "missing":
            return "is required"
        case "model_type" | "dict_type":
            return "must be a table"
        case "tuple_type":
            return "must be a list"
        case "string_type":
            return "must be a string"
        case "bool_type":
            return "must be true or false"
        case "int_type":
            return "must be a whole number"
        case "greater_than":
            return f"must be more than {context['gt']:g}"
        case "greater_than_equal":
            return f"must be at least {context['ge']}"
        case "less_than_equal":
            return f"must be at most {context['le']}"
        case "literal_error":
            return f"must be {context['expected']}".replace("'", '"')
        case _:
            return str(fault["msg"])


def _suggest(key: str, known: list[str], prefix: str = "") -> str:
    """Which key was probably meant; a prefix that all have says nothing about that."""
    names = [name.removeprefix(prefix) for name in known]
    close = difflib.get_close_matches(key.removeprefix(prefix), names, n=1)
    return f", did you mean {prefix}{close[0]}?" if close else ""
