"""Integers in buffers of bytes, for compiled code.

Every value that leaves here is a signed 64-bit integer: numpy's bytes would overflow when the
functions run as plain Python.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from .cfuncs import inlined, int64

Buffer = NDArray[Any]

MASK16 = 0xFFFF
MASK32 = 0xFFFFFFFF


@inlined
def get8(buffer: Buffer, row: int, offset: int) -> int:
    """One byte."""
    return int64(buffer[row, offset])


@inlined
def get16(buffer: Buffer, row: int, offset: int) -> int:
    """Two bytes in network order."""
    return (get8(buffer, row, offset) << 8) | get8(buffer, row, offset + 1)


@inlined
def get32(buffer: Buffer, row: int, offset: int) -> int:
    """Four bytes in network order."""
    return (get16(buffer, row, offset) << 16) | get16(buffer, row, offset + 2)


@inlined
def get64(buffer: Buffer, row: int, offset: int) -> int:
    """Eight bytes in network order, as a signed number."""
    return (get32(buffer, row, offset) << 32) | get32(buffer, row, offset + 4)


@inlined
def get_native32(buffer: Buffer, row: int, offset: int) -> int:
    """A C int as the kernel writes it (all that numba supports are little-endian)."""
    low = get8(buffer, row, offset) | (get8(buffer, row, offset + 1) << 8)
    high = get8(buffer, row, offset + 2) | (get8(buffer, row, offset + 3) << 8)
    return low | (high << 16)


@inlined
def put16(buffer: Buffer, row: int, offset: int, value: int) -> None:
    """Two bytes in network order."""
    buffer[row, offset] = (value >> 8) & 255
    buffer[row, offset + 1] = value & 255


@inlined
def put32(buffer: Buffer, row: int, offset: int, value: int) -> None:
    """Four bytes in network order."""
    put16(buffer, row, offset, value >> 16)
    put16(buffer, row, offset + 2, value)


@inlined
def put64(buffer: Buffer, row: int, offset: int, value: int) -> None:
    """Eight bytes in network order."""
    put32(buffer, row, offset, value >> 32)
    put32(buffer, row, offset + 4, value)


@inlined
def put_native32(buffer: Buffer, row: int, offset: int, value: int) -> None:
    """A C int as the kernel reads it."""
    buffer[row, offset] = value & 255
    buffer[row, offset + 1] = (value >> 8) & 255
    buffer[row, offset + 2] = (value >> 16) & 255
    buffer[row, offset + 3] = (value >> 24) & 255


@inlined
def signed16(value: int) -> int:
    """The difference of two 16-bit numbers as -32,768 to 32,767."""
    return ((value + 0x8000) & MASK16) - 0x8000


@inlined
def signed32(value: int) -> int:
    """The difference of two 32-bit numbers as a signed one."""
    return ((value + 0x80000000) & MASK32) - 0x80000000
