"""Writes configuration.md beside it and config/live777.toml, both from live777py/config/.

`make docs` runs it; tests/test_sample_config.py fails when either file is not what it writes.
"""

from __future__ import annotations

import json
import textwrap
import typing
from pathlib import Path

from pydantic import BeforeValidator, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from live777py.config import (
    ENVIRONMENT_PREFIX,
    Config,
    DeclaredStream,
    IceServer,
    RemoteServer,
    Section,
    StreamStrategy,
    Webhook,
)
from live777py.config.values import EventName, IceUrl, Network, Origin, StaticToken
from live777py.notation import parse_size

ROOT = Path(__file__).resolve().parents[2]

SAMPLE_HEAD = """\
# Every key of live777py with its default. A copy named live777.toml is read from the working
# directory, any other with `live777py -c FILE`; `live777py check` says what is wrong with it.
# Durations are written "500ms", "15s", "2m" or in seconds, sizes "64KiB", "4MiB" or in bytes.
"""

PAGE_HEAD = """\
# Configuration

<!-- Written by configuration.py beside this page: change the docstrings of
     live777py/config/sections.py, then run `make docs`. -->

`live777py` reads `live777.toml` in the working directory if there is one, or the file that
`-c FILE` names. What a file does not say is at its default, and
[`config/live777.toml`](../../config/live777.toml) is a file that says it all. Over the file
goes the environment: `LIVE777_HTTP__LISTEN=127.0.0.1:8080` overrides `[http] listen`. Lists
are separated by commas: `LIVE777_WEBRTC__ADDRESSES=127.0.0.1,::1`. So are URLs of servers
(`LIVE777_EDGE__ORIGINS=http://a:7777,http://b:7777`); with tokens their list is one TOML value:
`LIVE777_EDGE__ORIGINS='[{url = "http://a:7777", token = "…"}]'`.

`LIVE777_CACHE` is no key: it names the directory for the compiled data plane, without it
`live777py` in `$XDG_CACHE_HOME` or `~/.cache`.

`live777py check` prints `ok`, or one line for every fault and exits with status 2, as serving
would: `live777.toml: webrtc.adresses: unknown key, did you mean addresses?`

A *duration* is written `"500ms"`, `"15s"`, `"2m"`, `"1h30m"`, `"7d"` or as a number of seconds, a
*size* `"64KiB"`, `"4MiB"`, `"1GB"` or as a number of bytes. A *listen address* is an IP
address and a port: `"[::]:7777"`, `"0.0.0.0:7777"`, `"127.0.0.1:0"` (any free port); `:7777`
is short for `[::]:7777`. An *address* is `"192.0.2.1"`, `"192.0.2.1:7777"`, `"2001:db8::1"`
or `"[2001:db8::1]:7777"`.
"""

ICE_PAGE = """\
Each server is a table `[[ice_servers]]`. As a variable the whole list is one TOML value:
`LIVE777_ICE_SERVERS='[{urls = ["stun:stun.example.org:3478"]}]'`.
"""

WEBHOOK_PAGE = """\
Each URL is a table `[[webhook]]`. As a variable the whole list is one TOML value:
`LIVE777_WEBHOOK='[{url = "https://hooks.example.org/live", secret = "…"}]'`. What is sent says
[webhooks.md](../howto/webhooks.md).
"""

STREAM_PAGE = """\
Each stream is a table `[stream.NAME]`; it exists as long as the server, can be neither created nor
deleted by the API, and stays when its last session ends. Pulls and pushes of the configuration,
[`sources` and `targets`](../howto/cascade.md), go on as long as the server too.
"""

STRATEGY_PAGE = """\
What `[stream.NAME.strategy]` says goes
for that stream instead of `[strategy]`; there, a stream that is to be deleted only loses its
sessions.
"""

STREAM_EXAMPLE = {
    "sources": '["http://a:7777/whep/cam", {url = "https://b/whep/cam", token = "secret"}]',
    "targets": '["http://c:7777/whip/cam"]',
    "on_demand": "true",
    "on_demand_close_after": '"10s"',
}

STRATEGY_EXAMPLE = {
    "each_stream_max_sub": "100",
    "auto_delete_whip": "60000",
    "auto_delete_whep": "60000",
    "takeover": '"replace"',
    "idle_whep": '"refuse"',
}

ICE_EXAMPLE = {
    "urls": '["turn:turn.example.org:3478"]',
    "username": '"user"',
    "credential": '"password"',
}


WEBHOOK_EXAMPLE = {
    "url": '"https://hooks.example.org/live"',
    "secret": '"at least 32 random characters"',
    "events": '["publishUp", "publishDown"]',
    "timeout": '"5s"',
    "retry_for": '"5m"',
    "max_waiting": "1000",
}


def main() -> None:
    """Write both files."""
    for path, text in files().items():
        path.write_text(text, "utf-8")
        print(f"wrote {path.relative_to(ROOT)}")


def files() -> dict[Path, str]:
    """The files and what is to stand in them."""
    return {
        ROOT / "config" / "live777.toml": sample(),
        ROOT / "docs" / "reference" / "configuration.md": page(),
    }


def sample() -> str:
    """The sample configuration."""
    parts = [
        SAMPLE_HEAD,
        _sample_tables("ice_servers", "server", IceServer, ICE_EXAMPLE),
        _sample_tables("webhook", "URL", Webhook, WEBHOOK_EXAMPLE),
    ]
    for name, section in sections().items():
        lines = [f"# {_first_line(section)}", f"[{name}]"]
        for key, field in section.model_fields.items():
            lines += [f"# {field.description}", f"{key} = {toml(field)}"]
        parts.append("\n".join(lines) + "\n")
    parts.append(_sample_stream())
    return "\n".join(parts)


