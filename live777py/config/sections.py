"""The tables of the file: every key with its default, its bounds and its documentation."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    model_validator,
)

from live777py.config.values import (
    Buffer,
    Count,
    EventName,
    Flag,
    HookUrl,
    HookUrlOrNone,
    IceUrls,
    IdleWhep,
    JwksUrl,
    Level,
    ListenAddress,
    LocalAddress,
    Network,
    NodeName,
    Origins,
    Patience,
    PublicAddress,
    RemoteUrl,
    Seconds,
    Secret,
    StaticToken,
    Takeover,
    Timeout,
)
from live777py.notation import Listen, parse_remote


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

    connect_timeout: Timeout = 15.0
    """A session that is not connected after this time ends."""

    idle_timeout: Timeout = 30.0
    """A peer that sent nothing authentic for this time is gone."""

    max_sessions: Annotated[Count, Field(ge=1, le=1_000_000)] = 4096
    """Publishers and viewers of all streams together; more are answered 503."""

    receive_buffer: Buffer = 4 * 1024**2
    """Receive buffer that is asked of the kernel (net.core.rmem_max bounds it)."""

    send_buffer: Buffer = 4 * 1024**2
    """Send buffer that is asked of the kernel (net.core.wmem_max bounds it)."""

    gso: Flag = True
    """Send runs of packets by UDP generic segmentation offload where there is one."""

    coalesce: Annotated[Seconds, Field(ge=0, le=0.02)] = 0.0005
    """Packets gather for so long before they are forwarded together; 0 waits for none."""

    threads: Annotated[Count, Field(ge=-1, le=64)] = -1
    """Threads for media packets: -1 for one a usable CPU, at most 4; 0 for the event loop alone."""


class IceServer(Section):
    """A STUN or TURN server that clients are told to use (in Link headers)."""

    urls: IceUrls
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

    timeout: Timeout = 5.0
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

    timeout: Timeout = 3.0
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

    auto_delete_whip: Patience = -1
    """Milliseconds after which a stream is deleted whose publisher has left; -1 for never."""

    auto_delete_whep: Patience = -1
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

    auto_delete_whip: Patience | None = None
    """Milliseconds after which its viewers are disconnected when its publisher has left."""

    auto_delete_whep: Patience | None = None
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

    level: Level = "info"
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
