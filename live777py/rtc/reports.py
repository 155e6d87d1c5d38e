"""RTCP reports in both directions, and when to ask for a key frame.

Values in, values out: this module is given the counters of the data plane, the packets
that came and the time (always `time.monotonic_ns()`), and says what to send. It owns no
timer and no socket.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from live777py.protocol import rtp
from live777py.protocol.rtcp import (
    ExtendedReport,
    FullIntraRequest,
    GenericNack,
    Packet,
    PictureLoss,
    ReceiverReport,
    ReferenceDelay,
    Remb,
    ReportBlock,
    SenderReport,
    SourceDescription,
)
from live777py.relay.seam import TrackStats, ViewerStats

K = TypeVar("K", bound=Hashable)

NANOSECONDS = 1_000_000_000

#: How long to wait for a publisher's sender reports before timing by arrival instead.
SENDER_REPORT_TIMEOUT = 3 * NANOSECONDS
#: A publisher's clock that is further off than this has been set, it has not drifted.
CLOCK_STEP = NANOSECONDS
#: Our idea of a publisher's clock follows its drift by 1 in 5,000 at most, 0.2 ms a second.
#: Clocks drift by less, and receivers that fit a line through reports do not notice it.
SLEW = 5_000
#: Sources of one publisher whose sender reports are kept.
MAX_SOURCES = 16

#: Sequence numbers in one NACK, which fit any path however they are spread.
NACKED_AT_ONCE = 200

#: Between two requests for a key frame.
KEY_FRAME_INTERVAL = NANOSECONDS // 2
#: Requests that a publisher gets for one wish; some (OBS) are deaf to them.
KEY_FRAME_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class WallClock:
    """NTP time that never steps: the system's time at the start, then monotonic."""

    offset: int

    @classmethod
    def started(cls, unix_ns: int, monotonic_ns: int) -> WallClock:
        """The clock that showed `unix_ns` when the monotonic one showed the other."""
        return cls(unix_ns - monotonic_ns)

    def ntp(self, now: int) -> int:
        """The 64-bit NTP timestamp of a monotonic time."""
        return rtp.ntp_from_unix_ns(now + self.offset)


@dataclass(frozen=True, slots=True)
class Reading(Generic[K]):
    """One moment of a publication, for the sender reports of all its viewers.

    Attributes:
        ntp: the moment, by our clock, in 64-bit NTP time.
        timestamps: what each track's *outgoing* RTP clock shows at that moment. Tracks
            whose clocks are not known yet are absent.
    """

    ntp: int
    timestamps: Mapping[K, int]


@dataclass(frozen=True, slots=True)
class _SourceReport:
    """The latest sender report of one source and its arrival."""

    ntp: int
    timestamp: int
    arrived: int


