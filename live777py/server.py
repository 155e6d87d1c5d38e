"""The server: opens everything in order, waits, closes everything in reverse."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import signal
import socket
from collections.abc import Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp import web

from live777py.aio import network
from live777py.aio.scope import TaskScope
from live777py.aio.starvation import Starvation
from live777py.api.cors import CrossOrigin
from live777py.api.front import Front
from live777py.api.native import pages
from live777py.api.native.app import create_app
from live777py.clients import jwks
from live777py.clients.admission import AdmissionWebhook
from live777py.clients.jwks import PublishedKeys
from live777py.clients.webhooks import Webhooks
from live777py.config import Auth, Config, DeclaredStream, RemoteServer, Strategy
from live777py.config import Edge as EdgeSettings
from live777py.core.edge import Edge, Origin
from live777py.core.lineage import Node
from live777py.core.live import Live, Policy
from live777py.core.model import Role
from live777py.core.remote import Remote
from live777py.core.stream import StreamPolicy
from live777py.errors import ConfigError, InvalidRemote
from live777py.notation import Listen, join_host_port
from live777py.rtc.engine import Engine
from live777py.tls import Certificate
from live777py.tokens import SECRET_LENGTH, Verifier

logger = logging.getLogger(__name__)

#: Seconds that requests under way may take when the server stops.
HTTP_GRACE = 1.0

#: Signals that stop the server; a second one skips the goodbyes.
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)

BACKLOG = 1024


class Server:
    """One node: media socket, data plane, streams and HTTP.

    Use it as `async with Server(config) as server:`. Entering opens the sockets; leaving refuses
    new sessions, stops listening, says goodbye to every peer and frees everything, in this
    order. `failed()` returns only when an essential part has died. `front` counts who was not
    let in, `webhooks` and `admission` what was told and asked; there is no `admission` where
    nobody is to be asked.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._stack = AsyncExitStack()
        self._engine: Engine
        self._http: socket.socket
        self._background: TaskScope
        self.front: Front
        self._certificate: Certificate | None = None
        self.webhooks: Webhooks
        self.admission: AdmissionWebhook | None = None

    async def __aenter__(self) -> Self:
        config = self._config
        async with AsyncExitStack() as stack:
            self._engine = await stack.enter_async_context(Engine(config.webrtc))
            live = Live(
                self._engine,
                _policy(config),
                Node(config.node.name),
                _edge(config.edge),
            )
            # Outlives the streams: their end is told too.
            self.webhooks = await stack.enter_async_context(
                Webhooks(config.webhook, live.events)
            )
            await stack.enter_async_context(live)
            for name, declared in config.stream.items():
                live.provision(name, _stream_policy(declared.over(config.strategy)))
            self._http = stack.enter_context(_listen(config.http.listen))
            site = await asyncio.to_thread(pages.load)
            background = await stack.enter_async_context(TaskScope())
            self._background = background
            self.front = await _front(config, stack, background)
            if config.admission.url:
                self.admission = await stack.enter_async_context(
                    AdmissionWebhook(config.admission)
                )
            app = create_app(
                live,
                config.strategy,
                config.ice_servers,
                site,
                self.front,
                self.admission,
            )
            if config.http.tls_cert:
                self._certificate = await asyncio.to_thread(
                    Certificate, Path(config.http.tls_cert), Path(config.http.tls_key)
                )
                background.spawn(self._certificate.watch)
            runner = web.AppRunner(
                app,
                access_log=None,
                handle_signals=False,
                shutdown_timeout=HTTP_GRACE,
            )
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            context = self._certificate.context if self._certificate else None
            await web.SockSite(
                runner, self._http, ssl_context=context, backlog=BACKLOG
            ).start()
            _warn_of_strangers(config)
            _begin_cascades(live, config.stream)
            background.spawn(network.watch, live.retry_cascades)
            # Run first when the stack unwinds.
            stack.callback(live.refuse_work)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    @property
    def http_urls(self) -> tuple[str, ...]:
        """Base URLs of the HTTP server, the one for a browser on this machine first."""
        host, port = self._http.getsockname()[:2]
        scheme = "https" if self._certificate else "http"
        if host not in ("::", "0.0.0.0"):  # noqa: S104 - compared, not bound
            return (_url(scheme, host, port),)
        # Only a loopback address is a secure context without TLS: camera and microphone work.
        hosts = dict.fromkeys(["127.0.0.1", *self._engine.hosts])
        return tuple(_url(scheme, host, port) for host in hosts)

    @property
    def has_certificate(self) -> bool:
        """Whether there is one that can be renewed: the server speaks HTTPS."""
        return self._certificate is not None

    def renew_certificate(self) -> None:
        """Load the files of the certificate anew, in the background."""
        if self._certificate is not None:
            self._background.spawn(asyncio.to_thread, self._certificate.renew)

    async def failed(self) -> str:
        """Wait until an essential part has died; returns what happened."""
        return await self._engine.failed()