def page() -> str:
    """The reference page."""
    parts = [PAGE_HEAD]
    for name, section in sections().items():
        parts.append(
            f"## [{name}]\n\n{_first_line(section)}\n\n{_table(name, section)}"
        )
    parts.append(
        f"## [[ice_servers]]\n\n{_first_line(IceServer)}\n\n{ICE_PAGE}\n"
        f"{_table(None, IceServer)}"
    )
    parts.append(
        f"## [[webhook]]\n\n{_first_line(Webhook)}\n\n{WEBHOOK_PAGE}\n{_table(None, Webhook)}"
    )
    parts.append(
        f"## [stream.NAME]\n\n{_first_line(DeclaredStream)}\n\n{STREAM_PAGE}\n"
        f"{_table(None, DeclaredStream)}"
    )
    parts.append(
        f"## [stream.NAME.strategy]\n\n{_first_line(StreamStrategy)}\n\n{STRATEGY_PAGE}\n"
        f"{_table(None, StreamStrategy)}"
    )
    return "\n".join(parts)


def sections() -> dict[str, type[Section]]:
    """The tables of the file."""
    return {
        name: typing.cast("type[Section]", field.annotation)
        for name, field in Config.model_fields.items()
        if isinstance(field.default, Section)
    }


def toml(field: FieldInfo) -> str:
    """A field's default as TOML writes it."""
    default = field.default
    if isinstance(default, bool):
        return "true" if default else "false"
    if isinstance(default, float):
        if 0 < default < 1:
            return f'"{default * 1000:g}ms"'
        return f'"{default:g}s"'
    if _is_size(field):
        return f'"{default // 2**20}MiB"'
    if isinstance(default, int):
        return str(default)
    if isinstance(default, tuple):
        return json.dumps([str(item) for item in default])
    if isinstance(default, SecretStr):
        return '""'
    return json.dumps(str(default))


def _sample_tables(
    name: str, what: str, section: type[Section], example: dict[str, str]
) -> str:
    """An empty array of tables, with one table as a comment."""
    field = Config.model_fields[name]
    lines = [
        f"# {field.description}",
        f"{name} = {toml(field)}",
        f"# Instead of that line, for each {what}:",
        f"# [[{name}]]",
    ]
    for key, inner in section.model_fields.items():
        lines += [f"# # {inner.description}", f"# {key} = {example[key]}"]
    return "\n".join(lines) + "\n"


def _sample_stream() -> str:
    lines = [
        f"# {Config.model_fields['stream'].description}",
        "[stream]",
        "# For each stream:",
        "# [stream.cam]",
    ]
    for key, inner in DeclaredStream.model_fields.items():
        if key in STREAM_EXAMPLE:
            lines += [f"# # {inner.description}", f"# {key} = {STREAM_EXAMPLE[key]}"]
    lines += [
        "# And with those keys that differ from [strategy]:",
        "# [stream.cam.strategy]",
    ]
    for key, inner in StreamStrategy.model_fields.items():
        lines += [f"# # {inner.description}", f"# {key} = {STRATEGY_EXAMPLE[key]}"]
    return "\n".join(lines) + "\n"


def _table(name: str | None, section: type[Section]) -> str:
    rows = ["| Key | Type | Default | Meaning |", "| --- | --- | --- | --- |"]
    for key, field in section.model_fields.items():
        if isinstance(field.default, Section):
            # It has a table of its own.
            continue
        default = _default(field)
        meaning = field.description or ""
        if name is not None:
            meaning += f" Variable `{ENVIRONMENT_PREFIX}{name.upper()}__{key.upper()}`."
        rows.append(f"| `{key}` | {_type(field)} | {default} | {meaning} |")
    return "\n".join(rows) + "\n"


def _default(field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        return "required"
    return "as in [strategy]" if field.default is None else f"`{toml(field)}`"


def _type(field: FieldInfo) -> str:
    annotation: object = field.annotation
    if type(None) in typing.get_args(annotation):
        [annotation] = set(typing.get_args(annotation)) - {type(None)}
        if typing.get_origin(annotation) is typing.Annotated:
            annotation = typing.get_args(annotation)[0]
    if typing.get_origin(annotation) is typing.Literal:
        return " or ".join(f"`{json.dumps(v)}`" for v in typing.get_args(annotation))
    if typing.get_origin(annotation) is tuple:
        return _list_type(annotation)
    if _is_size(field):
        return "size"
    names = {bool: "boolean", int: "number", float: "duration", str: "text"}
    if isinstance(annotation, type) and annotation in names:
        return names[annotation]
    return "text" if annotation is SecretStr else "listen address"


def _list_type(annotation: object) -> str:
    element = typing.get_args(annotation)[0]
    return {
        EventName: "list of events",
        IceUrl: "list of URLs",
        Network: "list of networks",
        Origin: "list of origins",
        RemoteServer: "list of URLs",
        StaticToken: "list of texts",
    }.get(element, "list of addresses")


def _is_size(field: FieldInfo) -> bool:
    return any(
        isinstance(item, BeforeValidator) and item.func is parse_size
        for item in field.metadata
    )


def _first_line(section: type[Section]) -> str:
    return textwrap.dedent(section.__doc__ or "").strip().splitlines()[0]


if __name__ == "__main__":
    main()