class PublisherReports:
    """Reports to one publisher, and the clocks that its sender reports tell of.

    One object for each publisher's peer: feed every RTCP packet to `receive`, send what
    `reports` returns about once a second, and give `reading` to the viewers' reports.
    """

    def __init__(
        self,
        clock: WallClock,
        *,
        ssrc: int,
        cname: str,
        started: int = 0,
        max_bitrate: int | None = None,
        reduced_size: bool = False,
    ) -> None:
        """Begin.

        Args:
            clock: ours, the same for all publishers, so that time never goes back for
                viewers when one publisher follows another.
            ssrc: under which we report.
            cname: our canonical name (RFC 3550 section 6.5.1).
            started: when this publisher took the tracks over; what they count of earlier
                packets is another publisher's.
            max_bitrate: what to allow by REMB, in bit/s; None sends none.
            reduced_size: `a=rtcp-rsize` is agreed (RFC 5506), so feedback may be alone.
        """
        self._clock = clock
        self._ssrc = ssrc
        self._started = started
        self._max_bitrate = max_bitrate
        self._reduced_size = reduced_size
        self._description = SourceDescription.named(cname, ssrc)
        self._fir_number = -1
        #: By SSRC: packets expected and received at the report before.
        self._reported: dict[int, tuple[int, int]] = {}
        self._sources: dict[int, _SourceReport] = {}
        #: Our NTP time minus the publisher's, one for all its tracks: lip sync.
        self._offset = 0
        self._offset_set = 0
        #: By SSRC: since when it is waited for a sender report.
        self._waiting: dict[int, int] = {}

    def receive(self, packet: Packet, now: int) -> None:
        """Take in what the publisher sent; all but sender reports is passed over."""
        if not isinstance(packet, SenderReport):
            return
        # 0: the publisher has no clock to speak of (RFC 3550 section 6.4.1).
        if packet.ntp == 0:
            return
        self._follow_clock(packet.ntp, now)
        self._sources.pop(packet.ssrc, None)
        self._sources[packet.ssrc] = _SourceReport(packet.ntp, packet.timestamp, now)
        if len(self._sources) > MAX_SOURCES:
            del self._sources[next(iter(self._sources))]

    def _follow_clock(self, ntp: int, now: int) -> None:
        ours = self._clock.ntp(now)
        if self._sources:
            error = rtp.ntp_difference_ns(ours, ntp + self._offset)
            if abs(error) < CLOCK_STEP:
                # A late report must not pull; drift is followed little by little.
                limit = (now - self._offset_set) // SLEW
                correction = max(-limit, min(limit, error))
                self._offset += (correction << 32) // NANOSECONDS
                self._offset_set = now
                return
            # The clock was set: what it said before fits nothing that it says now.
            self._sources.clear()
            self._waiting.clear()
        self._offset = ours - ntp
        self._offset_set = now

    def reports(self, tracks: Iterable[TrackStats], now: int) -> list[Packet]:
        """A receiver report of all tracks, with our name and the allowed bitrate."""
        active = [track for track in tracks if self._is_ours(track)]
        ssrcs = {track.ssrc for track in active}
        self._reported = {s: c for s, c in self._reported.items() if s in ssrcs}
        blocks = tuple(self._block(track, now) for track in active)
        packets = self._opening(blocks)
        if self._max_bitrate is not None and active:
            ordered = tuple(track.ssrc for track in active)
            packets.append(Remb(self._ssrc, self._max_bitrate, ordered))
        return packets

    def key_frame_request(self, media_ssrc: int, *, fir: bool = False) -> list[Packet]:
        """A request for a key frame of one source.

        Args:
            media_ssrc: the publisher's SSRC.
            fir: ask by FIR, for those that have not agreed to PLI.
        """
        if not fir:
            return self.feedback(PictureLoss(self._ssrc, media_ssrc))
        # Each of our requests is a new one (RFC 5104 section 4.3.1.2).
        self._fir_number = (self._fir_number + 1) % 256
        request = ((media_ssrc, self._fir_number),)
        return self.feedback(FullIntraRequest(self._ssrc, request))

    def nacks(self, media_ssrc: int, lost: Sequence[int]) -> Iterator[list[Packet]]:
        """Compound packets that ask for packets of one source again."""
        for start in range(0, len(lost), NACKED_AT_ONCE):
            some = tuple(lost[start : start + NACKED_AT_ONCE])
            yield self.feedback(GenericNack(self._ssrc, media_ssrc, some))

    def feedback(self, packet: Packet) -> list[Packet]:
        """A compound packet of one feedback packet."""
        opening = [] if self._reduced_size else self._opening(())
        return [*opening, packet]

    def _is_ours(self, track: TrackStats) -> bool:
        """Whether the track has had a packet of this publisher."""
        return track.ssrc >= 0 and track.last_arrival > self._started

    def _opening(self, blocks: tuple[ReportBlock, ...]) -> list[Packet]:
        """What every compound packet begins with (RFC 3550 section 6.1)."""
        return [
            ReceiverReport(self._ssrc, blocks),
            self._description,
        ]

    def _block(self, track: TrackStats, now: int) -> ReportBlock:
        """RFC 3550 sections 6.4.1 and A.3.

        Retransmissions under an SSRC of their own (RFC 4588) are no packets of the source: a
        loss stays one when it was mended, so that the sender sees the path as it is. Those
        under the source's SSRC count, as RFC 3550 has it, each once.
        """
        expected = track.highest_sequence - track.base_sequence + 1
        before = self._reported.get(track.ssrc, (0, 0))
        self._reported[track.ssrc] = (expected, track.received)
        expected_since = expected - before[0]
        lost_since = expected_since - (track.received - before[1])
        fraction = 0
        if expected_since > 0 and lost_since > 0:
            fraction = min(255, (lost_since << 8) // expected_since)
        lost = max(-0x800000, min(0x7FFFFF, expected - track.received))
        report = self._sources.get(track.ssrc)
        return ReportBlock(
            ssrc=track.ssrc,
            fraction_lost=fraction,
            packets_lost=lost,
            highest_sequence=track.highest_sequence & 0xFFFFFFFF,
            jitter=max(0, min(0xFFFFFFFF, track.jitter)),
            last_report=rtp.ntp_middle(report.ntp) if report else 0,
            delay=_short_delay(now - report.arrived) if report else 0,
        )

    def reading(
        self, tracks: Mapping[K, tuple[TrackStats, int]], now: int
    ) -> Reading[K]:
        """What the outgoing clocks of a publication show now.

        Args:
            tracks: of this publisher, each with its clock rate.
            now: the moment.
        """
        ntp = self._clock.ntp(now)
        live = {
            key: (stats, rate)
            for key, (stats, rate) in tracks.items()
            if self._is_ours(stats)
        }
        silent = {s.ssrc for s, _ in live.values()} - self._sources.keys()
        # All tracks by one method: two methods differ by the encoder's delay.
        self._waiting = {ssrc: self._waiting.get(ssrc, now) for ssrc in silent}
        if not silent:
            return Reading(
                ntp,
                {
                    key: self._reported_time(s, rate, ntp)
                    for key, (s, rate) in live.items()
                },
            )
        if any(
            now - since >= SENDER_REPORT_TIMEOUT for since in self._waiting.values()
        ):
            return Reading(
                ntp,
                {key: _arrival_time(s, rate, now) for key, (s, rate) in live.items()},
            )
        return Reading(ntp, {})

    def _reported_time(self, track: TrackStats, rate: int, ntp: int) -> int:
        report = self._sources[track.ssrc]
        elapsed = rtp.ntp_difference_ns(ntp, report.ntp + self._offset)
        incoming = report.timestamp + elapsed * rate // NANOSECONDS
        return (incoming + track.timestamp_offset) % rtp.TIMESTAMPS


def _arrival_time(track: TrackStats, rate: int, now: int) -> int:
    elapsed = now - track.last_arrival
    return (track.last_timestamp + elapsed * rate // NANOSECONDS) % rtp.TIMESTAMPS


def _short_delay(nanoseconds: int) -> int:
    """A duration in the 1/65536 s of DLSR."""
    return max(0, min(0xFFFFFFFF, (nanoseconds << 16) // NANOSECONDS))


@dataclass(frozen=True, slots=True)
class Reception:
    """How one track arrives at a viewer, by its own account.

    Attributes:
        fraction_lost: of the packets since the report before, 0 to 1.
        packets_lost: in all; negative where duplicates outnumber losses.
        jitter: in timestamp units.
        round_trip: in seconds, None until the viewer has seen a sender report.
        reported: when it said so.
    """

    fraction_lost: float
    packets_lost: int
    jitter: int
    round_trip: float | None
    reported: int


class ViewerReports(Generic[K]):
    """Sender reports to one viewer, and what it reports back.

    One object for each viewer's peer; `K` is what tells its tracks apart.
    """

    #: Sender reports to which a receiver report may still refer.
    _REMEMBERED = 8
    #: Receivers of one peer whose reference times are answered at once.
    _REFERENCES = 4

    def __init__(self, *, cname: str, ssrcs: Mapping[K, int]) -> None:
        """Begin.

        Args:
            cname: one for all tracks, so that they are played in sync.
            ssrcs: of the tracks, as the viewer knows them.
        """
        self._cname = cname
        self._ssrcs = dict(ssrcs)
        self._keys = {ssrc: key for key, ssrc in self._ssrcs.items()}
        #: The middle of the NTP time of what was sent, and when.
        self._sent: deque[tuple[int, int]] = deque(maxlen=self._REMEMBERED)
        #: The sources that the description names, which seldom change.
        self._named: list[int] = []
        self._description = SourceDescription(())
        #: What the viewer said last, by track.
        self.reception: dict[K, Reception] = {}
        #: By the viewer's SSRC: the middle of a reference time not answered yet, its arrival.
        self._references: dict[int, tuple[int, int]] = {}

    def reports(
        self, reading: Reading[K], sent: Mapping[K, ViewerStats], now: int
    ) -> list[Packet]:
        """Sender reports of the tracks that have sent, with their name; may be none.

        A viewer that told its time learns how long ago: from that it knows the round trip,
        and so when to ask again for what is lost.
        """
        reports: list[Packet] = []
        named: list[int] = []
        for key, stats in sent.items():
            timestamp = reading.timestamps.get(key)
            ssrc = self._ssrcs.get(key)
            if timestamp is None or ssrc is None or stats.packets == 0:
                continue
            named.append(ssrc)
            reports.append(
                SenderReport(
                    ssrc=ssrc,
                    ntp=reading.ntp,
                    timestamp=(timestamp + stats.timestamp_offset) % rtp.TIMESTAMPS,
                    packets=stats.packets & 0xFFFFFFFF,
                    octets=stats.octets & 0xFFFFFFFF,
                )
            )
        if not reports:
            return []
        self._sent.append((rtp.ntp_middle(reading.ntp), now))
        if named != self._named:
            self._named = named
            self._description = SourceDescription.named(self._cname, *named)
        packets: list[Packet] = [*reports, self._description]
        if self._references:
            delays = tuple(
                ReferenceDelay(ssrc, middle, _short_delay(now - arrived))
                for ssrc, (middle, arrived) in self._references.items()
            )
            self._references.clear()
            packets.append(ExtendedReport(named[0], delays=delays))
        return packets

    def receive(self, packet: Packet, now: int) -> None:
        """Take in what the viewer sent; all but reports is passed over."""
        if isinstance(packet, ExtendedReport) and packet.reference_ntp is not None:
            is_known = packet.ssrc in self._references
            if is_known or len(self._references) < self._REFERENCES:
                middle = rtp.ntp_middle(packet.reference_ntp)
                self._references[packet.ssrc] = middle, now
        if isinstance(packet, ReceiverReport | SenderReport):
            for block in packet.blocks:
                key = self._keys.get(block.ssrc)
                if key is not None:
                    self.reception[key] = self._reception(block, now)

    def _reception(self, block: ReportBlock, now: int) -> Reception:
        round_trip = None
        for middle, sent in self._sent:
            if block.last_report and block.last_report == middle:
                delay = block.delay * NANOSECONDS >> 16
                round_trip = max(0, now - sent - delay) / NANOSECONDS
        return Reception(
            fraction_lost=block.fraction_lost / 256,
            packets_lost=block.packets_lost,
            jitter=block.jitter,
            round_trip=round_trip,
            reported=now,
        )


class KeyFrameRequests:
    """When to ask for a key frame of one layer.

    At most once in 500 ms; a wish inside of that is put off, not dropped; and a wish is
    repeated a few times, for a request may be lost, until a key frame has come. Send a
    request when `request` or `due` says so; call `due` at `next_deadline`.
    """

    def __init__(self) -> None:
        self._last: int | None = None
        self._attempts_left = 0
        #: When to ask (again), None when nothing is wanted or enough was asked.
        self.next_deadline: int | None = None

    def request(self, now: int) -> bool:
        """A key frame is wanted; True: ask for it now."""
        self._attempts_left = KEY_FRAME_ATTEMPTS
        earliest = now if self._last is None else self._last + KEY_FRAME_INTERVAL
        self.next_deadline = max(now, earliest)
        return self.due(now)

    def due(self, now: int) -> bool:
        """Whether to ask now for what was wanted before."""
        if self.next_deadline is None or now < self.next_deadline:
            return False
        self._last = now
        self._attempts_left -= 1
        self.next_deadline = now + KEY_FRAME_INTERVAL if self._attempts_left else None
        return True

    def arrived(self) -> None:
        """A key frame has come: nobody waits for one any more."""
        self.next_deadline = None
