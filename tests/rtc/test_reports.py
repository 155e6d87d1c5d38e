from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from live777py.protocol import rtcp, rtp
from live777py.protocol.rtcp import (
    Bye,
    ExtendedReport,
    FullIntraRequest,
    GenericNack,
    PictureLoss,
    ReceiverReport,
    ReferenceDelay,
    Remb,
    ReportBlock,
    SenderReport,
    SourceDescription,
)
from live777py.relay.seam import TrackStats, ViewerStats
from live777py.rtc.reports import (
    KEY_FRAME_INTERVAL,
    NANOSECONDS,
    KeyFrameRequests,
    PublisherReports,
    Reading,
    ViewerReports,
    WallClock,
)

SECOND = NANOSECONDS
MILLISECOND = NANOSECONDS // 1000
#: When the publisher of these tests took over.
START = 1000 * SECOND
CLOCK = WallClock.started(1_760_000_000 * SECOND, START)
VIDEO, AUDIO = 111, 222


def track(**changes: int) -> TrackStats:
    base = TrackStats(
        ssrc=VIDEO,
        payload_type=96,
        packets=100,
        bytes=100_000,
        base_sequence=1000,
        highest_sequence=1099,
        received=100,
        jitter=90,
        key_frames=1,
        last_arrival=START + SECOND,
        last_timestamp=5000,
        timestamp_offset=0,
        viewers=1,
    )
    return base._replace(**changes)


def sent(**changes: int) -> ViewerStats:
    base = ViewerStats(
        packets=10,
        octets=9000,
        timestamp_offset=0,
        first_sequence=1,
        last_sequence=10,
    )
    return base._replace(**changes)


def publisher(
    max_bitrate: int | None = None, *, reduced_size: bool = False
) -> PublisherReports:
    return PublisherReports(
        CLOCK,
        ssrc=7,
        cname="us",
        started=START,
        max_bitrate=max_bitrate,
        reduced_size=reduced_size,
    )


def block(reports: PublisherReports, stats: TrackStats, now: int) -> ReportBlock:
    report = reports.reports([stats], now)[0]
    assert isinstance(report, ReceiverReport)
    (only,) = report.blocks
    return only


def sender_report(ssrc: int, ntp: int, timestamp: int) -> SenderReport:
    return SenderReport(ssrc, ntp, timestamp, 1, 1)


# Receiver reports.


def test_a_publisher_is_told_what_arrived() -> None:
    now = START + 2 * SECOND
    packets = publisher().reports([track()], now)
    assert packets == [
        ReceiverReport(7, (ReportBlock(VIDEO, 0, 0, 1099, 90),)),
        SourceDescription.named("us", 7),
    ]
    assert rtcp.parse(rtcp.compound(*packets)) == packets


def test_losses_are_told_in_all_and_since_the_report_before() -> None:
    reports = publisher()
    first = block(reports, track(received=75), START + 2 * SECOND)
    assert (first.packets_lost, first.fraction_lost) == (25, 64)
    second = block(
        reports, track(highest_sequence=1199, received=175), START + 3 * SECOND
    )
    assert (second.packets_lost, second.fraction_lost) == (25, 0)


def test_a_late_packet_makes_no_negative_fraction() -> None:
    reports = publisher()
    block(reports, track(received=90), START + 2 * SECOND)
    later = block(
        reports, track(highest_sequence=1100, received=101), START + 3 * SECOND
    )
    assert (later.packets_lost, later.fraction_lost) == (0, 0)


def test_a_total_loss_fits_its_eight_bits() -> None:
    reports = publisher()
    block(reports, track(), START + 2 * SECOND)
    assert block(reports, track(highest_sequence=1999), START + 3 * SECOND) == (
        ReportBlock(VIDEO, 255, 900, 1999, 90)
    )


@given(st.integers(0, 1 << 20), st.integers(0, 1 << 40), st.integers(0, 1 << 40))
def test_a_report_of_any_counts_can_be_sent(
    base: int, ahead: int, received: int
) -> None:
    stats = track(base_sequence=base, highest_sequence=base + ahead, received=received)
    packets = publisher(2_500_000).reports([stats], START + 2 * SECOND)
    assert len(rtcp.parse(rtcp.compound(*packets))) == 3


def test_a_new_source_begins_its_counts_anew() -> None:
    reports = publisher()
    block(reports, track(received=50), START + 2 * SECOND)
    fresh = block(reports, track(ssrc=VIDEO + 1), START + 3 * SECOND)
    assert (fresh.packets_lost, fresh.fraction_lost) == (0, 0)