async def run(config: Config, *, ready: Callable[[Server], None]) -> int:
    """Serve until SIGINT or SIGTERM.

    Args:
        config: what to serve.
        ready: called once everything listens.

    Returns:
        The exit status: 0 after a signal, 1 when an essential part died.

    Raises:
        ConfigError: the configuration does not fit this machine.
        OSError: an address cannot be bound.
    """
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(Starvation())
    stop = asyncio.Event()
    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, stop.set)
    try:
        async with Server(config) as server:
            if server.has_certificate:
                # What renews certificates tells servers so; else SIGHUP ends the process.
                loop.add_signal_handler(signal.SIGHUP, server.renew_certificate)
            ready(server)
            status = await _wait(server, stop)
            # From here a second signal ends the process at once, as the shell's user expects.
            for number in STOP_SIGNALS:
                loop.remove_signal_handler(number)
        return status
    finally:
        for number in (*STOP_SIGNALS, signal.SIGHUP):
            loop.remove_signal_handler(number)


async def _wait(server: Server, stop: asyncio.Event) -> int:
    async with asyncio.TaskGroup() as essentials:
        failed = essentials.create_task(server.failed())
        failed.add_done_callback(lambda _: stop.set())
        await stop.wait()
        failed.cancel()
    if not failed.cancelled():
        logger.error("stopping: %s", failed.result())
        return 1
    logger.info("stopping")
    return 0


def _edge(settings: EdgeSettings) -> Edge | None:
    """What fetches streams for viewers, None where nothing does.

    Raises:
        ConfigError: a URL is too long with a long name in it.
    """
    origins = [Origin(o.url, o.token.get_secret_value()) for o in settings.origins]
    try:
        return Edge(origins, settings.close_after) if origins else None
    except InvalidRemote as error:
        raise ConfigError(f"edge.origins: {error}") from None


def _begin_cascades(live: Live, streams: Mapping[str, DeclaredStream]) -> None:
    """Have streams pulled and pushed as the configuration wants it."""
    for name, declared in streams.items():
        close_after = declared.on_demand_close_after if declared.on_demand else None
        sources = _remotes(declared.sources)
        if sources:
            live.configure_cascade(name, Role.PUBLISH, sources, close_after)
        for target in _remotes(declared.targets):
            live.configure_cascade(name, Role.SUBSCRIBE, (target,))


def _remotes(servers: Iterable[RemoteServer]) -> tuple[Remote, ...]:
    return tuple(Remote.parse(s.url, s.token.get_secret_value()) for s in servers)


def _policy(config: Config) -> Policy:
    return Policy(
        create_on_publish=config.strategy.auto_create_whip,
        create_on_watch=config.strategy.auto_create_whep,
        connect_timeout=config.webrtc.connect_timeout,
        max_sessions=config.webrtc.max_sessions,
        push_ends_viewers=config.strategy.cascade_push_close_sub,
        stream=_stream_policy(config.strategy),
    )


