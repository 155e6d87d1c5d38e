from __future__ import annotations

import mmap

import numpy as np

from live777py.relay import tables
from live777py.relay.columns import IOVEC, MESSAGE, PACKET
from live777py.relay.memory import allocate, reserve
from live777py.relay.settings import PlaneSettings

from .support import SMALL


def test_the_messages_are_as_the_kernel_has_them() -> None:
    assert MESSAGE.itemsize == tables.MESSAGE_BYTES
    assert IOVEC.itemsize == tables.IOVEC_BYTES
    state = allocate(SMALL).state
    assert state.input.messages.strides == (64,)
    last = state.input.messages[63]
    assert last.name == state.input.names[63].ctypes.data
    assert last.control == state.input.controls[63].ctypes.data
    assert state.input.iovecs[63].start == state.input.bytes[63].ctypes.data


def test_the_default_tables_take_little_memory_before_they_are_used() -> None:
    before = _resident()
    memory = allocate(PlaneSettings())
    assert _resident() - before < 8 << 20
    assert memory.state.history.bytes.nbytes > 10 << 30


def _resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * mmap.PAGESIZE


def test_released_rows_are_zeros_and_their_neighbours_stay() -> None:
    for dtype, width in ((np.dtype(np.uint8), 1536), (PACKET, 1)):
        reserved = reserve(1024, dtype, width)
        bytes_of = reserved.array.view("u1").reshape(1024, -1)
        bytes_of[:] = 7
        for first, count in ((0, 1), (100, 3), (200, 500)):
            reserved.release(first, count)
            assert not bytes_of[first : first + count].any()
        assert int((bytes_of[:, 0] == 7).sum()) == 1024 - 504
        assert (bytes_of[[1, 99, 103, 199, 700]] == 7).all()
