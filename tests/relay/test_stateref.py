from __future__ import annotations

import pickle
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest

from live777py.relay.cfuncs import COMPILED, compiled, int64
from live777py.relay.memory import records
from live777py.relay.stateref import Referenced
from live777py.relay.tables import Table

PAIR = np.dtype([("first", "i8"), ("second", "i8")], align=True)


class Inner(NamedTuple):
    octets: Table
    pairs: Table


@dataclass(frozen=True)
class Outer(Referenced):
    words: Table
    inner: Inner
    cube: Table
    last: Table


@compiled
def _sizes(state: Outer) -> tuple[int, int, int, int, int]:
    octets = state.inner.octets
    return (
        state.words.shape[0],
        octets.shape[0] * 1000 + octets.shape[1],
        state.inner.pairs.shape[0],
        int64(state.cube.size),
        int64(state.cube.strides[0]),
    )


@compiled
def _change(state: Outer, at: int) -> int:
    state.words[at] += 1
    pair = state.inner.pairs[at]
    pair.second = pair.first + 1
    state.inner.octets[at, 2] = 7
    state.cube[at, 1, 2] = 9
    return _read(state, at)


@compiled
def _read(state: Outer, at: int) -> int:
    return int64(state.last[at])


def make(rows: int) -> Outer:
    return Outer(
        np.zeros(rows, np.int64),
        Inner(np.zeros((rows, 5), np.uint8), records(rows, PAIR)),
        np.zeros((rows, 2, 3), np.int64),
        np.arange(rows) * 10,
    )


def test_functions_see_every_array_with_its_shape() -> None:
    assert _sizes(make(4)) == (4, 4005, 4, 24, 48)


def test_functions_read_and_write_the_memory_of_the_arrays() -> None:
    state = make(4)
    state.inner.pairs[3].first = 41
    assert _change(state, 3) == 30
    assert state.words.tolist() == [0, 0, 0, 1]
    assert state.inner.pairs[3].second == 42
    assert state.inner.octets[3].tolist() == [0, 0, 7, 0, 0]
    assert state.cube[3].tolist() == [[0, 0, 0], [0, 0, 9]]


def test_several_objects_may_share_arrays() -> None:
    one = make(4)
    other = one._replace(words=np.zeros(8, np.int64))
    _change(one, 1)
    _change(other, 1)
    _change(other, 1)
    assert (one.words[1], other.words[1]) == (1, 2)
    assert other.inner.pairs is one.inner.pairs
    assert (_sizes(one)[0], _sizes(other)[0]) == (4, 8)


def test_it_is_frozen() -> None:
    state = make(1)
    with pytest.raises(AttributeError):
        state.words = np.zeros(2)  # type: ignore[misc]


@pytest.mark.skipif(not COMPILED, reason="plain Python takes any array")
def test_an_array_that_is_not_contiguous_is_refused() -> None:
    with pytest.raises(ValueError, match="contiguous"):
        make(4)._replace(words=np.zeros(8, np.int64)[::2])


@pytest.mark.skipif(not COMPILED, reason="there are no types in plain Python")
def test_one_type_stands_for_all_sizes_and_is_the_same_in_other_processes() -> None:
    kind: Any = make(4)._numba_type_  # type: ignore[attr-defined]
    assert make(9)._numba_type_ is kind  # type: ignore[attr-defined]
    assert pickle.loads(pickle.dumps(kind)) is kind  # noqa: S301
    other: Any = make(4)._replace(last=np.zeros(4, np.uint8))
    assert other._numba_type_ != kind
    assert len(str(kind)) < 40
