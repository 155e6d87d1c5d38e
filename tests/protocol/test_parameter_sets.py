from __future__ import annotations

import functools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from live777py.protocol.codecs import Format
from live777py.protocol.parameter_sets import MediaInfo, inspect
from tests.support import media

SIZES = [(320, 240), (1920, 1080), (322, 182)]


@functools.cache
def key_frame(
    format: Format,
    width: int,
    height: int,
    pixel_format: str = "yuv420p",
    **options: str,
) -> bytes:
    return media.encode(
        format,
        width=width,
        height=height,
        frames=1,
        options=options,
        pixel_format=pixel_format,
    )[0].data


def seen(format: Format, frame: bytes, mtu: int = media.MTU) -> MediaInfo:
    """What the first telling packet of a frame says, as the relay would find it."""
    for payload in media.payloads(format, frame, mtu=mtu):
        if info := inspect(format, payload):
            return info
    raise AssertionError("no packet of the key frame told anything")


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize(
    ("profile", "begins"), [("baseline", "42c0"), ("main", "4d40"), ("high", "6400")]
)
def test_h264_tells_profile_and_visible_size(
    profile: str, begins: str, width: int, height: int
) -> None:
    info = seen(Format.H264, key_frame(Format.H264, width, height, profile=profile))
    assert (info.width, info.height) == (width, height)
    ((name, value),) = info.parameters
    assert name == "profile-level-id"
    assert value[:4] == begins
    assert len(value) == 6


@pytest.mark.parametrize(
    ("pixel_format", "options", "profile"),
    [
        ("yuv420p", {"x264-params": "cqm=jvt"}, "64"),
        ("yuv422p", {"profile": "high422"}, "7a"),
        ("yuv444p", {"profile": "high444"}, "f4"),
        ("gray", {"profile": "high"}, "64"),
        ("yuv420p", {"profile": "main", "flags": "+ildct+ilme"}, "4d"),
    ],
)
def test_h264_of_rarer_kinds_is_read(
    pixel_format: str, options: dict[str, str], profile: str
) -> None:
    frame = key_frame(Format.H264, 1920, 1080, pixel_format, **options)
    info = seen(Format.H264, frame)
    assert (info.width, info.height) == (1920, 1080)
    assert info.parameters[0][1].startswith(profile)


def h264_sps() -> bytes:
    units = media.annex_b_units(key_frame(Format.H264, 1920, 1080, profile="high"))
    return next(unit for unit in units if unit[0] & 0x1F == 7)


def test_an_h264_parameter_set_alone_in_a_packet_is_read() -> None:
    assert inspect(Format.H264, h264_sps()) == MediaInfo(
        (("profile-level-id", "640028"),), 1920, 1080
    )


def test_an_h264_parameter_set_in_fragments_tells_at_least_the_profile() -> None:
    sps = h264_sps()
    first, *_, last = media._fu_a(sps, 8)
    assert inspect(Format.H264, first) == MediaInfo((("profile-level-id", "640028"),))
    assert inspect(Format.H264, last) is None
    assert inspect(Format.H264, sps[:3]) is None


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_h265_tells_profile_tier_level_and_visible_size(
    width: int, height: int
) -> None:
    frame = key_frame(Format.H265, width, height)
    units = media.annex_b_units(frame)
    assert inspect(Format.H265, units[0]) is not None
    info = inspect(Format.H265, units[1])
    assert info is not None
    assert (info.width, info.height) == (width, height)
    parameters = dict(info.parameters)
    assert (parameters["profile-id"], parameters["tier-flag"]) == ("1", "0")
    if (width, height) == (1920, 1080):
        assert parameters["level-id"] == "120"


def test_h265_parameter_sets_in_an_aggregation_packet_are_read() -> None:
    units = media.annex_b_units(key_frame(Format.H265, 1920, 1080))[:3]
    body = b"".join(len(unit).to_bytes(2) + unit for unit in units)
    info = inspect(Format.H265, bytes([48 << 1, 1]) + body)
    assert info is not None
    assert (info.width, info.height) == (1920, 1080)


def test_an_h265_parameter_set_in_fragments_tells_at_least_the_profile() -> None:
    sps = media.annex_b_units(key_frame(Format.H265, 320, 240))[1]
    first, *_, last = media.packetize_h265([sps], 20)
    info = inspect(Format.H265, first)
    assert info is not None
    assert info.width is None
    assert dict(info.parameters)["profile-id"] == "1"
    assert inspect(Format.H265, last) is None


