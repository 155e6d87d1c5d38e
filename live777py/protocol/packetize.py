"""Encoded pictures and sound into RTP payloads: H.264 (RFC 6184), VP8 (RFC 7741), Opus."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from live777py.protocol.codecs import Format

#: Payload bytes that fit an RTP packet on any path, with room for SRTP and extensions.
MAX_PAYLOAD = 1150

_START_CODE = b"\x00\x00\x01"
_SMALL_UNITS = (6, 7, 8, 9)  # SEI, parameter sets, delimiter
_STAP_A = 24
_FU_A = 28
_SEI = 6
_USER_DATA = 5  # user_data_unregistered, H.264 annex D.1.7


def payloads(format: Format, sample: bytes, limit: int = MAX_PAYLOAD) -> list[bytes]:
    """The RTP payloads of one encoded picture or packet of sound, in order.

    Args:
        format: H264 (Annex B), VP8, or OPAQUE for what fits one packet, such as Opus.
        sample: one access unit, frame or packet.
        limit: largest payload.
    """
    match format:
        case Format.H264:
            return packetize_h264(annex_b_units(sample), limit)
        case Format.VP8:
            size = limit - 1
            parts = [sample[i : i + size] for i in range(0, len(sample), size)]
            # The S bit begins the frame's only partition that we tell of.
            return [(b"\x00" if i else b"\x10") + part for i, part in enumerate(parts)]
        case Format.OPAQUE:
            return [sample]
        case _:
            raise ValueError(f"{format.name} is not packetised here")


def annex_b_units(data: bytes) -> list[bytes]:
    """The NAL units of an Annex B byte stream, without start codes."""
    starts = []
    position = data.find(_START_CODE)
    while position >= 0:
        starts.append(position)
        position = data.find(_START_CODE, position + 3)
    ends = [*starts[1:], len(data)]
    # A zero before a start code belongs to the code or is a trailing zero byte.
    units = [
        data[start + 3 : end].rstrip(b"\x00")
        for start, end in zip(starts, ends, strict=True)
    ]
    return [unit for unit in units if unit]


def packetize_h264(units: Iterable[bytes], limit: int = MAX_PAYLOAD) -> list[bytes]:
    """Packetization mode 1: what is small in a STAP-A, long units in FU-A."""
    result: list[bytes] = []
    small: list[bytes] = []
    for unit in units:
        if is_small(unit) and len(unit) + 3 <= limit:
            if sum(len(u) + 2 for u in small) + len(unit) + 3 > limit:
                result += _aggregate(small)
                small = []
            small.append(unit)
            continue
        result += _aggregate(small)
        small = []
        result += [unit] if len(unit) <= limit else _fragments(unit, limit)
    return result + _aggregate(small)


def user_data(data: bytes) -> bytes:
    """An H.264 NAL unit that every decoder ignores: unregistered user data.

    Args:
        data: 16 bytes that say whose it is, then anything; 255 bytes at most.
    """
    return bytes([_SEI]) + _with_emulation(
        bytes([_USER_DATA, len(data)]) + data + b"\x80"
    )


def is_small(unit: bytes) -> bool:
    """Whether an H.264 NAL unit is one that stands before the picture's slices."""
    return unit[0] & 0x1F in _SMALL_UNITS


def _with_emulation(payload: bytes) -> bytes:
    """What would look like a start code, broken up (H.264 section 7.4.1)."""
    result = bytearray()
    zeros = 0
    for byte in payload:
        if zeros == 2 and byte <= 3:
            result.append(3)
            zeros = 0
        result.append(byte)
        zeros = zeros + 1 if byte == 0 else 0
    return bytes(result)


def _aggregate(units: Sequence[bytes]) -> list[bytes]:
    if len(units) < 2:
        return list(units)
    importance = max(unit[0] & 0x60 for unit in units)
    body = b"".join(len(unit).to_bytes(2) + unit for unit in units)
    return [bytes([importance | _STAP_A]) + body]


def _fragments(unit: bytes, limit: int) -> list[bytes]:
    size = limit - 2
    parts = [unit[i : i + size] for i in range(1, len(unit), size)]
    last = len(parts) - 1
    return [
        bytes(
            [
                unit[0] & 0xE0 | _FU_A,
                (index == 0) << 7 | (index == last) << 6 | unit[0] & 0x1F,
            ]
        )
        + part
        for index, part in enumerate(parts)
    ]
