from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from live777py.errors import InvalidOffer
from live777py.protocol.candidate import Candidate

HOST = Candidate("1", 1, "udp", 2130706431, "198.51.100.7", 7777)


def test_a_host_candidate_is_written_as_ffmpeg_reads_it() -> None:
    assert str(HOST) == "1 1 udp 2130706431 198.51.100.7 7777 typ host"


def test_all_parts_of_a_candidate_are_read() -> None:
    text = (
        "candidate:4 1 UDP 1679819007 198.51.100.9 51840 typ srflx "
        "raddr 192.0.2.30 rport 51840 generation 0 network-id 1"
    )

    candidate = Candidate.parse(text)

    assert candidate == Candidate(
        foundation="4",
        component=1,
        transport="udp",
        priority=1679819007,
        host="198.51.100.9",
        port=51840,
        type="srflx",
        related_host="192.0.2.30",
        related_port=51840,
        extensions=(("generation", "0"), ("network-id", "1")),
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "candidate:",
        "1 1 udp 1 192.0.2.1 7777",
        "1 1 udp 1 192.0.2.1 7777 typ",
        "1 1 udp 1 192.0.2.1 77777 typ host",
        "1 1 udp 1 192.0.2.1 7777 typ host raddr 192.0.2.2 rport 99999",
        "1 1 udp 1 192.0.2.1 7777 typ host raddr 192.0.2.2 rport x",
        "1 1 udp 1 192.0.2.1 7777 typ host generation",
        "1 1 udp ١ 192.0.2.1 7777 typ host",
        "1 1 udp 99999999999 192.0.2.1 7777 typ host",
    ],
)
def test_what_is_not_a_candidate_is_refused(text: str) -> None:
    with pytest.raises(InvalidOffer):
        Candidate.parse(text)


@pytest.mark.parametrize(
    ("text", "usable"),
    [
        ("1 1 udp 1 192.0.2.1 7777 typ host", True),
        ("1 1 udp 1 2001:db8::1 7777 typ host", True),
        ("1 1 tcp 1 192.0.2.1 9 typ host tcptype active", False),
        ("1 2 udp 1 192.0.2.1 7777 typ host", False),
        ("1 1 udp 1 6d8f4c1e-2f0b-4c35-9d11-7f7f6a1b2c3d.local 7777 typ host", False),
    ],
)
def test_only_udp_candidates_at_an_address_are_usable(text: str, usable: bool) -> None:
    assert Candidate.parse(text).is_usable is usable


@given(
    st.builds(
        Candidate,
        foundation=st.from_regex("[0-9a-zA-Z+/]{1,32}", fullmatch=True),
        component=st.integers(1, 256),
        transport=st.sampled_from(["udp", "tcp"]),
        priority=st.integers(0, 2**31 - 1),
        host=st.ip_addresses().map(str),
        port=st.integers(0, 65535),
        type=st.sampled_from(["host", "srflx", "prflx", "relay"]),
        related_host=st.none() | st.ip_addresses().map(str),
        related_port=st.none() | st.integers(0, 65535),
        extensions=st.lists(
            st.tuples(st.just("generation"), st.sampled_from("0123"))
        ).map(tuple),
    )
)
def test_what_is_written_reads_back_the_same(candidate: Candidate) -> None:
    assert Candidate.parse(str(candidate)) == candidate
    assert Candidate.parse(f"candidate:{candidate}") == candidate
