"""A stream's publisher that is another server: we watch there, by WHEP."""

from __future__ import annotations

import asyncio
import time

from live777py.clients.sdp_session import SdpClient
from live777py.clients.whep import WhepClient
from live777py.core.remote import Remote
from live777py.protocol.codecs import Kind
from live777py.protocol.extensions import Extension
from live777py.protocol.headers import SEEN
from live777py.rtc.negotiation import ReceivedMedia
from live777py.rtc.outgoing_offer import AnsweredMedia, OutgoingMedia
from live777py.rtc.peer import NANOSECONDS, Resources
from live777py.rtc.publisher import Publisher
from live777py.rtc.publisher_answer import REMB, TRANSPORT_CC
from live777py.rtc.remote import OpenedPeer
from live777py.rtc.tracks import StreamTracks
from live777py.rtc.watched import pulled

#: Seconds between two looks at which codec comes, until one does: at first, while viewers wait
#: for a picture, and then, when nobody may be publishing there for hours.
SETTLE = 0.02
SETTLE_SLOWLY = 0.2
#: Looks after which it is done slowly.
EAGER_LOOKS = 150

#: So many looks may pass between the first packet of one kind and that of the other.
SETTLE_LOOKS = 15


class Source(OpenedPeer, Publisher):
    """Takes a stream from another server's WHEP endpoint."""

    _verb = "sends"

    def __init__(
        self, resources: Resources, tracks: StreamTracks, remote: Remote
    ) -> None:
        super().__init__(resources, tracks, remote)
        self._sections: dict[Kind, AnsweredMedia] = {}
        #: Payload types of what has come and is forwarded.
        self._settled: dict[Kind, int] = {}
        #: Looks at which codec comes, and those of them that found one.
        self._looks = 0
        self._findings = 0
        self._settle_timer: asyncio.TimerHandle | None = None

    @property
    def media_silence(self) -> float:
        """Seconds since media came, or was promised; 0 before that."""
        if not self._started:
            return 0.0
        arrivals = (stats.last_arrival for stats in self._stats().values())
        return (time.monotonic_ns() - max([self._started, *arrivals])) / NANOSECONDS

    def _new_client(self, token: str | None, headers: dict[str, str]) -> SdpClient:
        return WhepClient(token, headers=headers, takes_offers=True)

    async def _to_offer(self) -> tuple[OutgoingMedia, ...]:
        return pulled()

    def _headers(self) -> dict[str, str]:
        headers = super()._headers()
        seen_ago = self._tracks.seen_ago
        if seen_ago is not None:
            # Or the key frame that it keeps would bring old pictures back for a moment.
            headers[SEEN] = f"{seen_ago:.3f}"
        return headers

    def _prepare(self) -> None:
        answer = self._answered
        for section in answer.media:
            if section.is_accepted:
                self._sections[section.kind] = section
                self._expect(_received(section, next(iter(section.codecs))))
        self._may_reduce = answer.rtcp_rsize
        super()._prepare()

    def _bind(self, media: ReceivedMedia) -> None:
        # A server where nobody publishes, and many where somebody does, answer with all that
        # they may send one day.
        section = self._sections[media.kind]
        for payload_type in section.codecs:
            super()._bind(_received(section, payload_type))

    def _take_over(self, media: tuple[ReceivedMedia, ...]) -> None:
        # An answer is no promise: MediaMTX's has a sound track beside every picture.
        self._settle_timer = self._loop.call_later(SETTLE, self._wait_for_media)

    def _leave(self) -> None:
        if self._settle_timer is not None:
            self._settle_timer.cancel()
            self._settle_timer = None
        super()._leave()

    def _look(self, silent: float) -> None:
        super()._look(silent)
        if self._settled:
            self._settle()

    def _wait_for_media(self) -> None:
        """Say that somebody publishes as soon as it is known what."""
        coming = self._coming()
        self._looks += 1
        self._findings += bool(coming)
        if coming and (
            len(coming) == len(self._sections) or self._findings > SETTLE_LOOKS
        ):
            self._settle_timer = None
            self._settle()
            return
        is_eager = bool(coming) or self._looks < EAGER_LOOKS
        delay = SETTLE if is_eager else SETTLE_SLOWLY
        self._settle_timer = self._loop.call_later(delay, self._wait_for_media)

    def _settle(self) -> None:
        """Tell the tracks what comes, if it is something else than before."""
        if self._ending.done():
            # Another publisher may have taken its place already.
            return
        coming = {**self._settled, **self._coming()}
        if coming == self._settled:
            return
        # What came before another codec says nothing of that one.
        since = None if self._settled else self._started
        self._settled = coming
        for kind, payload_type in coming.items():
            self._media[kind] = _received(self._sections[kind], payload_type)
        media = tuple(self._media[kind] for kind in coming)
        self._tracks.begin(self, media, since=since)
        self.request_key_frame()

    def _coming(self) -> dict[Kind, int]:
        """The payload types of the latest packets, as far as there were any."""
        return {
            kind: stats.payload_type
            for kind, stats in self._stats().items()
            if stats.last_arrival > self._started
            and stats.payload_type in self._sections[kind].codecs
        }


def _received(section: AnsweredMedia, payload_type: int) -> ReceivedMedia:
    """What an answer lets the other server send."""
    repairs = {repaired: rtx for rtx, repaired in section.rtx.items()}
    feedback = section.feedback[payload_type]
    has_numbers = Extension.TRANSPORT_CC in section.extensions.values()
    # A sender follows one of them.
    unused = REMB if has_numbers and TRANSPORT_CC in feedback else TRANSPORT_CC
    return ReceivedMedia(
        mid=section.mid,
        kind=section.kind,
        codec=section.codecs[payload_type],
        payload_type=payload_type,
        rtx_payload_type=repairs.get(payload_type),
        extensions=section.extensions,
        feedback=feedback - {unused},
        ssrcs=section.ssrcs,
        rids=(),
    )
