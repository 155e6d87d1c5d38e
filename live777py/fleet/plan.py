"""What a fleet's file means: a configuration for every node; pure, from text to text.

This module opens nothing: the numbers of free ports are given to it.
"""

from __future__ import annotations

import copy
import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import tomli

from live777py.errors import ConfigError
from live777py.fleet import toml
from live777py.notation import Listen, join_host_port, parse_listen

#: Nodes of a fleet: each is a process with a few threads.
MAX_NODES = 64

#: Where nodes are, unless their tables say otherwise.
LOOPBACK = "127.0.0.1"

#: What is started without a file.
EXAMPLE = """\
# An origin and two edges: publish at the origin, watch at the edges.

[node.origin]

[node.edge-1.edge]
origins = ["${origin.url}"]

[node.edge-2.edge]
origins = ["${origin.url}"]
"""

#: Names are those of files, stand in references, and are the nodes' own ([node] name).
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,23}", re.ASCII)

#: `$${` is an escaped `${`; anything else between braces is a reference.
_REFERENCE = re.compile(r"\$\$\{|\$\{([^{}]*)\}")

_WILDCARDS = {"::": LOOPBACK, "0.0.0.0": LOOPBACK}  # noqa: S104 - compared, not bound

Table = dict[str, Any]


@dataclass(frozen=True, slots=True)
class PlannedNode:
    """A node that can be started.

    Attributes:
        name: in the file.
        url: base URL of its HTTP server, for a client on this machine.
        http: address and TCP port that it listens on.
        media: address and UDP port that it listens on.
        text: its configuration, in TOML.
    """

    name: str
    url: str
    http: Listen
    media: Listen
    text: str


@dataclass(frozen=True, slots=True)
class Plan:
    """A fleet that can be started.

    Attributes:
        where: what was read, for messages.
        nodes: in the order of the file.
    """

    where: str
    nodes: tuple[PlannedNode, ...]


def make(text: str, where: str, ports: Iterator[int]) -> Plan:
    """The plan for a fleet's file.

    Args:
        text: the file's.
        where: its name, for messages.
        ports: numbers of ports that are free for TCP and for UDP, each given once.

    Raises:
        ConfigError: with one line for every fault; the nodes' own keys are not looked at.
    """
    try:
        data = tomli.loads(text)
    except (tomli.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{where}: is not valid TOML: {error}") from None
    faults: list[str] = []
    tables = _tables(data, faults.append)
    for name, table in tables.items():
        if isinstance(table.setdefault("node", {}), dict):
            table["node"].setdefault("name", name)
    listening = {
        name: _give_addresses(name, table, ports, faults.append)
        for name, table in tables.items()
    }
    _refuse_sharing(listening, faults.append)
    urls = {
        name: _url(tables[name], addresses[0]) for name, addresses in listening.items()
    }
    texts: dict[str, str] = {}
    for name, table in tables.items():
        filled = _fill(table, f"node.{name}", urls, faults.append)
        texts[name] = toml.dumps(filled)
    if faults:
        raise ConfigError(*(f"{where}: {fault}" for fault in faults))
    return Plan(
        where,
        tuple(
            PlannedNode(name, urls[name], *listening[name], texts[name])
            for name in tables
        ),
    )


def _tables(data: Table, fault: Callable[[str], None]) -> dict[str, Table]:
    """The configuration of every node: what is common, and its own over that."""
    for key in sorted(data.keys() - {"common", "node"}):
        fault(f"{key}: unknown table: there are [common] and [node.NAME]")
    common, nodes = data.get("common", {}), data.get("node", {})
    if not isinstance(common, dict):
        fault("common: must be a table")
        common = {}
    if not isinstance(nodes, dict) or not nodes:
        fault("node: is required: write [node.NAME] for each of the nodes")
        return {}
    if len(nodes) > MAX_NODES:
        fault(f"node: has {len(nodes)} nodes, {MAX_NODES} are possible")
        return {}
    found: dict[str, Table] = {}
    for name, own in nodes.items():
        if not _NAME.fullmatch(name):
            fault(
                f"node.{name}: is no name: letters, digits, - and _, 24 of them at most"
            )
        elif not isinstance(own, dict):
            fault(f"node.{name}: must be a table")
        else:
            found[name] = _merged(common, own)
    return found


def _merged(below: Table, above: Table) -> Table:
    """Tables are merged key by key; anything else that is above stands instead."""
    merged = copy.deepcopy(below)
    for key, value in above.items():
        under = merged.get(key)
        if isinstance(under, dict) and isinstance(value, dict):
            merged[key] = _merged(under, value)
        else:
            merged[key] = copy.deepcopy(value)
    return merged


def _give_addresses(
    name: str, table: Table, ports: Iterator[int], fault: Callable[[str], None]
) -> tuple[Listen, Listen]:
    """Where a node listens, put into its table; one free number serves TCP and UDP."""
    port = 0
    found = []
    for key in ("http", "webrtc"):
        section = table.setdefault(key, {})
        listen = Listen(LOOPBACK, 0)
        if not isinstance(section, dict):
            # Its own validation has the words for that.
            found.append(listen)
            continue
        if "listen" in section:
            try:
                listen = parse_listen(section["listen"])
            except ValueError as error:
                fault(f"node.{name}.{key}.listen: {error}")
        elif key == "webrtc":
            section.setdefault("addresses", [LOOPBACK])
        if listen.port == 0:
            port = port or next(ports)
            listen = Listen(listen.host, port)
        section["listen"] = str(listen)
        found.append(listen)
    return found[0], found[1]


def _refuse_sharing(
    listening: Mapping[str, tuple[Listen, Listen]], fault: Callable[[str], None]
) -> None:
    for index, key in enumerate(("http", "webrtc")):
        takers: dict[Listen, str] = {}
        for name, addresses in listening.items():
            listen = addresses[index]
            if listen.port == 0:
                continue
            first = takers.setdefault(listen, name)
            if first != name:
                fault(
                    f"node.{name}.{key}.listen: {listen} is that of {first} too: leave it "
                    "out, and a free port is chosen for each"
                )


def _url(table: Table, listen: Listen) -> str:
    http = table["http"]
    scheme = "https" if isinstance(http, dict) and http.get("tls_cert") else "http"
    host = _WILDCARDS.get(listen.host, listen.host)
    return f"{scheme}://{join_host_port(host, listen.port)}"


def _fill(
    value: Any, key: str, urls: Mapping[str, str], fault: Callable[[str], None]
) -> Any:
    """A value in which references stand for what they refer to.

    Args:
        value: of a TOML file, of whatever type.
        key: where it stands.
        urls: of the nodes, by name.
        fault: is told what cannot be referred to.
    """
    match value:
        case dict():
            return {
                name: _fill(inner, f"{key}.{name}", urls, fault)
                for name, inner in value.items()
            }
        case list():
            return [
                _fill(inner, f"{key}.{number}", urls, fault)
                for number, inner in enumerate(value)
            ]
        case str():
            return _REFERENCE.sub(
                lambda found: _referred(found, key, urls, fault), value
            )
        case _:
            return value


def _referred(
    found: re.Match[str],
    key: str,
    urls: Mapping[str, str],
    fault: Callable[[str], None],
) -> str:
    inside = found[1]
    if inside is None:
        return "${"
    name, _, what = inside.partition(".")
    if name not in urls:
        close = difflib.get_close_matches(name, urls, n=1)
        meant = f", did you mean ${{{close[0]}.url}}?" if close else ""
        fault(f"{key}: {found[0]} refers to no node of this file{meant}")
    elif what != "url":
        fault(
            f"{key}: {found[0]} is unknown: write ${{{name}.url}}, or $${{ for a literal ${{"
        )
    else:
        return urls[name]
    return found[0]
