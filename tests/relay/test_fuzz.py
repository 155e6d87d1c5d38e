from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from live777py.relay import fanout, header, output, parking, rings
from live777py.relay.cfuncs import COMPILED, memcpy
from live777py.relay.tables import State

from . import fuzz
from .fuzz import Storm, check_forwarding, check_tables, fuzzing

#: As plain Python a packet takes some thirty times as long.
COUNT = 20_000 if COMPILED else 6_000


@pytest.mark.timeout(120)
def test_a_storm_of_datagrams_disturbs_neither_tables_nor_a_stream_beside_it() -> None:
    with fuzzing(seed=1) as storm:
        storm.run(COUNT)
        check_tables(storm.rig)
        check_forwarding(storm)
        check_tables(storm.rig)
        # It has to get in, not only to be refused at the door.
        assert storm.tally.encrypted > COUNT // 2
        assert storm.tally.forwarded > COUNT // 2
        for counter in ("malformed", "late", "srtp_failed", "sequence_jumps", "parked"):
            assert storm.rig[counter] > 0, counter


@pytest.mark.skipif(COMPILED, reason="copies can be watched in plain Python only")
@pytest.mark.timeout(120)
def test_no_copy_leaves_its_row(monkeypatch: pytest.MonkeyPatch) -> None:
    with fuzzing(seed=2) as storm:
        rows = _rows(storm.rig.plane._state)
        copy = memcpy

        def watched(target: int, source: int, length: int) -> int:
            assert length >= 0
            for address in (int(target), int(source)):
                assert _fits(rows, address, int(length)), (address, length)
            return copy(target, source, length)

        for module in (fanout, header, output, parking, rings):
            monkeypatch.setattr(module, "memcpy", watched)
        storm.run(2_000)
        check_tables(storm.rig)


def _rows(state: State) -> list[tuple[int, int, int]]:
    """Start, end and width of the memory of every table of bytes."""
    tables = (
        state.history.bytes,
        state.parking.bytes,
        state.control.bytes,
        state.input.bytes,
        state.output.bytes,
        state.output.controls,
        state.paths.names,
        state.paths.locals,
    )
    return [
        (table.ctypes.data, table.ctypes.data + table.nbytes, table.shape[1])
        for table in tables
    ]


def _fits(rows: list[tuple[int, int, int]], address: int, length: int) -> bool:
    return any(
        start <= address < end and (address - start) % width + length <= width
        for start, end, width in rows
    )


@settings(
    max_examples=150 if COMPILED else 40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(
    head=st.binary(min_size=12, max_size=12),
    body=st.binary(max_size=400),
    payload_type=st.sampled_from([*fuzz.FORMATS]),
    size=st.integers(0, 2000),
)
def test_any_bytes_that_were_encrypted_well_are_survived(
    head: bytes, body: bytes, payload_type: int, size: int
) -> None:
    with fuzzing(seed=3) as storm:
        # Version 2 and a payload type that is known: the rest is up to hypothesis.
        first = bytes([0x80 | head[0] & 0x3F, head[1] & 0x80 | payload_type])
        storm._encrypted(first + head[2:] + body + bytes(max(0, size - len(body))))
        storm.rig.turn()
        storm.run(1)
        check_tables(storm.rig)


def test_the_same_seed_makes_the_same_storm() -> None:
    def some(seed: int) -> list[bytes]:
        storm = Storm(seed)
        return [make() for _ in range(100) for make in (storm.rtp, storm.control)]

    assert some(5) == some(5)
    assert some(5) != some(6)


def test_the_command_prints_its_rate() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.relay.fuzz", "--count", "500"],
        env=dict(os.environ),
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "500 datagrams, seed 1" in done.stdout
