"""What stands before the handlers of every dialect, in its order.

Outermost first: CORS, whose request it is, errors, preflights, rate limits, authentication,
OPTIONS. So an error of any kind has its CORS headers, a flood costs no signature check, and a
browser's preflight, which never has a token, needs none.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from aiohttp import web

from live777py.api import errors, expectations
from live777py.api.auth import Authenticator, FailedAttempts, auth_middleware
from live777py.api.cors import (
    CrossOrigin,
    ResourceHeaders,
    ResourceLinks,
    options_middleware,
    preflight_middleware,
)
from live777py.api.forwarded import client_middleware
from live777py.api.limits import RateLimiter, rate_middleware
from live777py.notation import IpNetwork
from live777py.tokens import Verifier


@dataclass(frozen=True, slots=True)
class Front:
    """Who may come in: shared by all dialects of a server.

    Attributes:
        limiter: how often.
        authenticator: with which token.
        cors: from pages of which origins.
        proxies: who hands on the requests of others.
    """

    limiter: RateLimiter
    authenticator: Authenticator
    cors: CrossOrigin = field(default_factory=CrossOrigin)
    proxies: Sequence[IpNetwork] = ()

    @classmethod
    def of(
        cls,
        verifier: Verifier | None = None,
        *,
        rate_limit: int = 0,
        cors: CrossOrigin | None = None,
        proxies: Sequence[IpNetwork] = (),
    ) -> Front:
        """A front of its parts; without any, everybody may come in.

        Args:
            verifier: knows tokens; None: nobody needs one.
            rate_limit: requests a second of one address; 0: any number.
            cors: the origins; None: all.
            proxies: whose word is taken for the client's address.
        """
        limiter = RateLimiter(rate_limit)
        authenticator = Authenticator(verifier, FailedAttempts(limiter))
        return cls(limiter, authenticator, cors or CrossOrigin(), proxies)

    def application(
        self,
        *,
        render: errors.Render = errors.render,
        overrides: errors.Overrides = lambda _: {},
        resource: ResourceHeaders = lambda _: {},
        links: ResourceLinks = lambda _: (),
        public_paths: Collection[str] = (),
    ) -> web.Application:
        """An application without routes that lets in who may come in.

        Args:
            render, overrides: how the dialect words errors.
            resource, links: what its resources say of themselves to OPTIONS.
            public_paths: that may be read without a token.
        """
        app = web.Application(
            middlewares=[
                client_middleware(self.proxies),
                errors.error_middleware(render, overrides),
                preflight_middleware(self.cors, resource),
                rate_middleware(self.limiter),
                auth_middleware(self.authenticator, public_paths),
                options_middleware(resource, links),
            ]
        )
        self.cors.install(app)
        expectations.install(app)
        return app