def test_the_time_since_the_last_sender_report_is_told() -> None:
    reports = publisher()
    reports.receive(sender_report(VIDEO, 0x0000_1234_5678_9ABC, 0), START + 2 * SECOND)
    only = block(reports, track(), START + 2 * SECOND + SECOND // 2)
    assert only.last_report == 0x1234_5678
    assert only.delay == 0x8000


def test_tracks_of_an_earlier_publisher_are_not_reported() -> None:
    packets = publisher(1000).reports([track(last_arrival=START - 1)], START + SECOND)
    assert packets == [ReceiverReport(7), SourceDescription.named("us", 7)]


def test_a_bitrate_is_allowed_for_all_tracks_together() -> None:
    reports = publisher(2_500_000)
    packets = reports.reports([track(), track(ssrc=AUDIO)], START + 2 * SECOND)
    assert packets[-1] == Remb(7, 2_500_000, (VIDEO, AUDIO))


# Requests.


def test_a_key_frame_is_asked_for_in_a_compound() -> None:
    assert publisher().key_frame_request(VIDEO) == [
        ReceiverReport(7),
        SourceDescription.named("us", 7),
        PictureLoss(7, VIDEO),
    ]


def test_a_key_frame_is_asked_for_alone_where_that_is_agreed() -> None:
    reports = publisher(reduced_size=True)
    assert reports.key_frame_request(VIDEO) == [PictureLoss(7, VIDEO)]


def test_each_full_intra_request_has_its_number() -> None:
    reports = publisher(reduced_size=True)
    asked = [reports.key_frame_request(VIDEO, fir=True)[0] for _ in range(257)]
    assert asked[:2] == [
        FullIntraRequest(7, ((VIDEO, 0),)),
        FullIntraRequest(7, ((VIDEO, 1),)),
    ]
    assert asked[256] == FullIntraRequest(7, ((VIDEO, 0),))


def test_what_is_missing_is_asked_for_in_packets_that_fit_any_path() -> None:
    reports = publisher()
    (one,) = reports.nacks(VIDEO, [65_535, 0, 7])
    assert one == [
        ReceiverReport(7),
        SourceDescription.named("us", 7),
        GenericNack(7, VIDEO, (65_535, 0, 7)),
    ]
    assert list(reports.nacks(VIDEO, [])) == []
    scattered = list(range(0, 34 * 450, 34))
    several = list(publisher(reduced_size=True).nacks(VIDEO, scattered))
    found: list[int] = []
    for packets in several:
        assert len(rtcp.compound(*packets)) < 1200
        (nack,) = packets
        assert isinstance(nack, GenericNack)
        found += nack.lost
    assert found == scattered


# Clocks.

#: A publisher whose clock is ten years off.
THEIR_NTP = rtp.ntp_from_unix_ns(1_400_000_000 * SECOND)


def theirs(seconds: float) -> int:
    """The publisher's NTP time so long after START."""
    return THEIR_NTP + int(seconds * 2**32)


def at(seconds: float) -> int:
    return START + round(seconds * SECOND)


def tracks(
    video: TrackStats | None = None, audio: TrackStats | None = None
) -> dict[str, tuple[TrackStats, int]]:
    return {
        "video": (video or track(), 90_000),
        "audio": (audio or track(ssrc=AUDIO), 48_000),
    }


def test_clocks_follow_the_publishers_reports() -> None:
    reports = publisher()
    reports.receive(sender_report(VIDEO, theirs(1), 10_000), at(1))
    reports.receive(sender_report(AUDIO, theirs(1.5), 70_000), at(1.5))
    reading = reports.reading(tracks(video=track(timestamp_offset=5)), at(2))
    assert rtp.ntp_difference_ns(reading.ntp, CLOCK.ntp(at(2))) == 0
    assert reading.timestamps["video"] == pytest.approx(10_000 + 90_000 + 5, abs=1)
    assert reading.timestamps["audio"] == pytest.approx(70_000 + 24_000, abs=1)


@given(st.floats(0, 0.4), st.floats(0, 0.4), st.floats(-0.001, 0.001), st.floats(3, 9))
def test_lip_sync_is_kept_whatever_the_network_delays(
    video_delay: float, audio_delay: float, drift: float, seconds: float
) -> None:
    reports = publisher()
    # Timestamps and reports say: at the publisher's second t video shows 90,000 t and
    # audio 48,000 t. Reports are late by what the network makes of it.
    for t in range(1, 4):
        for ssrc, rate, delay in (
            (VIDEO, 90_000, video_delay),
            (AUDIO, 48_000, audio_delay),
        ):
            ntp = theirs(t * (1 + drift))
            reports.receive(sender_report(ssrc, ntp, t * rate), at(t + delay))
    reading = reports.reading(tracks(), at(seconds))
    video = reading.timestamps["video"] / 90_000
    audio = reading.timestamps["audio"] / 48_000
    assert video == pytest.approx(audio, abs=0.005)


def test_drift_is_followed_slowly_and_a_late_report_pulls_little() -> None:
    reports = publisher()
    reports.receive(sender_report(AUDIO, theirs(0.5), 24_000), at(0.5))
    reports.receive(sender_report(VIDEO, theirs(0.5), 45_000), at(0.5))
    reports.receive(sender_report(VIDEO, theirs(1.0), 90_000), at(1.9))
    reading = reports.reading(tracks(), at(2))
    assert reading.timestamps["video"] == pytest.approx(180_000, abs=90)


def test_a_publisher_that_sets_its_clock_is_followed_at_once() -> None:
    reports = publisher()
    for ssrc in (VIDEO, AUDIO):
        reports.receive(sender_report(ssrc, theirs(1), 0), at(1))
    reports.receive(sender_report(VIDEO, theirs(3600), 90_000), at(2))
    assert reports.reading(tracks(), at(2)).timestamps == {}
    reports.receive(sender_report(AUDIO, theirs(3600), 48_000), at(2))
    timestamps = reports.reading(tracks(), at(3)).timestamps
    assert timestamps["video"] == pytest.approx(180_000, abs=1)
    assert timestamps["audio"] == pytest.approx(96_000, abs=1)


def test_all_tracks_are_timed_by_arrival_when_one_is_never_reported() -> None:
    reports = publisher()
    reports.receive(sender_report(VIDEO, theirs(1), 10_000), at(1))
    late = tracks(
        video=track(last_arrival=at(3.9), last_timestamp=1000),
        audio=track(ssrc=AUDIO, last_arrival=at(4), last_timestamp=2**32 - 1),
    )
    assert reports.reading(late, at(1)).timestamps == {}
    assert reports.reading(late, at(3.9)).timestamps == {}
    assert reports.reading(late, at(4)).timestamps == {
        "video": 10_000,
        "audio": -1 % 2**32,
    }
    reports.receive(sender_report(AUDIO, theirs(4), 0), at(4))
    assert reports.reading(late, at(5)).timestamps["video"] == pytest.approx(
        370_000, abs=1
    )


def test_nothing_is_known_before_the_first_packet() -> None:
    reports = publisher()
    early = tracks(track(ssrc=-1, last_arrival=0), track(last_arrival=START - 1))
    assert reports.reading(early, at(9)).timestamps == {}


def test_a_track_that_never_sends_does_not_hold_up_the_other() -> None:
    reports = publisher()
    reports.receive(sender_report(VIDEO, theirs(1), 10_000), at(1))
    silent = tracks(audio=track(ssrc=-1, last_arrival=0))
    assert list(reports.reading(silent, at(1)).timestamps) == ["video"]


def test_reports_without_a_clock_and_other_packets_are_passed_over() -> None:
    reports = publisher()
    reports.receive(sender_report(VIDEO, 0, 10_000), at(1))
    reports.receive(Bye((VIDEO,)), at(1))
    assert block(reports, track(), at(2)).last_report == 0
    assert reports.reading(tracks(), at(2)).timestamps == {}


def test_reports_of_countless_sources_are_not_kept() -> None:
    reports = publisher()
    for ssrc in range(1000, 1100):
        reports.receive(sender_report(ssrc, theirs(1), 0), at(1))
    assert block(reports, track(ssrc=1099), at(2)).last_report
    assert not block(reports, track(ssrc=1000), at(2)).last_report


def test_time_does_not_go_back_when_one_publisher_follows_another() -> None:
    first = publisher()
    first.receive(sender_report(VIDEO, theirs(1), 0), at(1))
    before = first.reading({"video": (track(), 90_000)}, at(5))
    second = publisher()
    second.receive(sender_report(VIDEO, theirs(-99_999), 0), at(5.1))
    after = second.reading({"video": (track(), 90_000)}, at(6))
    assert rtp.ntp_difference_ns(after.ntp, before.ntp) == pytest.approx(SECOND, abs=2)


# Sender reports.


def viewer() -> ViewerReports[str]:
    return ViewerReports(cname="cam", ssrcs={"video": 31, "audio": 32})


def test_a_viewer_gets_one_report_for_each_track_that_has_sent() -> None:
    reading = Reading(1 << 40, {"video": 2**32 - 10, "audio": 500})
    stats = {"video": sent(timestamp_offset=30), "audio": sent(packets=3, octets=60)}
    packets = viewer().reports(reading, stats, START)
    assert packets == [
        SenderReport(31, 1 << 40, 20, 10, 9000),
        SenderReport(32, 1 << 40, 500, 3, 60),
        SourceDescription.named("cam", 31, 32),
    ]
    assert rtcp.parse(rtcp.compound(*packets)) == packets


def test_a_track_that_has_sent_nothing_or_has_no_clock_is_left_out() -> None:
    reading = Reading(1 << 40, {"video": 0})
    stats = {"video": sent(packets=0), "audio": sent(), "data": sent()}
    assert viewer().reports(reading, stats, START) == []


def test_counters_wrap_at_32_bits() -> None:
    stats = {"video": sent(packets=2**32 + 1, octets=2**33 + 2)}
    (report, _) = viewer().reports(Reading(1, {"video": 0}), stats, START)
    assert isinstance(report, SenderReport)
    assert (report.packets, report.octets) == (1, 2)


def test_a_receiver_report_tells_losses_jitter_and_round_trip() -> None:
    reports = viewer()
    for second in range(3):
        reports.reports(
            Reading(CLOCK.ntp(at(second)), {"video": 0}), {"video": sent()}, at(second)
        )
    report = ReportBlock(
        31, 64, 5, 10, 90, rtp.ntp_middle(CLOCK.ntp(at(1))), delay=0x8000
    )
    reports.receive(ReceiverReport(9, (report,)), at(1.54))
    reception = reports.reception["video"]
    assert reception.fraction_lost == 0.25
    assert (reception.packets_lost, reception.jitter) == (5, 90)
    assert reception.round_trip == pytest.approx(0.04, abs=0.001)
    assert reception.reported == at(1.54)


def test_a_round_trip_is_unknown_without_a_report_to_refer_to() -> None:
    reports = viewer()
    unknown = ReportBlock(31, 0, 0, 10, 0, last_report=77)
    reports.receive(ReceiverReport(9, (unknown,)), START)
    assert reports.reception["video"].round_trip is None


def test_reports_on_other_sources_and_other_packets_are_passed_over() -> None:
    reports = viewer()
    reports.receive(ReceiverReport(9, (ReportBlock(99, 0, 0, 0, 0),)), START)
    reports.receive(PictureLoss(9, 31), START)
    assert reports.reception == {}


def test_a_viewer_that_tells_its_time_learns_how_long_ago() -> None:
    reports = viewer()
    reports.receive(ExtendedReport(9, 0x1_2345_6789_ABCD), at(1))
    reports.receive(ExtendedReport(9, 0x2_2345_6789_ABCD), at(2))
    reports.receive(ExtendedReport(8), at(2))
    reading = Reading(1 << 40, {"audio": 5})
    assert viewer().reports(reading, {}, at(2.5)) == []
    *_, report = reports.reports(reading, {"audio": sent()}, at(2.5))
    delay = ReferenceDelay(9, 0x2345_6789, 0x8000)
    assert report == ExtendedReport(32, delays=(delay,))
    # A time is answered once.
    *_, last = reports.reports(reading, {"audio": sent()}, at(3.5))
    assert isinstance(last, SourceDescription)


def test_a_viewer_of_many_names_is_answered_some() -> None:
    reports = viewer()
    for ssrc in range(100):
        reports.receive(ExtendedReport(ssrc, 1), at(1))
    *_, report = reports.reports(Reading(1, {"audio": 5}), {"audio": sent()}, at(1))
    assert isinstance(report, ExtendedReport)
    assert [delay.ssrc for delay in report.delays] == [0, 1, 2, 3]


# Key frames.


def test_a_first_wish_is_asked_at_once() -> None:
    assert KeyFrameRequests().request(START)


def test_a_wish_inside_the_throttle_is_put_off_and_not_dropped() -> None:
    requests = KeyFrameRequests()
    requests.request(START)
    requests.arrived()
    assert requests.next_deadline is None
    assert not requests.request(START + 1)
    assert requests.next_deadline == START + KEY_FRAME_INTERVAL
    assert not requests.due(START + KEY_FRAME_INTERVAL - 1)
    assert requests.due(START + KEY_FRAME_INTERVAL)
    assert not requests.due(START + KEY_FRAME_INTERVAL + 1)


def test_nobody_is_asked_again_once_a_key_frame_has_come() -> None:
    requests = KeyFrameRequests()
    requests.request(START)
    requests.request(START + 1)
    requests.arrived()
    assert requests.next_deadline is None
    assert not requests.due(START + 10 * SECOND)


def test_a_deaf_publisher_is_asked_three_times_for_one_wish() -> None:
    requests = KeyFrameRequests()
    asked = int(requests.request(START))
    while (deadline := requests.next_deadline) is not None:
        asked += requests.due(deadline)
    assert asked == 3


@given(st.lists(st.integers(0, 100 * MILLISECOND), max_size=100))
def test_requests_are_never_closer_than_half_a_second(gaps: list[int]) -> None:
    requests = KeyFrameRequests()
    now, asked = START, []
    for gap in gaps:
        now += gap
        if requests.due(now) or requests.request(now):
            asked.append(now)
    assert all(
        later - earlier >= KEY_FRAME_INTERVAL
        for earlier, later in itertools.pairwise(asked)
    )
