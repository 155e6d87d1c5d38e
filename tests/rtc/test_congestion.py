from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from live777py.protocol import rtcp
from live777py.protocol.transport_feedback import TransportFeedback
from live777py.rtc.congestion import (
    MAX_COUNT,
    REFERENCE,
    REORDERING,
    TICK,
    TransportWideFeedback,
)

START = 987_654_321


def told(*packets: TransportFeedback) -> dict[int, int | None]:
    """By number, the time in µs that a sender reads; None for missing ones."""
    times: dict[int, int | None] = {}
    for packet in packets:
        (parsed,) = rtcp.parse(bytes(packet))
        assert isinstance(parsed, TransportFeedback)
        for i in range(parsed.count):
            times[(parsed.base_sequence + i) & 0xFFFF] = None
        at = parsed.reference_time * REFERENCE
        for number, delta in parsed.received:
            at += delta * TICK
            times[number] = at
    return times


def test_arrivals_and_losses_are_told() -> None:
    made = TransportWideFeedback(1).feedback(
        [(65_534, START), (65_535, START + 1_000), (1, START + 30_000)], 2
    )
    (packet,) = made
    assert (packet.sender_ssrc, packet.media_ssrc) == (1, 2)
    times = told(packet)
    assert list(times) == [65_534, 65_535, 0, 1]
    assert times[0] is None
    for number, expected in (
        (65_534, START),
        (65_535, START + 1_000),
        (1, START + 30_000),
    ):
        time = times[number]
        assert time is not None
        assert 0 <= expected - time < TICK


def test_each_feedback_goes_on_where_the_one_before_ended() -> None:
    feedback = TransportWideFeedback(1)
    (first,) = feedback.feedback([(10, START)], 2)
    (second,) = feedback.feedback([(13, START + 80_000)], 2)
    assert (first.feedback_count, second.feedback_count) == (0, 1)
    assert list(told(second)) == [11, 12, 13]
    assert feedback.feedback([], 2) == []


def test_a_late_packet_is_told_again_with_what_followed_it() -> None:
    feedback = TransportWideFeedback(1)
    feedback.feedback([(10, START), (12, START + 500), (13, START + 750)], 2)
    (second,) = feedback.feedback([(11, START + 50_000), (14, START + 51_000)], 2)
    times = told(second)
    assert list(times) == [11, 12, 13, 14]
    assert None not in times.values()
    # Times go back within it, which is what the signed deltas are for.
    assert second.received[1][1] < 0
    assert feedback.feedback([(12, START + 90_000)], 2) == []
    assert feedback.feedback([(14 - REORDERING & 0xFFFF, START + 90_000)], 2) == []


def test_long_reports_are_cut() -> None:
    numbers = range(3 * MAX_COUNT - 10)
    made = TransportWideFeedback(1).feedback(
        [(n & 0xFFFF, START + 100 * n) for n in numbers], 2
    )
    assert [packet.count for packet in made] == [MAX_COUNT, MAX_COUNT, MAX_COUNT - 10]
    assert len(told(*made)) == len(numbers)
    assert all(len(bytes(packet)) < 1200 for packet in made)


def test_a_pause_that_no_delta_can_tell_begins_another_feedback() -> None:
    made = TransportWideFeedback(1).feedback(
        [(1, START), (2, START + 20_000_000), (3, START + 20_000_500)], 2
    )
    assert [packet.count for packet in made] == [1, 2]
    times = told(*made)
    assert times[3] is not None
    assert 0 <= START + 20_000_500 - times[3] < TICK


def test_a_jump_of_the_numbers_begins_anew() -> None:
    feedback = TransportWideFeedback(1)
    feedback.feedback([(1, START)], 2)
    made = feedback.feedback([(2, START), (30_000, START), (30_001, START + 1)], 2)
    assert list(told(*made)) == [30_000, 30_001]
    made = feedback.feedback([(5, START + 2)], 2)
    assert list(told(*made)) == [5]


def test_the_reference_time_goes_round() -> None:
    for arrived in (REFERENCE * 0x7FFFFF, REFERENCE * 0x800000, REFERENCE * 0x1000001):
        (packet,) = TransportWideFeedback(1).feedback([(1, arrived)], 2)
        assert -0x800000 <= packet.reference_time < 0x800000
        assert (packet.reference_time - arrived // REFERENCE) % 0x1000000 == 0


@given(
    st.lists(
        st.tuples(st.integers(0, 0xFFFF), st.integers(0, 20_000_000)), max_size=60
    ),
    st.integers(1, 60),
)
def test_any_arrivals_make_feedback_that_can_be_written(
    packets: list[tuple[int, int]], at_once: int
) -> None:
    feedback = TransportWideFeedback(1)
    for start in range(0, len(packets), at_once):
        for packet in feedback.feedback(packets[start : start + at_once], 2):
            assert rtcp.parse(bytes(packet)) == [packet]
            assert packet.count <= MAX_COUNT
        assert len(feedback._times) <= 2 * REORDERING + at_once
