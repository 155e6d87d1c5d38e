"""The pages: static files of `live777py/web`, read once at start."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from importlib import resources
from importlib.resources.abc import Traversable

from aiohttp import web
from aiohttp.typedefs import Handler

#: What a page may load: files of this server; and connect to: any WHIP or WHEP server, since
#: the pages may be pointed at another node.
CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'self'",
        "connect-src *",
        "media-src 'self' blob: mediastream:",
        "img-src 'self' data:",
        "base-uri 'none'",
        "form-action 'self'",
        "object-src 'none'",
    ]
)

CONTENT_TYPES = {
    "css": "text/css",
    "html": "text/html",
    "ico": "image/x-icon",
    "js": "text/javascript",
    "svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class Page:
    """One file, ready to be sent."""

    body: bytes
    content_type: str
    etag: str


#: Pages by URL path.
Site = Mapping[str, Page]


def load() -> Site:
    """All files of `live777py/web`; `index.html` is also `/`. Blocks while it reads."""
    found: dict[str, Page] = {}
    _collect(resources.files("live777py") / "web", "", found)
    found["/"] = found["/index.html"]
    return found


def _collect(folder: Traversable, prefix: str, found: dict[str, Page]) -> None:
    for item in folder.iterdir():
        path = f"{prefix}/{item.name}"
        if item.is_dir():
            _collect(item, path, found)
        elif content_type := CONTENT_TYPES.get(item.name.rpartition(".")[2]):
            body = item.read_bytes()
            etag = hashlib.sha256(body).hexdigest()[:16]
            found[path] = Page(body, content_type, etag)


def add_routes(app: web.Application, site: Site) -> None:
    """Serve every file under its own path."""
    for path, page in site.items():
        app.router.add_get(path, _handler(page))


def _handler(page: Page) -> Handler:
    async def serve(request: web.Request) -> web.Response:
        headers = {
            "Cache-Control": "no-cache",
            "Content-Security-Policy": CONTENT_SECURITY_POLICY,
            "ETag": f'"{page.etag}"',
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        }
        if any(tag.value in (page.etag, "*") for tag in request.if_none_match or ()):
            return web.Response(status=HTTPStatus.NOT_MODIFIED, headers=headers)
        return web.Response(
            body=page.body,
            content_type=page.content_type,
            charset="utf-8",
            headers=headers,
        )

    return serve
