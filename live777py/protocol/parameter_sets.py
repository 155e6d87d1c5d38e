"""What a key frame's headers say of the stream: profile, level and picture size.

An offer's parameters are a promise that publishers break (OBS says 42e01f and sends
High); the parameter sets in the media are the truth. This module reads the payloads of
single RTP packets. It never raises: what cannot be read is None.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .bits import BitReader, EndOfBits
from .codecs import Format

#: Enough for any parameter set that is met; longer ones are read as far as this.
_MAX_HEADER = 1024


@dataclass(frozen=True, slots=True)
class MediaInfo:
    """What one packet told.

    Attributes:
        parameters: format parameters as the codec's fmtp line spells them, to replace
            those of the same name in `Codec.parameters`.
        width, height: the visible picture in pixels, None where the packet lacks it.
    """

    parameters: tuple[tuple[str, str], ...] = ()
    width: int | None = None
    height: int | None = None


def inspect(format: Format, payload: bytes) -> MediaInfo | None:
    """Read the parameter sets or the sequence header in one RTP payload.

    Args:
        format: of the payload.
        payload: what follows the RTP header and its extensions, padding removed.

    Returns:
        What it says, or None if it says nothing or is broken.
    """
    inspector = _INSPECTORS.get(format)
    if inspector is None:
        return None
    try:
        return inspector(payload)
    except (EndOfBits, IndexError):
        return None


def _h264(payload: bytes) -> MediaInfo | None:
    for unit in _h264_units(payload):
        if unit[0] & 0x1F == 7:  # sequence parameter set
            return _h264_sps(_without_emulation(unit[1:]))
    return None


def _h264_units(payload: bytes) -> Iterator[bytes]:
    """The NAL units that begin in a payload (RFC 6184 section 5.2)."""
    kind = payload[0] & 0x1F
    if kind == 24:  # STAP-A, section 5.7.1
        yield from _aggregated(payload, 1)
    elif kind == 28:  # FU-A, section 5.8: only its first fragment begins a unit
        if payload[1] & 0x80:
            yield bytes([payload[0] & 0xE0 | payload[1] & 0x1F]) + payload[2:]
    else:
        yield payload


def _aggregated(payload: bytes, position: int) -> Iterator[bytes]:
    while position + 2 < len(payload):
        end = position + 2 + int.from_bytes(payload[position : position + 2])
        if unit := payload[position + 2 : end]:
            yield unit
        position = end


def _without_emulation(unit: bytes) -> bytes:
    """The raw bytes of a NAL unit (ITU-T H.264 section 7.4.1.1)."""
    return unit[:_MAX_HEADER].replace(b"\x00\x00\x03", b"\x00\x00")


def _h264_sps(sps: bytes) -> MediaInfo:
    """ITU-T H.264 section 7.3.2.1.1; the parameter is of RFC 6184 section 8.1."""
    if len(sps) < 3:
        raise EndOfBits("a sequence parameter set of less than three bytes")
    parameters = (("profile-level-id", sps[:3].hex()),)
    try:
        width, height = _h264_size(BitReader(sps[3:]), profile=sps[0])
    except EndOfBits:  # the profile is worth having alone
        return MediaInfo(parameters)
    return MediaInfo(parameters, width, height)


#: Profiles whose SPS has the fields of section 7.3.2.1.1 from chroma_format_idc on.
_H264_HIGH = frozenset((100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135))


def _h264_size(reader: BitReader, profile: int) -> tuple[int, int]:
    reader.ue()  # seq_parameter_set_id
    chroma = _h264_chroma(reader) if profile in _H264_HIGH else 1
    reader.ue()  # log2_max_frame_num_minus4
    order = reader.ue()
    if order == 0:
        reader.ue()  # log2_max_pic_order_cnt_lsb_minus4
    elif order == 1:
        reader.skip(1)  # delta_pic_order_always_zero_flag
        reader.se()  # offset_for_non_ref_pic
        reader.se()  # offset_for_top_to_bottom_field
        for _ in range(_at_most(255, reader.ue())):
            reader.se()  # offset_for_ref_frame
    reader.ue()  # max_num_ref_frames
    reader.skip(1)  # gaps_in_frame_num_value_allowed_flag
    width = 16 * (reader.ue() + 1)
    map_units = reader.ue() + 1
    frames_only = reader.flag()
    height = 16 * map_units * (1 if frames_only else 2)
    if not frames_only:
        reader.skip(1)  # mb_adaptive_frame_field_flag
    reader.skip(1)  # direct_8x8_inference_flag
    if reader.flag():  # frame_cropping_flag
        left, right, top, bottom = (reader.ue() for _ in range(4))
        unit_x = 2 if chroma in (1, 2) else 1
        unit_y = (2 if chroma == 1 else 1) * (1 if frames_only else 2)
        width -= unit_x * (left + right)
        height -= unit_y * (top + bottom)
    return _size(width, height)


def _h264_chroma(reader: BitReader) -> int:
    """Pass over the fields of the High profiles; the chroma format (0: monochrome)."""
    chroma = reader.ue()
    separate = chroma == 3 and reader.flag()
    reader.ue()  # bit_depth_luma_minus8
    reader.ue()  # bit_depth_chroma_minus8
    reader.skip(1)  # qpprime_y_zero_transform_bypass_flag
    if reader.flag():  # seq_scaling_matrix_present_flag
        for index in range(12 if chroma == 3 else 8):
            if reader.flag():
                _skip_scaling_list(reader, 16 if index < 6 else 64)
    return 0 if separate else chroma


def _skip_scaling_list(reader: BitReader, size: int) -> None:
    """ITU-T H.264 section 7.3.2.1.1.1."""
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + reader.se()) % 256
        last = following or last


def _h265(payload: bytes) -> MediaInfo | None:
    found = None
    for unit in _h265_units(payload):
        kind = unit[0] >> 1 & 0x3F
        if kind == 33:  # sequence parameter set
            return _h265_sps(BitReader(_without_emulation(unit[2:])))
        if kind == 32:  # video parameter set: profile and level, but no size
            found = _h265_vps(BitReader(_without_emulation(unit[2:])))
    return found


def _h265_units(payload: bytes) -> Iterator[bytes]:
    """The NAL units that begin in a payload (RFC 7798 section 4.4)."""
    kind = payload[0] >> 1 & 0x3F
    if kind == 48:  # aggregation packet
        yield from _aggregated(payload, 2)
    elif kind == 49:  # fragmentation unit
        if payload[2] & 0x80:
            head = payload[0] & 0x81 | (payload[2] & 0x3F) << 1
            yield bytes([head, payload[1]]) + payload[3:]
    else:
        yield payload


def _h265_vps(reader: BitReader) -> MediaInfo:
    """ITU-T H.265 section 7.3.2.1."""
    reader.skip(4 + 2 + 6)  # id, base layer flags, vps_max_layers_minus1
    sub_layers = reader.bits(3)
    reader.skip(1 + 16)  # vps_temporal_id_nesting_flag, reserved
    return MediaInfo(_h265_profile(reader, sub_layers))


def _h265_sps(reader: BitReader) -> MediaInfo:
    """ITU-T H.265 section 7.3.2.2."""
    reader.skip(4)  # sps_video_parameter_set_id
    sub_layers = reader.bits(3)
    reader.skip(1)  # sps_temporal_id_nesting_flag
    parameters = _h265_profile(reader, sub_layers)
    try:
        width, height = _h265_size(reader)
    except EndOfBits:
        return MediaInfo(parameters)
    return MediaInfo(parameters, width, height)


def _h265_profile(reader: BitReader, sub_layers: int) -> tuple[tuple[str, str], ...]:
    """ITU-T H.265 section 7.3.3; the parameters are of RFC 7798 section 7.1."""
    space, tier, profile = reader.bits(2), reader.bits(1), reader.bits(5)
    reader.skip(32 + 48)  # compatibility flags, constraints
    level = reader.bits(8)
    present = [(reader.flag(), reader.flag()) for _ in range(sub_layers)]
    if sub_layers:
        reader.skip(2 * (8 - sub_layers))
    for has_profile, has_level in present:
        reader.skip(88 * has_profile + 8 * has_level)
    parameters = (
        ("profile-id", str(profile)),
        ("tier-flag", str(tier)),
        ("level-id", str(level)),
    )
    return (("profile-space", str(space)), *parameters) if space else parameters


def _h265_size(reader: BitReader) -> tuple[int, int]:
    reader.ue()  # sps_seq_parameter_set_id
    chroma = reader.ue()
    if chroma == 3 and reader.flag():
        chroma = 0  # separate planes are cropped as monochrome is
    width, height = reader.ue(), reader.ue()
    if reader.flag():  # conformance_window_flag
        left, right, top, bottom = (reader.ue() for _ in range(4))
        width -= (2 if chroma in (1, 2) else 1) * (left + right)
        height -= (2 if chroma == 1 else 1) * (top + bottom)
    return _size(width, height)


def _vp8(payload: bytes) -> MediaInfo | None:
    """RFC 7741 section 4.2 and RFC 6386 section 9.1."""
    begins = payload[0] & 0x10 and not payload[0] & 0x07
    position = 1
    if payload[0] & 0x80:
        extension = payload[1]
        position = 2
        if extension & 0x80:  # picture id, of 7 or 15 bits
            position += 2 if payload[position] & 0x80 else 1
        position += bool(extension & 0x40) + bool(extension & 0x30)
    frame = payload[position : position + 10]
    if not begins or len(frame) < 10 or frame[0] & 1 or frame[3:6] != b"\x9d\x01\x2a":
        return None
    width = int.from_bytes(frame[6:8], "little") & 0x3FFF
    height = int.from_bytes(frame[8:10], "little") & 0x3FFF
    return MediaInfo((), *_size(width, height))


def _vp9(payload: bytes) -> MediaInfo | None:
    """The payload descriptor of RFC 9628 section 4.2, then the frame's own header."""
    first = payload[0]
    has_id, predicted, layered, flexible, begins, scalable = (
        bool(first >> shift & 1) for shift in (7, 6, 5, 4, 3, 1)
    )
    position = 1
    if has_id:
        position += 2 if payload[position] & 0x80 else 1
    if layered:
        position += 1 if flexible else 2
    if flexible and predicted:
        position = _skip_vp9_references(payload, position)
    largest: tuple[int, int] | None = None
    if scalable:
        largest, position = _vp9_structure(payload, position)
    info = _vp9_frame(BitReader(payload[position : position + 32])) if begins else None
    if largest is None:
        return info
    return MediaInfo(info.parameters if info else (), *largest)


