"""Where key frames begin, told from the payload of single RTP packets.

A packet counts when it carries parameter sets or the start of a frame that decodes by itself.
Every function reads only between `start` and `end`.
"""

from __future__ import annotations

from live777py.protocol.codecs import Format

from .cfuncs import compiled, inlined
from .wire import Buffer, get8, get16

OPAQUE = int(Format.OPAQUE)
H264 = int(Format.H264)
H265 = int(Format.H265)
VP8 = int(Format.VP8)
VP9 = int(Format.VP9)
AV1 = int(Format.AV1)


@inlined
def _is_h264_key(kind: int) -> bool:
    """IDR slice or SPS (H.264 table 7-1)."""
    return kind == 5 or kind == 7


@inlined
def _is_h265_key(kind: int) -> bool:
    """IRAP pictures, VPS, SPS (H.265 table 7-1)."""
    return 16 <= kind <= 23 or kind == 32 or kind == 33


@compiled
def h264_key(buffer: Buffer, row: int, start: int, end: int) -> bool:
    """RFC 6184: single NAL units, STAP-A, FU-A."""
    kind = get8(buffer, row, start) & 31
    if kind == 24:
        at = start + 1
        while at + 2 < end:
            if _is_h264_key(get8(buffer, row, at + 2) & 31):
                return True
            at += 2 + get16(buffer, row, at)
        return False
    if kind == 28:
        if start + 2 > end:
            return False
        header = get8(buffer, row, start + 1)
        return header & 0x80 != 0 and _is_h264_key(header & 31)
    return _is_h264_key(kind)


@compiled
def h265_key(buffer: Buffer, row: int, start: int, end: int) -> bool:
    """RFC 7798: single NAL units, aggregation packets, fragmentation units."""
    if start + 2 > end:
        return False
    kind = (get8(buffer, row, start) >> 1) & 63
    if kind == 48:
        at = start + 2
        while at + 2 < end:
            if _is_h265_key((get8(buffer, row, at + 2) >> 1) & 63):
                return True
            at += 2 + get16(buffer, row, at)
        return False
    if kind == 49:
        if start + 3 > end:
            return False
        header = get8(buffer, row, start + 2)
        return header & 0x80 != 0 and _is_h265_key(header & 63)
    return _is_h265_key(kind)


@compiled
def vp8_key(buffer: Buffer, row: int, start: int, end: int) -> bool:
    """RFC 7741: the start of partition 0 whose frame tag says key frame."""
    first = get8(buffer, row, start)
    if first & 0x17 != 0x10:
        # S must be set and the partition index zero.
        return False
    at = start + 1
    if first & 0x80:
        if at >= end:
            return False
        flags = get8(buffer, row, at)
        at += 1
        if flags & 0x80:
            if at >= end:
                return False
            at += 2 if get8(buffer, row, at) & 0x80 else 1
        if flags & 0x40:
            at += 1
        if flags & 0x30:
            at += 1
    return at < end and get8(buffer, row, at) & 1 == 0


@compiled
def vp9_key(buffer: Buffer, row: int, start: int, end: int) -> bool:
    """RFC 9628: the beginning of a frame of layer 0 that is not predicted from another."""
    first = get8(buffer, row, start)
    if first & 0x48 != 0x08:
        return False
    at = start + 1
    if first & 0x80:
        if at >= end:
            return False
        at += 2 if get8(buffer, row, at) & 0x80 else 1
    if first & 0x20:
        if at >= end:
            return False
        return (get8(buffer, row, at) >> 1) & 7 == 0
    return True


@compiled
def begins_key_frame(
    buffer: Buffer, row: int, start: int, end: int, payload_format: int
) -> bool:
    """Whether this payload begins a key frame of its format."""
    if start >= end:
        return False
    if payload_format == H264:
        return h264_key(buffer, row, start, end)
    if payload_format == H265:
        return h265_key(buffer, row, start, end)
    if payload_format == VP8:
        return vp8_key(buffer, row, start, end)
    if payload_format == VP9:
        return vp9_key(buffer, row, start, end)
    if payload_format == AV1:
        # The N bit: the first packet of a coded video sequence.
        return get8(buffer, row, start) & 0x08 != 0
    return False
