from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from live777py.protocol import rtcp
from live777py.protocol.rtp import Malformed
from live777py.protocol.transport_feedback import TransportFeedback

deltas = st.one_of(
    st.none(),
    st.integers(0, 255),
    st.integers(-0x8000, 0x7FFF),
)
#: Long runs of the same status as well as mixtures.
statuses = st.lists(
    st.tuples(deltas, st.one_of(st.just(1), st.integers(1, 40))), max_size=30
).map(lambda runs: [delta for delta, run in runs for _ in range(run)])


def feedback(base: int, statuses: list[int | None]) -> TransportFeedback:
    return TransportFeedback(
        sender_ssrc=1,
        media_ssrc=2,
        base_sequence=base,
        count=len(statuses),
        reference_time=-5,
        feedback_count=7,
        received=tuple(
            ((base + offset) % 0x10000, delta)
            for offset, delta in enumerate(statuses)
            if delta is not None
        ),
    )


@given(st.integers(0, 0xFFFF), statuses)
def test_feedback_survives_the_way_to_bytes_and_back(
    base: int, statuses: list[int | None]
) -> None:
    packet = feedback(base, statuses)
    assert rtcp.parse(bytes(packet)) == [packet]


@given(st.binary(max_size=60))
def test_garbage_is_malformed_or_feedback(body: bytes) -> None:
    try:
        packet = TransportFeedback.from_body(1, 2, body)
    except Malformed:
        return
    assert len(packet.received) <= len(body)


def test_runs_and_both_kinds_of_vector_are_read() -> None:
    # Section 3.1.3: a run of 221 lost; section 3.1.4: one-bit and two-bit vectors.
    head = b"\x00\x05" + (221 + 14 + 7).to_bytes(2) + b"\x00\x00\x01\x00"
    chunks = b"\x00\xdd" + b"\x9f\x1c" + b"\xd9\x50"
    packet = TransportFeedback.from_body(1, 2, head + chunks + bytes(8 + 6))
    one_bit = [5 + 221 + i for i in (1, 2, 3, 4, 5, 9, 10, 11)]
    two_bit = [5 + 221 + 14 + i for i in (0, 1, 2, 3, 4)]
    assert [number for number, _ in packet.received] == one_bit + two_bit


def test_a_long_gap_costs_two_bytes() -> None:
    packet = feedback(0, [3] + [None] * 8000 + [4])
    assert len(bytes(packet)) <= 20 + 8


@pytest.mark.parametrize(
    "body",
    [
        bytes(7),
        b"\x00\x00\x00\x01\x00\x00\x00\x00",
        b"\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00",
        b"\x00\x00\x00\x01\x00\x00\x00\x00\x20\x01",
        b"\x00\x00\x00\x01\x00\x00\x00\x00\x40\x01\x00",
        b"\x00\x00\x00\x01\x00\x00\x00\x00\x60\x01\x00\x00",
        b"\x00\x00\x00\x01\x00\x00\x00\x00\xa0\x00",
    ],
)
def test_broken_feedback_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        TransportFeedback.from_body(1, 2, body)


def test_an_arrival_that_does_not_fit_begins_a_new_feedback() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        bytes(feedback(0, [0x8000]))
    with pytest.raises(ValueError, match="does not fit"):
        bytes(TransportFeedback(1, 2, 10, 1, 0, 0, ((11, 0),)))