def _skip_vp9_references(payload: bytes, position: int) -> int:
    for _ in range(3):
        position += 1
        if not payload[position - 1] & 1:
            break
    return position


def _vp9_structure(payload: bytes, position: int) -> tuple[tuple[int, int] | None, int]:
    """The size of the largest spatial layer, if told; and where the structure ends."""
    head = payload[position]
    position += 1
    largest = None
    if head & 0x10:
        layers = (head >> 5) + 1
        position += 4 * layers
        if position > len(payload):
            raise EndOfBits("VP9 payload ends within its scalability structure")
        width = int.from_bytes(payload[position - 4 : position - 2])
        height = int.from_bytes(payload[position - 2 : position])
        largest = _size(width, height)
    if head & 0x08:
        pictures = payload[position]
        position += 1
        for _ in range(pictures):
            position += 1 + (payload[position] >> 2 & 3)
    return largest, position


def _vp9_frame(reader: BitReader) -> MediaInfo | None:
    """VP9 bitstream specification section 6.2; the parameter is of RFC 9628."""
    if reader.bits(2) != 2:  # frame_marker
        return None
    profile = reader.bits(1) | reader.bits(1) << 1
    if profile == 3:
        reader.skip(1)
    if reader.flag() or reader.flag():  # show_existing_frame, not a key frame
        return None
    reader.skip(2)  # show_frame, error_resilient_mode
    if reader.bits(24) != 0x498342:
        return None
    if profile >= 2:
        reader.skip(1)  # ten_or_twelve_bit
    if reader.bits(3) == 7:  # sRGB
        reader.skip(1 if profile in (1, 3) else 0)
    else:
        reader.skip(4 if profile in (1, 3) else 1)  # color_range, subsampling
    width, height = reader.bits(16) + 1, reader.bits(16) + 1
    return MediaInfo((("profile-id", str(profile)),), width, height)


