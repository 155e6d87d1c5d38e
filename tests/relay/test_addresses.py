from __future__ import annotations

import random

from live777py.relay.addresses import find, home, insert, remove
from live777py.relay.columns import ADDRESS
from live777py.relay.memory import records
from live777py.relay.tables import Table


def _lookup(table: Table, key: tuple[int, int, int]) -> int:
    row = find(table, 5, *key)
    return int(table[row].peer_plus_one) - 1 if row >= 0 else -1


def test_the_table_agrees_with_a_dictionary() -> None:
    source = random.Random(1)
    table = records(64, ADDRESS)
    expected: dict[tuple[int, int, int], int] = {}
    keys = [
        (
            source.choice((0, -(1 << 63), source.getrandbits(62))),
            source.choice((0xFFFF << 32 | 0x7F000001, -source.getrandbits(62))),
            source.choice((1, 65535, 7 << 16 | 9)),
        )
        for _ in range(60)
    ]
    for _ in range(6000):
        key = source.choice(keys)
        if source.random() < 0.5 and len(expected) < 32:
            peer = source.randrange(1000)
            insert(table, 5, *key, peer)
            expected[key] = peer
        elif key in expected and source.random() < 0.9:
            remove(table, 5, *key, expected.pop(key))
        else:
            # Nobody's, or another's: nothing happens.
            remove(table, 5, *key, 5000)
        assert _lookup(table, key) == expected.get(key, -1)
    assert {key: _lookup(table, key) for key in expected} == expected
    assert int((table["peer_plus_one"] > 0).sum()) == len(expected)


def test_addresses_spread_over_the_table() -> None:
    homes = {
        home(seed=77, high=0, low=0xFFFF << 32 | ip, port=port, mask=4095)
        for ip in range(0x7F000001, 0x7F000041)
        for port in range(40_000, 40_032)
    }
    # 2,048 of 4,096 rows drawn at random would be 1,612 different ones.
    assert len(homes) > 1400


def test_the_seed_changes_where_addresses_go() -> None:
    places = {home(seed, 1, 2, 3, 1023) for seed in range(100)}
    assert len(places) > 80
