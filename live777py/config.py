"""Reads the configuration: a TOML file, over it the environment, checked by pydantic.

This module reads a file and an environment that it is given. It starts nothing and looks at
nothing else. Parts of the server receive their section, never the whole `Config`.
"""

from __future__ import annotations

import difflib
import re
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

import tomli
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    Strict,
    ValidationError,
    model_validator,
)

from live777py.errors import ConfigError
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

__all__ = [
    "ENVIRONMENT_PREFIX",
    "Admission",
    "Announced",
    "Auth",
    "Config",
    "DeclaredStream",
    "Edge",
    "Http",
    "IceServer",
    "Listen",
    "Log",
    "RemoteServer",
    "Section",
    "Strategy",
    "Webhook",
    "Webrtc",
    "load",
]

#: `LIVE777_HTTP__LISTEN` overrides `[http] listen`.
ENVIRONMENT_PREFIX = "LIVE777_"

#: Variables that are no keys: where relay/cache.py keeps compiled code.
OTHER_VARIABLES = frozenset({"LIVE777_CACHE"})


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
Level = Literal["debug", "info", "warning", "error"]

_Patience = Annotated[Count, Field(ge=-1, le=10**12)]
Takeover = Literal["refuse", "replace"]
IdleWhep = Literal["wait", "refuse"]
_Timeout = Annotated[Seconds, Field(gt=0)]
_Buffer = Annotated[Bytes, Field(ge=4096, le=2**30)]


