"""What can go wrong, in the words of the domain.

Every error that a caller may cause or meet derives from `LiveError`. The second rank is closed:
six classes, each of which every HTTP dialect maps to a status. The third rank is open: a class
whenever a caller, a log line or a test wants to tell two cases apart.

LiveError
├─ NotFound
│  ├─ StreamNotFound
│  ├─ SessionNotFound
│  ├─ CascadeNotFound
│  └─ NotAtOrigin
├─ Conflict
│  ├─ AlreadyPublishing, TakeoverPending, NotPublished
│  ├─ StreamExists, StreamProvisioned
│  ├─ NotAViewer, NoLayers, NoAnswerAwaited, StaleVersion
│  └─ PullExists, CascadeConfigured, Loop ─ TooManyHops
├─ Invalid
│  ├─ InvalidName, InvalidBody, InvalidRemote
│  ├─ InvalidOffer ─ UnusableOffer
│  ├─ InvalidAnswer, InvalidFragment, VersionRequired
│  └─ UnsupportedCodec
├─ NotAuthenticated
│  ├─ MissingToken
│  └─ BadToken
├─ Denied ─ NotPermitted
└─ Unavailable
   ├─ AtCapacity
   ├─ BadGateway, GatewayTimeout
   └─ ShuttingDown

A leaf that one part alone raises stands in that part: `rtc/outgoing.py` and `clients/` have such.

`ConfigError` stands apart: it ends the command before there is anybody to answer.
"""

from __future__ import annotations


class LiveError(Exception):
    """The root of all errors of the domain.

    Attributes:
        code: stable, and fit for logs and APIs.
        retry_after: seconds after which the same request may succeed, None where time alone
            does not help.
    """

    code = "error"
    retry_after: float | None = None


class NotFound(LiveError):
    """What was asked for does not exist."""

    code = "not_found"


class StreamNotFound(NotFound):
    """No stream has this name."""

    code = "stream_not_found"

    def __init__(self, stream: str) -> None:
        super().__init__(
            f"stream {stream!r} does not exist: publish to it first, or let viewers "
            "create it with [strategy] auto_create_whep = true"
        )
        self.stream = stream


class SessionNotFound(NotFound):
    """No session has this id, or it belongs to another stream."""

    code = "session_not_found"

    def __init__(self, stream: str, session: str) -> None:
        super().__init__(
            "session does not exist: it has ended, or the URL is not the one that "
            "the Location header gave"
        )
        self.stream = stream
        self.session = session


class CascadeNotFound(NotFound):
    """No cascade has this id, or it belongs to another stream."""

    code = "cascade_not_found"

    def __init__(self, stream: str, cascade: str) -> None:
        super().__init__(
            "cascade does not exist: it was deleted, or the URL is not the one that the "
            "Location header gave"
        )
        self.stream = stream
        self.cascade = cascade


class NotAtOrigin(NotFound):
    """An edge's viewer wants a stream that no origin has."""

    code = "not_at_origin"
    retry_after: float | None = 2

    def __init__(self, stream: str) -> None:
        super().__init__(
            f"nobody publishes stream {stream!r} at the moment, neither here nor at an origin: "
            "try again later"
        )
        self.stream = stream


class Conflict(LiveError):
    """The request is fine but the state of the stream does not allow it."""

    code = "conflict"


class AlreadyPublishing(Conflict):
    """A second publisher for a stream that has one."""

    code = "already_publishing"

    def __init__(self, stream: str) -> None:
        super().__init__(
            f"stream {stream!r} already has a publisher: end that session (DELETE), "
            "or publish under another name"
        )
        self.stream = stream


class TakeoverPending(Conflict):
    """A publisher is about to take another one's place."""

    code = "takeover_pending"
    retry_after: float | None = 2

    def __init__(self, stream: str) -> None:
        super().__init__(
            f"another publisher is just taking over stream {stream!r}: try again in a moment"
        )
        self.stream = stream


class StreamExists(Conflict):
    """A stream of this name exists."""

    code = "stream_exists"

    def __init__(self, stream: str) -> None:
        super().__init__(
            f"stream {stream!r} exists already: publish to it, or delete it first"
        )
        self.stream = stream


class StreamProvisioned(Conflict):
    """The configuration declares this stream."""

    code = "stream_provisioned"

    def __init__(self, stream: str) -> None:
        super().__init__(
            f"stream {stream!r} is declared in the configuration: change it there"
        )
        self.stream = stream


class NotPublished(Conflict):
    """A stream has no publisher, and who asked does not want to wait for one."""

    code = "not_published"
    retry_after: float | None = 2

    def __init__(self, stream: str) -> None:
        super().__init__(
            f"nobody publishes stream {stream!r} at the moment: try again later"
        )
        self.stream = stream


class NotAViewer(Conflict):
    """Only what a viewer is sent can be muted, or be another layer."""

    code = "not_a_viewer"

    def __init__(self) -> None:
        super().__init__(
            "this is a publisher's session: only what a viewer is sent can be changed"
        )


class NoLayers(Conflict):
    """A layer of something that has none was to be chosen."""

    code = "no_layers"

    def __init__(self) -> None:
        super().__init__(
            "the publisher sends no layers (simulcast): there is nothing to choose"
        )