def _stream_policy(strategy: Strategy) -> StreamPolicy:
    return StreamPolicy(
        max_viewers=strategy.each_stream_max_sub,
        delete_unpublished=_patience(strategy.auto_delete_whip),
        delete_unwatched=_patience(strategy.auto_delete_whep),
        replace_publisher=strategy.takeover == "replace",
        refuse_waiting=strategy.idle_whep == "refuse",
    )


def _patience(milliseconds: int) -> float | None:
    return None if milliseconds < 0 else milliseconds / 1000


def _listen(listen: Listen) -> socket.socket:
    """A TCP socket; for the IPv6 wildcard one that serves IPv4 too, or alone if need be."""
    host = listen.host
    if host == "::" and not socket.has_dualstack_ipv6():
        host = "0.0.0.0"  # noqa: S104 - the IPv4 half of the configured wildcard
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with contextlib.ExitStack() as stack:
        sock = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            only = 0 if host == "::" else 1
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)
        sock.setblocking(False)
        try:
            sock.bind((host, listen.port))
        except OSError as error:
            reason = error.strerror or str(error)
            raise OSError(
                error.errno, f"cannot listen on [http] listen = {listen}: {reason}"
            ) from error
        stack.pop_all()
    return sock


def _url(scheme: str, host: str, port: int) -> str:
    return f"{scheme}://{join_host_port(host, port)}"


async def _front(config: Config, stack: AsyncExitStack, background: TaskScope) -> Front:
    """Who may come in, by the configuration.

    Args:
        config: the whole, of which this takes [auth] and [http].
        stack: closes the client that fetches keys.
        background: in which they are fetched.
    """
    auth = config.auth
    verifier: Verifier | None = None
    if not auth.is_open:
        secret = auth.secret.get_secret_value()
        if 0 < len(secret) < SECRET_LENGTH:
            logger.warning(
                "[auth] secret has %d characters: with fewer than %d it can be guessed "
                "from any token",
                len(secret),
                SECRET_LENGTH,
            )
        verifier = Verifier(
            [token.get_secret_value() for token in auth.tokens],
            secret,
            await _published_keys(auth, stack, background),
            audience=auth.audience,
            issuer=auth.issuer,
        )
    http = config.http
    return Front.of(
        verifier,
        rate_limit=http.rate_limit,
        cors=CrossOrigin(http.cors),
        proxies=http.trusted_proxies,
    )


async def _published_keys(
    auth: Auth, stack: AsyncExitStack, background: TaskScope
) -> PublishedKeys | None:
    if auth.jwks_file:
        file = Path(auth.jwks_file)
        await jwks.check_file(file)
        keys = PublishedKeys(jwks.from_file(file), auth.jwks_file)
    elif auth.jwks_url:
        if auth.jwks_url.startswith("http://"):
            logger.warning(
                "[auth] jwks_url is not https: who can change its answer on the way may "
                "do everything here"
            )
        http = await stack.enter_async_context(aiohttp.ClientSession())
        keys = PublishedKeys(jwks.from_url(http, auth.jwks_url), auth.jwks_url)
    else:
        return None
    background.spawn(keys.run)
    return keys


def _warn_of_strangers(config: Config) -> None:
    """Say once that everybody may do everything, where not only this machine can ask."""
    listen = config.http.listen
    is_loopback = ipaddress.ip_address(listen.host).is_loopback
    # A proxy on this machine is there for others.
    reachable = not is_loopback or bool(config.http.trusted_proxies)
    if config.auth.is_open and reachable:
        logger.warning(
            "no authentication: whoever reaches %s may publish, watch and end sessions. "
            "Set [auth] tokens or secret%s",
            listen,
            "" if is_loopback else ", or listen on 127.0.0.1",
        )