class Section(BaseModel):
    """One table of the file. The docstring below a key is its documentation everywhere."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )


class Node(Section):
    """This node among others."""

    name: NodeName = ""
    """Its name in the paths of cascades, 24 letters, digits, ".", "_" or "-" at most."""


class Http(Section):
    """The HTTP server: WHIP, WHEP, the API and the pages."""

    listen: ListenAddress = Listen("::", 7777)
    """Address and TCP port; "[::]" serves IPv6 and IPv4."""

    tls_cert: str = ""
    """File with the certificate chain (PEM): with tls_key, HTTPS instead of HTTP."""

    tls_key: str = ""
    """File with the private key of tls_cert (PEM, without a passphrase)."""

    cors: Origins = ("*",)
    """Origins whose pages may use the API, such as "https://example.org"; "*" for all."""

    rate_limit: Annotated[Count, Field(ge=0, le=1_000_000)] = 100
    """POST, PATCH and DELETE requests a second from one address; more get 429; 0: any."""

    trusted_proxies: tuple[Network, ...] = ()
    """Proxies, such as "127.0.0.1" or "10.0.0.0/8", whose X-Forwarded-For or Forwarded counts."""

    @model_validator(mode="after")
    def _both_or_neither(self) -> Self:
        if bool(self.tls_cert) != bool(self.tls_key):
            missing = "tls_key" if self.tls_cert else "tls_cert"
            raise ValueError(f"{missing} is missing: HTTPS needs tls_cert and tls_key")
        return self


class Auth(Section):
    """Who may do what; where tokens, secret and both jwks keys are empty, all is open."""

    tokens: tuple[StaticToken, ...] = ()
    """Tokens that may do everything; for one that may do less, use a secret or jwks_url."""

    secret: Secret = SecretStr("")
    """Signs tokens made by `live777py token` (JWT, HS256); 32 characters at least are wise."""

    jwks_url: JwksUrl = ""
    """Where an identity provider publishes the keys of its tokens (JWT, RS256 or ES256)."""

    jwks_file: str = ""
    """The same from a file."""

    audience: str = ""
    """The `aud` that such a token must have; empty: it must have none."""

    issuer: str = ""
    """The `iss` that such a token must have; empty: any."""

    @property
    def is_open(self) -> bool:
        """Whether nobody needs a token."""
        return not (
            self.tokens
            or self.secret.get_secret_value()
            or self.jwks_url
            or self.jwks_file
        )

    @model_validator(mode="after")
    def _one_key_set(self) -> Self:
        if self.jwks_url and self.jwks_file:
            raise ValueError("jwks_url and jwks_file exclude one another")
        return self


class Webrtc(Section):
    """The one UDP socket of all peers, and how long they are waited for."""

    listen: ListenAddress = Listen("::", 7777)
    """Address and UDP port of all media; "[::]" serves IPv6 and IPv4."""

    addresses: tuple[LocalAddress, ...] = ()
    """Addresses of this machine to announce to peers; empty: all usable ones."""

    public_ips: tuple[PublicAddress, ...] = ()
    """IP addresses or host names that a 1:1 NAT maps to this machine; announced first."""

    connect_timeout: _Timeout = 15.0
    """A session that is not connected after this time ends."""

    idle_timeout: _Timeout = 30.0
    """A peer that sent nothing authentic for this time is gone."""

    max_sessions: Annotated[Count, Field(ge=1, le=1_000_000)] = 4096
    """Publishers and viewers of all streams together; more are answered 503."""

    receive_buffer: _Buffer = 4 * 1024**2
    """Receive buffer that is asked of the kernel (net.core.rmem_max bounds it)."""

    send_buffer: _Buffer = 4 * 1024**2
    """Send buffer that is asked of the kernel (net.core.wmem_max bounds it)."""

    gso: Flag = True
    """Send runs of packets by UDP generic segmentation offload where there is one."""

    coalesce: Annotated[Seconds, Field(ge=0, le=0.02)] = 0.0005
    """Packets gather for so long before they are forwarded together; 0 waits for none."""

    threads: Annotated[Count, Field(ge=-1, le=64)] = -1
    """Threads for media packets: -1 for one a usable CPU, at most 4; 0 for the event loop alone."""


class IceServer(Section):
    """A STUN or TURN server that clients are told to use (in Link headers)."""

    urls: Annotated[tuple[IceUrl, ...], AfterValidator(_not_empty)]
    """URLs such as "stun:stun.example.org:3478" or "turns:turn.example.org"."""

    username: str = ""
    """User name; every TURN server needs one."""

    credential: SecretStr = SecretStr("")
    """The password that goes with it; given to clients, never logged."""

    @model_validator(mode="after")
    def _turn_needs_credentials(self) -> Self:
        turn = any(url.startswith("turn") for url in self.urls)
        if turn and not (self.username and self.credential.get_secret_value()):
            raise ValueError("a TURN server needs username and credential")
        return self


class Webhook(Section):
    """A URL that is told what happens to streams."""

    url: HookUrl
    """Where to POST; token and path are not logged."""

    secret: Secret = SecretStr("")
    """Signs what is sent (header X-Live777-Signature); empty: it is not signed."""

    events: tuple[EventName, ...] = ()
    """What to tell, such as "publishUp"; empty: everything."""

    timeout: _Timeout = 5.0
    """An answer that takes longer is none."""

    retry_for: Annotated[Seconds, Field(ge=0)] = 300.0
    """What cannot be told is tried again for this time."""

    max_waiting: Annotated[Count, Field(ge=1, le=1_000_000)] = 1000
    """Events that may wait; the oldest ones are dropped for more."""


class Admission(Section):
    """Another program that is asked who may publish and watch, beside what tokens say."""

    url: HookUrlOrNone = ""
    """Where to POST the question; empty: nobody is asked."""

    secret: Secret = SecretStr("")
    """Signs the question (header X-Live777-Signature); empty: it is not signed."""

    timeout: _Timeout = 3.0
    """An answer that takes longer is none."""

    on_error: Literal["refuse", "admit"] = "refuse"
    """Without an answer: "refuse" (503, clients try again) or "admit"."""


class Strategy(Section):
    """What publishers and viewers may do without being asked."""

    auto_create_whip: Flag = True
    """Publishing to a name that does not exist creates the stream."""

    auto_create_whep: Flag = True
    """Watching a name that does not exist creates the stream and waits for a publisher."""

    each_stream_max_sub: Annotated[Count, Field(ge=0, le=1_000_000)] = 65535
    """Viewers that one stream may have; more are answered 503."""

    auto_delete_whip: _Patience = -1
    """Milliseconds after which a stream is deleted whose publisher has left; -1 for never."""

    auto_delete_whep: _Patience = -1
    """Milliseconds after which a stream is deleted that nobody watches; -1 for never."""

    takeover: Takeover = "refuse"
    """A second publisher: "refuse" it while the first one lives, or "replace" the first."""

    idle_whep: IdleWhep = "wait"
    """Viewers while nobody publishes: they "wait", or are told to come back ("refuse", 409)."""

    cascade_push_close_sub: Flag = False
    """Viewers of a stream are disconnected once it is pushed to another node."""


class StreamStrategy(Section):
    """What differs from [strategy] for one stream."""

    each_stream_max_sub: Annotated[Count, Field(ge=0, le=1_000_000)] | None = None
    """Viewers that the stream may have."""

    auto_delete_whip: _Patience | None = None
    """Milliseconds after which its viewers are disconnected when its publisher has left."""

    auto_delete_whep: _Patience | None = None
    """Milliseconds after which its publisher is disconnected when nobody watches."""

    takeover: Takeover | None = None
    """A second publisher: "refuse" or "replace"."""

    idle_whep: IdleWhep | None = None
    """Viewers while nobody publishes: "wait" or "refuse"."""


class RemoteServer(Section):
    """A stream at another server; instead of the table its URL alone will do."""

    url: RemoteUrl
    """WHEP or WHIP URL such as "http://host:7777/whep/cam" or "whep://TOKEN@host/cam"."""

    token: SecretStr = SecretStr("")
    """The right to use it, with or without "Bearer"."""

    @model_validator(mode="before")
    @classmethod
    def _from_url(cls, value: object) -> object:
        return {"url": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _token_fits_a_header(self) -> Self:
        parse_remote(self.url, self.token.get_secret_value())
        return self


class DeclaredStream(Section):
    """A stream that exists as long as the server: [stream.NAME]."""

    sources: tuple[RemoteServer, ...] = ()
    """WHEP URLs, or {url, token}: it is pulled from the first that has it."""

    targets: tuple[RemoteServer, ...] = ()
    """WHIP URLs, or {url, token}: it is pushed to all of them while somebody publishes."""

    on_demand: Flag = False
    """Pull it only while somebody watches."""

    on_demand_close_after: Seconds = 10.0
    """A pull on demand ends so long after the last viewer has left."""

    strategy: StreamStrategy = StreamStrategy()
    """What differs from [strategy] for this stream."""

    @model_validator(mode="after")
    def _demand_needs_a_source(self) -> Self:
        if self.on_demand and not self.sources:
            raise ValueError("on_demand needs sources: there is nothing to be pulled")
        return self

    def over(self, strategy: Strategy) -> Strategy:
        """The strategy of this stream, given that of all."""
        return strategy.model_copy(update=self.strategy.model_dump(exclude_none=True))


class Edge(Section):
    """Streams that viewers ask for and nobody publishes here are pulled from an origin."""

    origins: tuple[RemoteServer, ...] = ()
    """Servers such as "http://origin:7777", or WHEP URLs with {stream} in them; or {url, token}."""

    close_after: Seconds = 10.0
    """The pull ends so long after the last viewer has left."""


class Log(Section):
    """What is logged, and how it looks."""

    level: Annotated[Level, BeforeValidator(_parse_level)] = "info"
    """The least level that is logged: "debug", "info", "warning" or "error"."""

    format: Literal["text", "json"] = "text"
    """"text" for people or "json", one object a line."""


class Config(Section):
    """The whole configuration."""

    ice_servers: tuple[IceServer, ...] = ()
    """STUN and TURN servers for clients; the server itself needs none."""

    webhook: tuple[Webhook, ...] = ()
    """URLs that are told what happens to streams."""

    node: Node = Node()
    http: Http = Http()
    auth: Auth = Auth()
    webrtc: Webrtc = Webrtc()
    admission: Admission = Admission()
    strategy: Strategy = Strategy()
    edge: Edge = Edge()
    stream: dict[str, DeclaredStream] = Field(default={})
    """Streams that exist as long as the server, by name: [stream.NAME]."""

    log: Log = Log()


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
        case "model_type":
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