@pytest.mark.parametrize("pixel_format", ["yuv422p", "yuv444p"])
def test_h265_of_other_chroma_formats_is_read(pixel_format: str) -> None:
    units = media.annex_b_units(key_frame(Format.H265, 1922, 1082, pixel_format))
    info = inspect(Format.H265, units[1])
    assert info is not None
    assert (info.width, info.height) == (1922, 1082)
    assert dict(info.parameters)["profile-id"] == "4"


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_vp8_tells_its_size(width: int, height: int) -> None:
    frame = key_frame(Format.VP8, width, height)
    assert seen(Format.VP8, frame) == MediaInfo((), width, height)
    first, *others = media.payloads(Format.VP8, frame, mtu=100)
    assert inspect(Format.VP8, b"\x90\xe0\x81\x23\x05\x01" + first[1:]) == MediaInfo(
        (), width, height
    )
    assert all(inspect(Format.VP8, other) is None for other in others)


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize(("pixel_format", "profile"), [("yuv420p", 0), ("yuv444p", 1)])
def test_vp9_tells_profile_and_size(
    width: int, height: int, pixel_format: str, profile: int
) -> None:
    frame = key_frame(Format.VP9, width, height, pixel_format)
    assert seen(Format.VP9, frame) == MediaInfo(
        (("profile-id", str(profile)),), width, height
    )


#: Two layers, of which the larger has 640×480; two pictures with one and two references.
STRUCTURE = b"\x38\x01\x40\x00\xf0\x02\x80\x01\xe0" + b"\x02\x04\x01\x08\x02\x03"


@pytest.mark.parametrize(
    "descriptor",
    [
        b"\x0a",
        b"\x8a\x05",
        b"\x9a\x81\x01",
        b"\xba\x81\x01\x00",
        b"\xaa\x81\x01\x00\x07",
        b"\xda\x81\x01\x03\x05\x02",
    ],
    ids=["bare", "id", "flexible", "layer", "layer with tl0", "references"],
)
def test_vp9_tells_the_size_of_its_largest_layer(descriptor: bytes) -> None:
    frame = key_frame(Format.VP9, 320, 240)
    assert inspect(Format.VP9, descriptor + STRUCTURE + frame) == MediaInfo(
        (("profile-id", "0"),), 640, 480
    )


def test_vp9_tells_its_layers_without_a_frame_too() -> None:
    assert inspect(Format.VP9, b"\x02" + STRUCTURE) == MediaInfo((), 640, 480)
    assert inspect(Format.VP9, b"\x02\x38\x01") is None


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_av1_tells_profile_level_and_size(width: int, height: int) -> None:
    info = seen(Format.AV1, key_frame(Format.AV1, width, height))
    assert (info.width, info.height) == (width, height)
    names = [name for name, _ in info.parameters]
    assert names == ["profile", "level-idx", "tier"]
    assert dict(info.parameters)["profile"] == "0"
    if (width, height) == (1920, 1080):
        assert dict(info.parameters)["level-idx"] == "8"


@pytest.mark.parametrize("format", [f for f in Format if f])
def test_frames_between_key_frames_tell_nothing(format: Format) -> None:
    frames = media.encode(format, frames=3)
    assert not frames[1].is_key
    for payload in media.payloads(format, frames[1].data):
        assert inspect(format, payload) is None


def test_what_is_opaque_tells_nothing() -> None:
    assert inspect(Format.OPAQUE, b"whatever") is None


def telling(format: Format) -> bytes:
    """A payload of a real key frame that tells something."""
    for payload in media.payloads(format, key_frame(format, 320, 240)):
        if inspect(format, payload):
            return payload
    raise AssertionError


@given(st.sampled_from(list(Format)), st.binary(max_size=80))
def test_garbage_never_raises(format: Format, payload: bytes) -> None:
    inspect(format, payload)


@given(st.sampled_from([f for f in Format if f]), st.data())
def test_a_spoilt_header_never_raises(format: Format, data: st.DataObject) -> None:
    payload = bytearray(telling(format)[:200])
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, min(60, len(payload) - 1)))
        payload[position] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(payload)))
    info = inspect(format, bytes(payload[:cut]))
    assert info is None or info.width is None or 0 < info.width <= 1 << 16


@pytest.mark.parametrize("head", [b"\x67", b"\x78\x00\x40\x67", b"\x7c\x87"])
@given(body=st.binary(max_size=60))
def test_a_garbage_h264_parameter_set_never_raises(head: bytes, body: bytes) -> None:
    inspect(Format.H264, head + body)
