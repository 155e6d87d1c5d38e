"""live777's HTTP API: WHIP and WHEP endpoints, sessions, streams, the node, the pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus

from aiohttp import web

from live777py.api.front import Front
from live777py.api.metrics.registry import Metrics
from live777py.api.native import (
    cascades,
    endpoints,
    feeds,
    layers,
    metrics,
    node,
    openapi,
    pages,
    sessions,
    streams,
    watching,
)
from live777py.api.native.callers import ADMISSION, LIVE
from live777py.api.native.links import LINKS, ice_links
from live777py.config import IceServer, Strategy
from live777py.core.access import Admission
from live777py.core.live import Live
from live777py.errors import (
    BadGateway,
    GatewayTimeout,
    InvalidBody,
    LiveError,
    Loop,
    StaleVersion,
    UnsupportedCodec,
    UnusableOffer,
    VersionRequired,
)

#: Where the standards have a more precise word than the common table (RFC 9725 sections 4.3.1
#: and 4.4.3, RFC 6585 section 3).
STATUSES: dict[type[LiveError], HTTPStatus] = {
    StaleVersion: HTTPStatus.PRECONDITION_FAILED,
    VersionRequired: HTTPStatus.PRECONDITION_REQUIRED,
    InvalidBody: HTTPStatus.UNPROCESSABLE_ENTITY,
    UnsupportedCodec: HTTPStatus.UNPROCESSABLE_ENTITY,
    UnusableOffer: HTTPStatus.UNPROCESSABLE_ENTITY,
    BadGateway: HTTPStatus.BAD_GATEWAY,
    GatewayTimeout: HTTPStatus.GATEWAY_TIMEOUT,
    # RFC 5842 section 7.2.
    Loop: HTTPStatus.LOOP_DETECTED,
}
#: WHEP says that nothing acceptable can be sent (draft-ietf-wish-whep-03 section 4.3.2).
WHEP_STATUSES = {**STATUSES, UnsupportedCodec: HTTPStatus.NOT_ACCEPTABLE}


def create_app(
    live: Live,
    strategy: Strategy,
    ice_servers: Sequence[IceServer],
    site: pages.Site,
    front: Front,
    admission: Admission | None = None,
) -> web.Application:
    """The application: the API and the pages.

    Args:
        live: what the handlers call.
        strategy: shown to those who ask.
        ice_servers: handed to WHIP and WHEP clients in Link headers.
        site: the pages.
        front: who may come in.
        admission: asked before sessions begin.
    """
    app = front.application(
        overrides=overrides,
        resource=endpoints.resource_headers,
        links=endpoints.option_links,
        public_paths=frozenset({*site, *node.HEALTH_PATHS, openapi.PATH}),
    )
    app[LIVE] = live
    app[node.STRATEGY] = strategy
    app[LINKS] = ice_links(ice_servers)
    app[ADMISSION] = () if admission is None else (admission,)
    for part in (
        endpoints,
        sessions,
        layers,
        watching,
        streams,
        cascades,
        feeds,
        node,
        openapi,
    ):
        part.add_routes(app)
    counted = Metrics(
        live,
        auth_failures=lambda: front.authenticator.failures.total,
        rate_limited=lambda: front.limiter.refused,
    )
    metrics.install(app, counted)
    pages.add_routes(app, site)
    return app


def overrides(request: web.Request) -> Mapping[type[LiveError], HTTPStatus]:
    """The statuses in which WHIP and WHEP differ from the common table."""
    return WHEP_STATUSES if request.path.startswith("/whep/") else STATUSES
