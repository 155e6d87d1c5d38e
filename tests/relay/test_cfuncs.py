from __future__ import annotations

import ctypes
import os

import numpy as np

from live777py.relay.cfuncs import (
    COMPILED,
    address_of,
    compiled,
    errno,
    int64,
    peek,
    poll,
    publish,
    read,
)


@compiled
def _fail_to_read() -> int:
    if read(-1, 0, 0) != -1:
        return 0
    return errno()


@compiled
def _poll_nothing(address: int) -> int:
    return int64(poll(address, 0, 0))


def test_c_functions_and_their_errors_are_reached() -> None:
    assert _fail_to_read() == 9
    assert _poll_nothing(0) == 0


def test_shared_words_are_published_and_peeked() -> None:
    words = np.zeros(4, np.int64)
    publish(words.ctypes.data + 16, 1 << 40)
    assert words.tolist() == [0, 0, 1 << 40, 0]
    assert peek(words.ctypes.data + 16) == 1 << 40


def test_addresses_are_those_of_the_memory() -> None:
    words = np.array([7, 8], np.int64)
    assert address_of(words) == words.ctypes.data
    assert ctypes.c_int64.from_address(int(address_of(words))).value == 7


def test_the_environment_switches_the_compiler_off() -> None:
    off = os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0")
    assert COMPILED is not off


def test_a_function_is_compiled_once_for_all_constants() -> None:
    @compiled
    def add(a: int, b: int) -> int:
        return a + b

    @compiled
    def use() -> int:
        return add(1, 2) + add(3, 4) + add(int64(5), 6)

    assert use() == 21
    if COMPILED:
        assert len(add.signatures) == 1  # type: ignore[attr-defined]
