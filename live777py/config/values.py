"""The kinds of values that keys have: what is taken, and the words for what is not."""

from __future__ import annotations

import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, Strict

from live777py.notation import (
    Announced,
    IpNetwork,
    Listen,
    parse_announced,
    parse_duration,
    parse_listen,
    parse_network,
    parse_remote,
    parse_size,
)


def _parse_public(value: object) -> Announced:
    return parse_announced(value, names=True)


def _parse_level(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _parse_ice_url(value: object) -> object:
    if isinstance(value, str) and not re.fullmatch(r"(stuns?|turns?):[^\s<>]+", value):
        raise ValueError('is not an ICE URL such as "stun:stun.example.org:3478"')
    return value


def _parse_origins(value: object) -> object:
    # live777's `cors` is a boolean; a variable brings its words as a list.
    match value:
        case True | ["true"]:
            return ["*"]
        case False | ["false"]:
            return []
        case _:
            return value


def _parse_origin(value: object) -> object:
    if isinstance(value, str) and value not in ("*", "null"):
        value = value.lower()
        if not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^\s/?#@,;\"*]+", value):
            raise ValueError(
                'is not an origin such as "https://example.org" or "http://localhost:3000", '
                'nor "*" for all'
            )
        # Browsers leave out the port that a scheme has anyway.
        value = re.sub(r"^(https://.*):443$|^(http://.*):80$", r"\1\2", value)
    return value


def _parse_url(value: object) -> object:
    if isinstance(value, str) and not _is_url(value):
        raise ValueError("is not an http:// or https:// URL without credentials")
    return value


def _parse_url_or_none(value: object) -> object:
    return value if value == "" else _parse_url(value)


def _is_url(text: str) -> bool:
    # Without user:password@: where a URL leads is logged.
    if not re.fullmatch(r"https?://[^\s/?#@]+(?:[/?]\S*)?", text):
        return False
    try:
        parts = urlsplit(text)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port or an address that is none
        return False


def _parse_remote(value: object) -> object:
    if isinstance(value, str):
        # The words for what is wrong quote nothing of it.
        parse_remote(value)
    return value


def _not_blank(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if text != text.strip() or text.startswith(("Bearer ", "bearer ")):
        raise ValueError('must have no white space around it and no "Bearer" before it')
    return value


def _static_token(value: SecretStr) -> SecretStr:
    if not re.fullmatch(r"[\x21-\x7e]+", value.get_secret_value()):
        raise ValueError(
            "must be printable ASCII without spaces, and not empty: it goes into a header"
        )
    return value


def _node_name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]{0,24}", value):
        raise ValueError(
            'must be at most 24 ASCII letters, digits, ".", "_" and "-": it goes into a header'
        )
    return value


def _not_empty(values: tuple[str, ...]) -> tuple[str, ...]:
    # Not min_length: it counts wrong entries as missing, a second fault for one mistake.
    if not values:
        raise ValueError("must not be empty")
    return values


# Numbers and booleans are strict: max_sessions = true is a mistake, not the number 1.
Flag = Annotated[bool, Strict()]
Count = Annotated[int, Strict()]
Seconds = Annotated[float, BeforeValidator(parse_duration)]
Bytes = Annotated[int, BeforeValidator(parse_size)]
ListenAddress = Annotated[Listen, BeforeValidator(parse_listen)]
LocalAddress = Annotated[Announced, BeforeValidator(parse_announced)]
PublicAddress = Annotated[Announced, BeforeValidator(_parse_public)]
Network = Annotated[IpNetwork, BeforeValidator(parse_network)]
Origin = Annotated[str, BeforeValidator(_parse_origin)]
Origins = Annotated[tuple[Origin, ...], BeforeValidator(_parse_origins)]
JwksUrl = Annotated[str, BeforeValidator(_parse_url_or_none)]
Secret = Annotated[SecretStr, AfterValidator(_not_blank)]
StaticToken = Annotated[SecretStr, AfterValidator(_static_token)]
NodeName = Annotated[str, AfterValidator(_node_name)]
IceUrl = Annotated[str, BeforeValidator(_parse_ice_url)]
IceUrls = Annotated[tuple[IceUrl, ...], AfterValidator(_not_empty)]
# Path and query of these may hold a token, or the user.
RemoteUrl = Annotated[str, BeforeValidator(_parse_remote), Field(repr=False)]
HookUrl = Annotated[str, BeforeValidator(_parse_url), Field(repr=False)]
HookUrlOrNone = Annotated[str, BeforeValidator(_parse_url_or_none), Field(repr=False)]
EventName = Literal[
    "streamUp",
    "streamDown",
    "publishUp",
    "publishDown",
    "subscribeUp",
    "subscribeDown",
    "sessionFailed",
    "reforwardUp",
    "reforwardDown",
]
Level = Annotated[
    Literal["debug", "info", "warning", "error"], BeforeValidator(_parse_level)
]

Patience = Annotated[Count, Field(ge=-1, le=10**12)]
Takeover = Literal["refuse", "replace"]
IdleWhep = Literal["wait", "refuse"]
Timeout = Annotated[Seconds, Field(gt=0)]
Buffer = Annotated[Bytes, Field(ge=4096, le=2**30)]
