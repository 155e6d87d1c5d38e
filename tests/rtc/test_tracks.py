"""The tracks of a stream: what is published, who is told."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import cast

import pytest

from live777py.errors import AtCapacity
from live777py.protocol.codecs import Codec, Format, Kind
from live777py.relay.plane import Plane
from live777py.relay.seam import Gap, Group, TrackId
from live777py.rtc import tracks as module
from live777py.rtc.negotiation import ReceivedMedia
from live777py.rtc.reports import Reading
from live777py.rtc.tracks import StreamTracks, random_ssrc
from live777py.rtc.transport import Transport
from tests.relay.support import rig, rtp
from tests.rtc.fakes import FakePlane

GAP = Gap(TrackId(0), ssrc=1, first=70_000, missing=2, sequence=5, arrived=9)

BASELINE = Codec(
    "video",
    "H264",
    90_000,
    1,
    (("packetization-mode", "1"), ("profile-level-id", "42e01f")),
)
VP8 = Codec("video", "VP8", 90_000)
OPUS = Codec("audio", "opus", 48_000, 2)

#: An RTP packet with the SPS of a High profile stream, 16 by 16.
HIGH_SPS = bytes.fromhex(
    "80e0000100000000000000016764001eacb23d2be0220000030002000003007908"
)


def media(codec: Codec) -> ReceivedMedia:
    return ReceivedMedia(
        mid="0",
        kind=codec.kind,
        codec=codec,
        payload_type=96,
        rtx_payload_type=None,
        extensions={},
        feedback=frozenset({"nack pli"}),
        ssrcs=(),
        rids=(),
    )


class Publisher:
    """Counts what it is asked for."""

    def __init__(self) -> None:
        self.asked = 0
        self.arrived = 0
        self.missing: list[tuple[Kind, Gap]] = []

    def request_key_frame(self) -> None:
        self.asked += 1

    def key_frame_arrived(self, arrived: int) -> None:
        self.arrived += 1

    def packets_missing(self, kind: Kind, gap: Gap) -> None:
        self.missing.append((kind, gap))

    def reading(self, now: int) -> Reading[Kind]:
        return Reading(now, {})


class Viewer:
    """Counts what it is told."""

    def __init__(self) -> None:
        self.told = 0

    def source_changed(self) -> None:
        self.told += 1


def stream(plane: FakePlane | None = None) -> StreamTracks:
    real = cast(Plane, plane or FakePlane())
    return StreamTracks(real, Transport(real), "cam")


def test_a_new_stream_carries_nothing() -> None:
    tracks = stream()
    assert tracks.codecs == {}
    assert tracks.source is None
    assert tracks.reading(0) is None


def test_each_kind_has_a_track_with_ssrcs_of_its_own() -> None:
    tracks = stream()
    senders = [track.sender for track in tracks.tracks.values()]
    assert set(tracks.tracks) == {"audio", "video"}
    assert len({s for x in senders for s in (x.ssrc, x.rtx_ssrc)}) == 4


async def test_a_publisher_sets_the_codecs_and_leaves_none_behind() -> None:
    tracks, publisher = stream(), Publisher()
    tracks.begin(publisher, (media(VP8), media(OPUS)))
    assert tracks.source == tracks.codecs == {"video": VP8, "audio": OPUS}
    assert tracks.reading(7) == Reading(7, {})
    tracks.finish(publisher)
    assert tracks.source is None
    assert tracks.codecs == {}


async def test_a_publisher_that_was_never_answered_ends_nothing() -> None:
    tracks, publisher = stream(), Publisher()
    tracks.begin(publisher, (media(VP8),))
    tracks.finish(Publisher())
    assert tracks.codecs == {"video": VP8}


async def test_viewers_are_told_when_somebody_publishes() -> None:
    tracks, viewer = stream(), Viewer()
    tracks.attach(viewer)
    tracks.begin(Publisher(), (media(VP8),))
    assert viewer.told == 1
    tracks.detach(viewer)
    tracks.begin(Publisher(), (media(OPUS),))
    assert viewer.told == 1


async def test_a_new_viewer_asks_for_a_key_frame() -> None:
    tracks, publisher = stream(), Publisher()
    tracks.begin(publisher, (media(VP8),))
    tracks.attach(Viewer())
    assert publisher.asked == 1


@pytest.mark.parametrize(
    ("packets", "age", "asked"), [(50, 1, 0), (50, 3, 1), (0, 0, 1)]
)
async def test_a_recent_key_frame_is_enough_for_a_new_viewer(
    packets: int, age: int, asked: int
) -> None:
    plane = FakePlane()
    tracks, publisher = stream(plane), Publisher()
    tracks.begin(publisher, (media(VP8),))
    plane.groups[tracks.tracks["video"].id] = Group(
        packets, time.monotonic_ns() - age * 1_000_000_000
    )
    tracks.attach(Viewer())
    assert publisher.asked == asked


def test_without_a_publisher_nobody_is_asked() -> None:
    tracks = stream()
    tracks.request_key_frame()
    tracks._gap("video", GAP)


async def test_a_publisher_is_told_of_gaps_in_its_tracks() -> None:
    tracks, publisher = stream(), Publisher()
    tracks.begin(publisher, (media(VP8),))
    tracks._gap("video", GAP)
    assert publisher.missing == [("video", GAP)]


async def test_a_publisher_that_was_waited_for_is_told_of_the_gaps_until_then() -> None:
    tracks, publisher = stream(), Publisher()
    for n in range(module.MAX_UNCLAIMED + 2):
        tracks._gap("video", GAP._replace(sequence=n))
    tracks.begin(publisher, (media(VP8),))
    told = [gap.sequence for _, gap in publisher.missing]
    assert told == list(range(2, module.MAX_UNCLAIMED + 2))
    tracks.begin(publisher, (media(VP8), media(OPUS)))
    assert len(publisher.missing) == module.MAX_UNCLAIMED


async def test_gaps_of_what_is_put_in_are_nobodys_and_leave_nothing() -> None:
    with rig() as r, Transport(r.plane) as transport:
        tracks = StreamTracks(r.plane, transport, "cam")
        source = r.plane.open_source(
            tracks.tracks["video"].id, format=Format.VP8, clock_rate=90_000
        )
        for first in range(0, 8000, 4):
            r.plane.inject(source, [rtp(first), rtp(first + 1)])
            r.turn()
            transport._drain()
        assert r["gaps"] == 1999
        assert r["notices_dropped"] == 0
        assert list(r.plane.notices()) == []
        assert set(transport.counters().values()) == {0}
        tracks.close()
        r.plane.inject(source, [rtp(9000)])
        r.turn()
        assert r["gaps"] == 1999


async def test_the_profile_is_that_of_the_parameter_sets_not_of_the_offer() -> None:
    tracks, publisher, viewer = stream(), Publisher(), Viewer()
    tracks.begin(publisher, (media(BASELINE),))
    tracks.attach(viewer)
    tracks._key_frame(HIGH_SPS, 0)
    assert viewer.told == 1
    assert tracks.codecs["video"] == replace(
        BASELINE,
        parameters=(("packetization-mode", "1"), ("profile-level-id", "64001e")),
    )
    assert publisher.arrived == 1
    assert viewer.told == 1
    tracks._key_frame(HIGH_SPS, 0)
    assert viewer.told == 1, "the same parameter sets again are no change"


@pytest.mark.parametrize(
    ("since", "profile"), [(5, "64001e"), (8, "42e01f"), (None, "42e01f")]
)
async def test_a_key_frame_that_came_before_it_was_known_what_comes_tells_too(
    since: int | None, profile: str
) -> None:
    tracks, publisher = stream(), Publisher()
    tracks._key_frame(HIGH_SPS, 7)
    tracks.begin(publisher, (media(BASELINE),), since=since)
    assert tracks.codecs["video"].parameter("profile-level-id") == profile
    assert tracks.tracks["video"].described.is_set() is (profile != "42e01f")


async def test_a_key_frame_without_parameter_sets_is_one_none_the_less() -> None:
    tracks, publisher = stream(), Publisher()
    tracks.begin(publisher, (media(BASELINE),))
    tracks._key_frame(HIGH_SPS[:12] + b"\x65\x88", 0)
    assert publisher.arrived == 1
    assert tracks.codecs["video"] == BASELINE


async def test_a_key_frame_of_a_publisher_that_has_gone_is_passed_over() -> None:
    tracks, publisher = stream(), Publisher()
    tracks.begin(publisher, (media(BASELINE),))
    tracks.finish(publisher)
    tracks._key_frame(HIGH_SPS, 0)
    assert publisher.arrived == 0


async def test_a_viewer_waits_for_the_parameter_sets_of_h264() -> None:
    tracks, publisher = stream(), Publisher()
    tracks.begin(publisher, (media(BASELINE),))
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(tracks.described())
        await asyncio.sleep(0)
        assert not waiting.done()
        assert publisher.asked == 1
        tracks._key_frame(HIGH_SPS, time.monotonic_ns())


async def test_a_viewer_does_not_wait_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "PARAMETER_SETS_TIMEOUT", 0.01)
    tracks = stream()
    tracks.begin(Publisher(), (media(BASELINE),))
    await tracks.described()


async def test_a_viewer_does_not_wait_where_there_is_nothing_to_wait_for() -> None:
    tracks = stream()
    await tracks.described()
    tracks.begin(Publisher(), (media(VP8),))
    await tracks.described()


async def test_a_waiting_viewer_goes_on_when_the_publisher_leaves() -> None:
    tracks, publisher = stream(), Publisher()
    tracks.begin(publisher, (media(BASELINE),))
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(tracks.described())
        await asyncio.sleep(0)
        tracks.finish(publisher)
        await waiting


def test_closing_frees_the_tracks_of_the_plane() -> None:
    plane = FakePlane()
    tracks = stream(plane)
    assert len(plane.tracks) == 2
    tracks.close()
    assert not plane.tracks


def test_a_plane_with_room_for_half_a_stream_keeps_nothing_of_it() -> None:
    plane = FakePlane(tracks=1)
    with pytest.raises(AtCapacity):
        stream(plane)
    assert not plane.tracks


def test_an_ssrc_is_never_zero_and_fits() -> None:
    assert all(0 < random_ssrc() < 1 << 32 for _ in range(1000))