def _av1(payload: bytes) -> MediaInfo | None:
    for unit in _av1_units(payload):
        header = unit[0]
        if header >> 3 & 0x0F != 1:  # sequence header
            continue
        position = 1 + (header >> 2 & 1)
        if header >> 1 & 1:  # has a size of its own
            _, position = _leb128(unit, position)
        return _av1_sequence(BitReader(unit[position : position + _MAX_HEADER]))
    return None


def _av1_units(payload: bytes) -> Iterator[bytes]:
    """The OBUs that begin in a payload (AV1 RTP payload format section 4.4)."""
    count = payload[0] >> 4 & 3
    is_continuation = payload[0] & 0x80
    position, index = 1, 0
    while position < len(payload):
        index += 1
        size = len(payload) - position
        if index != count:
            size, position = _leb128(payload, position)
        unit = payload[position : position + size]
        if unit and not (is_continuation and index == 1):
            yield unit
        position += size


def _leb128(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    for index in range(8):
        byte = data[position + index]
        value |= (byte & 0x7F) << 7 * index
        if not byte & 0x80:
            return value, position + index + 1
    raise EndOfBits("a LEB128 number of more than eight bytes")


def _av1_sequence(reader: BitReader) -> MediaInfo:
    """AV1 bitstream specification section 5.5; parameters as its RTP format names them."""
    profile = reader.bits(3)
    reader.skip(1)  # still_picture
    tier = 0
    if reader.flag():  # reduced_still_picture_header
        level = reader.bits(5)
    else:
        level, tier = _av1_operating_point(reader)
    width_bits, height_bits = reader.bits(4) + 1, reader.bits(4) + 1
    width, height = reader.bits(width_bits) + 1, reader.bits(height_bits) + 1
    parameters = (
        ("profile", str(profile)),
        ("level-idx", str(level)),
        ("tier", str(tier)),
    )
    return MediaInfo(parameters, width, height)


def _av1_operating_point(reader: BitReader) -> tuple[int, int]:
    """Level and tier of the first operating point, which is that of all layers."""
    delay_bits = 0
    if reader.flag():  # timing_info_present_flag
        reader.skip(64)  # num_units_in_display_tick, time_scale
        if reader.flag():  # equal_picture_interval
            reader.ue()  # num_ticks_per_picture_minus_1
        if reader.flag():  # decoder_model_info_present_flag
            delay_bits = reader.bits(5) + 1
            reader.skip(32 + 5 + 5)
    has_display_delay = reader.flag()
    points = []
    for _ in range(reader.bits(5) + 1):
        reader.skip(12)  # operating_point_idc
        level = reader.bits(5)
        points.append((level, reader.bits(1) if level > 7 else 0))
        if delay_bits and reader.flag():  # decoder_model_present_for_this_op
            reader.skip(2 * delay_bits + 1)
        if has_display_delay and reader.flag():
            reader.skip(4)  # initial_display_delay_minus_1
    return points[0]


def _at_most(bound: int, value: int) -> int:
    if value > bound:
        raise EndOfBits(f"a count of {value} where {bound} is the most")
    return value


def _size(width: int, height: int) -> tuple[int, int]:
    if not (0 < width <= 1 << 16 and 0 < height <= 1 << 16):
        raise EndOfBits(f"a picture of {width}×{height}")
    return width, height


_INSPECTORS: dict[Format, Callable[[bytes], MediaInfo | None]] = {
    Format.H264: _h264,
    Format.H265: _h265,
    Format.VP8: _vp8,
    Format.VP9: _vp9,
    Format.AV1: _av1,
}
