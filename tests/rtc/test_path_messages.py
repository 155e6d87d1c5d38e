from __future__ import annotations

from live777py.core import lineage
from live777py.core.lineage import MAX_HOPS, Node, Path
from live777py.protocol import rtcp
from live777py.rtc.path_messages import (
    CHANGES,
    INTERVAL,
    NAME,
    NANOSECONDS,
    REPEAT,
    PathHearing,
    PathTelling,
)

A, B, C = (Node(name).entry("cam") for name in "abc")
TICK = NANOSECONDS


def told(packets: list[rtcp.Packet]) -> list[Path]:
    """What another node hears, by way of the wire."""
    heard: list[Path] = []
    hearing = PathHearing(heard.append)
    if packets:
        for packet in rtcp.parse(rtcp.compound(*packets)):
            if isinstance(packet, rtcp.App):
                hearing.receive(packet, 0)
    return heard


def message(path: Path) -> rtcp.App:
    telling = PathTelling("cname")
    telling.tell(path, 0)
    [packet] = [p for p in telling.due(0) if isinstance(p, rtcp.App)]
    return packet


def test_a_path_is_told_at_once_and_again_and_again() -> None:
    telling = PathTelling("cname")
    assert telling.due(0) == []
    telling.tell((A, B), 0)
    assert told(telling.due(0)) == [(A, B)]
    assert telling.due(1) == []
    # Twice soon, for a packet may be lost; then every few seconds.
    seconds = [s for s in range(1, 10) if telling.due(s * TICK)]
    assert seconds == [1, 2, 5, 8]
    telling.tell((A, C), 9 * TICK)
    assert told(telling.due(9 * TICK)) == [(A, C)]


def test_what_changes_often_is_not_told_each_time() -> None:
    telling = PathTelling("cname")
    telling.tell((A,), 0)
    assert telling.due(0)
    telling.tell((B,), 1)
    telling.tell((C,), 2)
    assert telling.due(2) == []
    assert told(telling.due(INTERVAL)) == [(C,)]


def test_a_message_is_a_compound_packet_that_fits_a_datagram() -> None:
    path = tuple(Node(24 * "n").entry(200 * "ä") for _ in range(MAX_HOPS))
    telling = PathTelling(16 * "c")
    telling.tell(path, 0)
    packets = telling.due(0)
    assert [type(packet) for packet in packets] == [
        rtcp.ReceiverReport,
        rtcp.SourceDescription,
        rtcp.App,
    ]
    # The tag and the index of SRTCP, UDP and IPv6 come on top.
    assert len(rtcp.compound(*packets)) + 20 + 8 + 40 <= 1280
    assert told(packets) == [path]


def test_only_what_is_new_is_heard() -> None:
    heard: list[Path] = []
    hearing = PathHearing(heard.append)
    for path in ((A,), (A,), (A, B), (A, B), (A,)):
        hearing.receive(message(path), 0)
    assert heard == [(A,), (A, B), (A,)]


def test_what_is_malformed_or_anothers_is_passed_over() -> None:
    heard: list[Path] = []
    hearing = PathHearing(heard.append)
    good = message((A,))
    for packet in (
        rtcp.App(1, b"L7Vx", good.data),
        rtcp.App(1, NAME, good.data, subtype=1),
        rtcp.App(1, NAME, b""),
        rtcp.App(1, NAME, b"\xff\xfe\x00\x01"),
        rtcp.App(1, NAME, good.data + b"!!!!,!!!"),
        rtcp.App(1, NAME, good.data * 400),
    ):
        hearing.receive(packet, 0)
    assert heard == []
    hearing.receive(good, 0)
    assert heard == [(A,)]


def test_a_flood_of_changes_costs_little_and_the_last_is_heard_in_the_end() -> None:
    heard: list[Path] = []
    hearing = PathHearing(heard.append)
    changes = [(Node().entry("cam"),) for _ in range(1000)]
    for number, path in enumerate(changes):
        hearing.receive(message(path), number * NANOSECONDS // 1000)
    assert CHANGES <= len(heard) <= CHANGES + 2
    # It is told again.
    hearing.receive(message(changes[-1]), NANOSECONDS + REPEAT)
    assert heard[-1] == changes[-1]


def test_the_text_is_that_of_the_header() -> None:
    assert message((A, B)).data.decode().rstrip() == lineage.encode((A, B))
