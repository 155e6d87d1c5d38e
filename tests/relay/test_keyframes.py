from __future__ import annotations

import numpy as np
import pytest

from live777py.protocol.codecs import Format
from live777py.relay.keyframes import begins_key_frame


def _begins(format: Format, payload: bytes) -> bool:
    # Zeros around it: what lies outside must not be read.
    data = np.frombuffer(b"\xff" * 7 + payload + b"\xff" * 9, np.uint8).reshape(1, -1)
    return bool(begins_key_frame(data.copy(), 0, 7, 7 + len(payload), int(format)))


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ("67 42", True),  # SPS
        ("65 88", True),  # IDR slice
        ("68 ce", False),  # PPS
        ("41 9a", False),  # slice
        ("09 10", False),  # access unit delimiter
        ("78 0002 0910 0003 674200 0002 68ce", True),  # STAP-A with an SPS
        ("78 0002 0910 0002 68ce", False),
        ("78 ffff 0967", False),  # a size beyond the packet
        ("78 0002", False),
        ("78 0000 0001 65", True),
        ("7c 85 00", True),  # FU-A, start of an IDR slice
        ("7c 05 00", False),  # its middle
        ("7c 81 00", False),  # start of another slice
        ("7c", False),
        ("", False),
    ],
)
def test_h264(payload: str, expected: bool) -> None:
    assert _begins(Format.H264, bytes.fromhex(payload)) is expected


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ("4001 0c", True),  # VPS
        ("4201 01", True),  # SPS
        ("4401 c0", False),  # PPS
        ("2601 af", True),  # IDR_W_RADL
        ("2a01 af", True),  # CRA
        ("0201 d0", False),  # TRAIL_R
        ("6001 0002 4601 0003 420101", True),  # AP: delimiter, SPS
        ("6001 0002 4601", False),
        ("6201 93 00", True),  # FU, start of an IDR
        ("6201 13 00", False),
        ("6201", False),
        ("40", False),
        ("", False),
    ],
)
def test_h265(payload: str, expected: bool) -> None:
    assert _begins(Format.H265, bytes.fromhex(payload)) is expected


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ("10 00", True),
        ("10 01", False),  # an interframe
        ("00 00", False),  # no start of a partition
        ("11 00", False),  # partition 1
        ("90 80 12 00", True),  # seven-bit picture id
        ("90 80 9234 00", True),  # fifteen bits
        ("90 80 9234 01", False),
        ("90 e0 9234 05 40 00", True),  # TL0PICIDX and TID
        ("90 e0 9234 05", False),
        ("90", False),
        ("10", False),
        ("90 80", False),
        ("", False),
    ],
)
def test_vp8(payload: str, expected: bool) -> None:
    assert _begins(Format.VP8, bytes.fromhex(payload)) is expected


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ("08 00", True),
        ("48 00", False),  # predicted
        ("00 00", False),  # not a beginning
        ("88 05", True),
        ("a8 9234 00", True),  # long picture id, layer indices: spatial layer 0
        ("a8 9234 02", False),  # spatial layer 1
        ("28 00", True),
        ("28 02", False),
        ("a8 92", False),
        ("88", False),
        ("28", False),
        ("", False),
    ],
)
def test_vp9(payload: str, expected: bool) -> None:
    assert _begins(Format.VP9, bytes.fromhex(payload)) is expected


@pytest.mark.parametrize(
    ("payload", "expected"), [("18 0a", True), ("10 32", False), ("", False)]
)
def test_av1(payload: str, expected: bool) -> None:
    assert _begins(Format.AV1, bytes.fromhex(payload)) is expected


def test_opaque_payloads_have_no_key_frames() -> None:
    assert _begins(Format.OPAQUE, b"\x67\x42") is False