class NoAnswerAwaited(Conflict):
    """A session was sent an SDP answer to no offer of ours."""

    code = "no_answer_awaited"

    def __init__(self) -> None:
        super().__init__(
            "this session awaits no SDP answer: to change it, DELETE it and POST anew"
        )


class StaleVersion(Conflict):
    """A request was meant for ICE credentials that are no longer, or not yet, the session's."""

    code = "stale_version"

    def __init__(self) -> None:
        super().__init__(
            "If-Match is not the session's current ETag: its ICE has been restarted"
        )


class PullExists(Conflict):
    """A stream that is fed by a cascade, or is about to be."""

    code = "pull_exists"

    def __init__(self, stream: str) -> None:
        super().__init__(
            f"stream {stream!r} is pulled from another server already: delete that cascade first"
        )
        self.stream = stream


class CascadeConfigured(Conflict):
    """The configuration declares this cascade."""

    code = "cascade_configured"

    def __init__(self, stream: str) -> None:
        super().__init__(
            f"this cascade is declared in the configuration: take it out of [stream.{stream}]"
        )
        self.stream = stream


class Loop(Conflict):
    """A cascade that leads back to its own stream.

    Attributes:
        path: that leads back, in words.
        via: the same for programs.
    """

    code = "loop"

    def __init__(self, path: str, via: str = "") -> None:
        super().__init__(
            f"this cascade is a loop, the stream would feed itself: {path}"
        )
        self.path = path
        self.via = via


class TooManyHops(Loop):
    """A cascade of a stream that has come through too many nodes: most likely a loop."""

    code = "too_many_hops"

    def __init__(self, path: str, via: str = "") -> None:
        LiveError.__init__(
            self, f"the stream has come through as many nodes as it may: {path}"
        )
        self.path = path
        self.via = via


class Invalid(LiveError):
    """What was sent cannot be used; the message says what and why."""

    code = "invalid"


class InvalidName(Invalid):
    """A stream name that is empty, too long or not UTF-8."""

    code = "invalid_name"


class InvalidOffer(Invalid):
    """An SDP offer that is malformed or lacks something that WebRTC needs."""

    code = "invalid_offer"


class UnusableOffer(InvalidOffer):
    """A well-formed offer that asks for something this side of WHIP or WHEP cannot be."""

    code = "unusable_offer"


class InvalidFragment(Invalid):
    """An SDP fragment (RFC 8840) that is malformed."""

    code = "invalid_fragment"


class InvalidAnswer(Invalid):
    """An SDP answer that is malformed or does not fit the offer."""

    code = "invalid_answer"


class InvalidBody(Invalid):
    """A JSON body of the wrong shape."""

    code = "invalid_body"


class InvalidRemote(Invalid):
    """The URL or the token of another server's stream cannot be used."""

    code = "invalid_remote"


class VersionRequired(Invalid):
    """A request does not say for which ICE credentials it is meant."""

    code = "version_required"

    def __init__(self) -> None:
        super().__init__(
            "If-Match is missing: send the ETag of the session, or * to restart ICE"
        )


class UnsupportedCodec(Invalid):
    """No codec in common; the message names what both sides have."""

    code = "unsupported_codec"


class NotAuthenticated(LiveError):
    """Nobody, or not who they say they are."""

    code = "not_authenticated"


class MissingToken(NotAuthenticated):
    """There is no token where one is needed."""

    code = "missing_token"

    def __init__(self) -> None:
        super().__init__(
            "a token is needed: send it as Authorization: Bearer TOKEN, or as ?token=TOKEN "
            "where only a URL can be set"
        )


class BadToken(NotAuthenticated):
    """There is a token that is not valid; the message says why and never quotes it."""

    code = "bad_token"


class Denied(LiveError):
    """Known, but not allowed to do this."""

    code = "denied"


class NotPermitted(Denied):
    """The token is good, but not for this."""

    code = "not_permitted"

    def __init__(self, right: str, stream: str) -> None:
        where = "the whole node" if stream == "*" else f"stream {stream!r}"
        super().__init__(
            f"the token lacks the right to {right.lower()} {where}: ask for one that has it"
        )
        self.right = right
        self.stream = stream


class Unavailable(LiveError):
    """Not now; the same request may succeed later."""

    code = "unavailable"
    retry_after: float | None = 2


class AtCapacity(Unavailable):
    """A bound is reached, of the configuration or of the system."""

    code = "at_capacity"


class BadGateway(Unavailable):
    """Another server answered with something else than a session; the text has its words.

    Attributes:
        status: of its answer.
        body: of its answer, cut.
    """

    code = "bad_gateway"
    retry_after: float | None = None

    def __init__(
        self,
        message: str,
        status: int,
        body: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body = body
        self.retry_after = retry_after


class GatewayTimeout(Unavailable):
    """Another server did not answer, or not in time."""

    code = "gateway_timeout"


class ShuttingDown(Unavailable):
    """The server is about to stop."""

    code = "shutting_down"

    def __init__(self) -> None:
        super().__init__("the server is shutting down: try again in a moment")


class ConfigError(Exception):
    """The configuration is wrong; each of `faults` is one line for the person who wrote it."""

    def __init__(self, *faults: str) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults
