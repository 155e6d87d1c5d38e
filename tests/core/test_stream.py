"""Streams: names, places, snapshots."""

from __future__ import annotations

import pytest

from live777py.core.model import Role, StreamName
from live777py.core.stream import MAX_NAME_BYTES, Stream, StreamPolicy, stream_name
from live777py.errors import AlreadyPublishing, AtCapacity, InvalidName
from tests.core.fakes import FakeRelay


@pytest.mark.parametrize(
    "name",
    [
        "cam",
        "a b",
        "Küche",
        "摄像头",
        "a/b",
        "...",
        "\u3000",
        "👨\u200d👩\u200d👧",
        "\U0001fae8",
        "x" * MAX_NAME_BYTES,
        "ä" * 127,
    ],
)
def test_any_printable_name_will_do(name: str) -> None:
    assert stream_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "x" * 256,
        "ä" * 128,
        "a\nb",
        "\0",
        "a\x7f",
        ".",
        "..",
        "a\u2028",
        "\u202egnp",
    ],
)
def test_empty_long_and_control_names_are_refused(name: str) -> None:
    with pytest.raises(InvalidName):
        stream_name(name)


async def test_a_new_stream_is_idle() -> None:
    assert Stream(StreamName("cam"), FakeRelay(), StreamPolicy(max_viewers=1)).is_idle


async def test_there_is_one_publisher_at_a_time() -> None:
    stream = Stream(StreamName("cam"), FakeRelay(), StreamPolicy(max_viewers=1))
    first = stream.attach(Role.PUBLISH)
    with pytest.raises(AlreadyPublishing):
        stream.attach(Role.PUBLISH)
    stream.detach(first)
    assert stream.attach(Role.PUBLISH) is not first


async def test_the_number_of_viewers_is_bounded() -> None:
    stream = Stream(StreamName("cam"), FakeRelay(), StreamPolicy(max_viewers=1))
    viewer = stream.attach(Role.SUBSCRIBE)
    with pytest.raises(AtCapacity):
        stream.attach(Role.SUBSCRIBE)
    stream.detach(viewer)
    stream.attach(Role.SUBSCRIBE)


async def test_each_session_has_an_id_of_128_random_bits() -> None:
    stream = Stream(StreamName("cam"), FakeRelay(), StreamPolicy(max_viewers=100))
    ids = {stream.attach(Role.SUBSCRIBE).id for _ in range(100)}
    assert len(ids) == 100
    assert all(len(bytes.fromhex(i)) == 16 for i in ids)


async def test_a_side_remembers_since_when_it_is_empty() -> None:
    stream = Stream(StreamName("cam"), FakeRelay(), StreamPolicy(max_viewers=2))
    info = stream.info(0)
    assert (info.publish.left_at, info.subscribe.left_at) == (0, info.created_at)
    publisher, viewer = stream.attach(Role.PUBLISH), stream.attach(Role.SUBSCRIBE)
    info = stream.info(0)
    assert (info.publish.left_at, info.subscribe.left_at) == (0, 0)
    stream.detach(publisher)
    stream.detach(viewer)
    info = stream.info(0)
    assert info.publish.left_at >= info.created_at
    assert info.subscribe.left_at >= info.created_at
