"""How sessions begin and end, as series; they are told as events."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram

from live777py.core.events import Event, Events, EventType
from live777py.core.model import Role

#: Seconds of a session's POST to its connection.
JOIN_BOUNDS = (
    # Clients that are close by.
    *(0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75),
    # Those that are far away or lose packets; after 30 s nobody joins any more.
    *(1.0, 1.5, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0, 30.0),
)

#: Why a DTLS handshake fails, behind `dtls_` in the cause of an event.
DTLS_CAUSES = (
    "closed",
    "fingerprint",
    "protocol",
    "srtp_profile",
    "timeout",
)

#: Why sessions end.
CAUSES = (
    "closed",
    "codec_changed",
    "connect_failed",
    "deleted",
    *(f"dtls_{cause}" for cause in DTLS_CAUSES),
    "ended",
    "ice_timeout",
    "internal_error",
    "loop",
    "no_media",
    "not_answered",
    "pushed",
    "replaced",
    "silent",
    "stopped",
    "stream_deleted",
    "stream_expired",
    "too_many_files",
    "too_many_hops",
    "unwatched",
)

#: The label of a cause that is none of these.
OTHER = "other"

_UP = {EventType.PUBLISH_UP, EventType.SUBSCRIBE_UP}
_DOWN = {EventType.PUBLISH_DOWN, EventType.SUBSCRIBE_DOWN, EventType.SESSION_FAILED}


class SessionSeries:
    """Counts what it is told."""

    def __init__(self, events: Events, registry: CollectorRegistry) -> None:
        self._joined = Histogram(
            "live777_join_seconds",
            "From a session's POST to its connection.",
            ["role"],
            buckets=JOIN_BOUNDS,
            registry=registry,
        )
        self._ended = Counter(
            "live777_sessions_ended",
            "Sessions that have ended, or never were connected.",
            ["role", "cause"],
            registry=registry,
        )
        self._dtls = Counter(
            "live777_dtls_failures",
            "DTLS handshakes that failed.",
            ["cause"],
            registry=registry,
        )
        # A series that begins at 1 shows no increase.
        for role in Role:
            self._joined.labels(role.value)
            for cause in CAUSES:
                self._ended.labels(role.value, cause)
        for cause in DTLS_CAUSES:
            self._dtls.labels(cause)
        events.listen(self.told)

    def told(self, event: Event) -> None:
        """Count an event."""
        if event.role is None:
            return
        if event.type in _UP:
            self._joined.labels(event.role.value).observe(event.elapsed)
        elif event.type in _DOWN:
            cause = event.cause if event.cause in CAUSES else OTHER
            self._ended.labels(event.role.value, cause).inc()
            kind, _, failure = cause.partition("_")
            if kind == "dtls":
                self._dtls.labels(failure).inc()
