"""Link headers: ICE servers and extensions (RFC 9725 sections 4.6 and 4.9)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from aiohttp import web

from live777py.config import IceServer

LINKS = web.AppKey("links", tuple[str, ...])

#: The extension by which a server tells a viewer what happens to its stream.
SERVER_SENT_EVENTS = "urn:ietf:params:whep:ext:core:server-sent-events"


def ice_links(servers: Sequence[IceServer]) -> tuple[str, ...]:
    """One Link a URL, and the URL bare: OBS reads no other form."""
    return tuple(link for server in servers for link in _links_of(server))


def _links_of(server: IceServer) -> list[str]:
    parameters = '; rel="ice-server"'
    if server.username:
        parameters += f"; username={quoted(server.username)}"
        parameters += f"; credential={quoted(server.credential.get_secret_value())}"
        parameters += '; credential-type="password"'
    return [f"<{url}>{parameters}" for url in server.urls]


def extension_link(path: str, relation: str, **parameters: str) -> str:
    """The Link of an extension's resource."""
    text = f'<{path}>; rel="{relation}"'
    return text + "".join(f"; {k}={quoted(v)}" for k, v in parameters.items())


def quoted(text: str) -> str:
    """A quoted-string (RFC 9110 section 5.6.4)."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def add_links(response: web.Response, links: Iterable[str]) -> None:
    """Add each as a header of its own: some clients read no list."""
    for link in links:
        response.headers.add("Link", link)
