"""RTP headers: finding what is in them, normalising them, and giving them to a viewer.

RFC 3550 section 5.1 and RFC 8285. A packet in the history has no CSRCs, and of its header
extensions only those that travel to viewers, under the ids of `protocol.extensions`. A
viewer's copy has the same size: what it did not negotiate becomes padding in place, since
packets of equal size are what makes UDP GSO possible and padding is ignored by all receivers
(RFC 8285 section 4.1.2), also by those that negotiated no extension at all.
"""

from __future__ import annotations

from live777py.protocol.extensions import FORWARDED

from .cfuncs import address_of, compiled, inlined, memcpy
from .tables import MAX_PACKET, ROW
from .wire import Buffer, get8, get16, put16

FIXED_HEADER = 12
ONE_BYTE = 0xBEDE
TWO_BYTE = 0x1000
#: Canonical ids are 1 to this; eight bits each of one positive 64-bit integer.
LAST_EXTENSION = int(max(FORWARDED))
if LAST_EXTENSION > 7:
    raise AssertionError("forwarded extensions must fit into 7 ids")


@inlined
def locate(buffer: Buffer, row: int, length: int) -> tuple[int, int, int]:
    """Find the parts of an RTP packet.

    Returns:
        Where the payload begins (-1: malformed), where the extension elements begin, and the
        profile of the header extension. The elements end where the payload begins.
    """
    if length < FIXED_HEADER:
        return -1, 0, 0
    first = get8(buffer, row, 0)
    if first >> 6 != 2:
        return -1, 0, 0
    payload = FIXED_HEADER + 4 * (first & 15)
    elements = payload
    profile = 0
    if first & 0x10:
        if payload + 4 > length:
            return -1, 0, 0
        profile = get16(buffer, row, payload)
        elements = payload + 4
        payload = elements + 4 * get16(buffer, row, payload + 2)
    if payload > length:
        return -1, 0, 0
    return payload, elements, profile


@inlined
def padding(buffer: Buffer, row: int, payload: int, length: int) -> int:
    """Bytes of RTP padding at the end; -1 when the count is impossible."""
    if get8(buffer, row, 0) & 0x20 == 0:
        return 0
    if payload == length:
        return -1
    count = get8(buffer, row, length - 1)
    if count == 0 or count > length - payload:
        return -1
    return count


@inlined
def element(
    buffer: Buffer, row: int, offset: int, end: int, profile: int
) -> tuple[int, int, int]:
    """The extension element at `offset` or behind padding there.

    Returns:
        Its id, where its data begins and how long that is; id 0 when there is no more, or
        nothing more that can be understood.
    """
    while offset < end and get8(buffer, row, offset) == 0:
        # A zero is padding in both forms.
        offset += 1
    if offset >= end:
        return 0, 0, 0
    first = get8(buffer, row, offset)
    if profile == ONE_BYTE:
        identifier = first >> 4
        data = offset + 1
        length = (first & 15) + 1
        if identifier == 0 or identifier == 15:
            # RFC 8285 section 4.2: processing ends here.
            return 0, 0, 0
    elif profile & 0xFFF0 == TWO_BYTE and offset + 2 <= end:
        identifier = first
        data = offset + 2
        length = get8(buffer, row, offset + 1)
    else:
        return 0, 0, 0
    if data + length > end:
        return 0, 0, 0
    return identifier, data, length


@inlined
def canonical(ids: int, identifier: int) -> int:
    """Which forwarded extension has this id in the packed `ids`; 0 for none."""
    for extension in range(1, LAST_EXTENSION + 1):
        if (ids >> (8 * (extension - 1))) & 255 == identifier:
            return extension
    return 0


@compiled
def measure(
    buffer: Buffer, row: int, elements: int, end: int, profile: int, ids: int
) -> tuple[int, int]:
    """How long the kept elements will be.

    Returns:
        The bytes of the normalised header extension without its four-byte head, padded to
        words (0: no extension is left), and the profile that it needs.
    """
    count = 0
    total = 0
    kept = ONE_BYTE
    while ids != 0:
        identifier, data, length = element(buffer, row, elements, end, profile)
        if identifier == 0:
            break
        if canonical(ids, identifier) != 0:
            count += 1
            total += length
            if length == 0 or length > 16:
                kept = TWO_BYTE
        elements = data + length
    if kept == TWO_BYTE:
        total += count
    return (total + count + 3) & ~3, kept


@compiled
def copy_elements(
    buffer: Buffer,
    row: int,
    elements: int,
    end: int,
    profile: int,
    ids: int,
    target: Buffer,
    slot: int,
    size: int,
    kept: int,
) -> None:
    """Write the header extension that `measure` measured, behind the fixed header."""
    put16(target, slot, FIXED_HEADER, kept)
    put16(target, slot, FIXED_HEADER + 2, size >> 2)
    at = FIXED_HEADER + 4
    last = at + size
    while True:
        identifier, data, length = element(buffer, row, elements, end, profile)
        if identifier == 0:
            break
        extension = canonical(ids, identifier)
        if extension != 0:
            if kept == ONE_BYTE:
                target[slot, at] = (extension << 4) | (length - 1)
                at += 1
            else:
                put16(target, slot, at, (extension << 8) | length)
                at += 2
            for i in range(length):
                target[slot, at + i] = buffer[row, data + i]
            at += length
        elements = data + length
    while at < last:
        target[slot, at] = 0
        at += 1


@compiled
def normalise(
    buffer: Buffer,
    row: int,
    length: int,
    parts: tuple[int, int, int],
    ids: int,
    target: Buffer,
    slot: int,
) -> int:
    """Copy a packet into a row of the history.

    Sequence number, timestamp and SSRC are left to the caller, the payload type to each
    viewer's copy.

    Returns:
        The length of the normalised packet, -1 where that is too long to be forwarded.
    """
    payload, elements, profile = parts
    size, kept = measure(buffer, row, elements, payload, profile, ids)
    header = FIXED_HEADER if size == 0 else FIXED_HEADER + 4 + size
    total = header + length - payload
    if total > MAX_PACKET:
        return -1
    target[slot, 0] = 0x80 | (get8(buffer, row, 0) & 0x20) | (0 if size == 0 else 0x10)
    target[slot, 1] = get8(buffer, row, 1) & 0x80
    if size != 0:
        copy_elements(
            buffer,
            row,
            elements,
            payload,
            profile,
            ids,
            target,
            slot,
            size,
            kept,
        )
    memcpy(
        address_of(target) + slot * ROW + header,
        address_of(buffer) + row * buffer.shape[1] + payload,
        length - payload,
    )
    return total


@inlined
def rename_elements(buffer: Buffer, row: int, ids: int) -> None:
    """Put a viewer's ids on the extensions of its copy; clear those that it lacks.

    An id above 14 does not fit the one-byte form: such an extension is cleared as well.
    """
    profile = get16(buffer, row, FIXED_HEADER)
    offset = FIXED_HEADER + 4
    end = offset + 4 * get16(buffer, row, FIXED_HEADER + 2)
    highest = 14 if profile == ONE_BYTE else 255
    head = 1 if profile == ONE_BYTE else 2
    while True:
        identifier, data, length = element(buffer, row, offset, end, profile)
        if identifier == 0:
            return
        theirs = (ids >> (8 * (identifier - 1))) & 255
        if theirs == 0 or theirs > highest:
            for i in range(data - head, data + length):
                buffer[row, i] = 0
        elif head == 1:
            buffer[row, data - 1] = (theirs << 4) | (length - 1)
        else:
            buffer[row, data - 2] = theirs
        offset = data + length
