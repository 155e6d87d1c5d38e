from __future__ import annotations

import pytest

from live777py.relay.paths import is_ipv4, path_from_words, path_to_words
from live777py.relay.seam import Path


@pytest.mark.parametrize(
    "path",
    [
        Path("127.0.0.1", 1, "127.0.0.2"),
        Path("255.255.255.255", 65535, ""),
        Path("::1", 9, "::1"),
        Path("fe80::1", 9, "fe80::2", 3),
        Path("ffff:ffff::", 9, "8000::1"),
    ],
)
def test_paths_survive_the_way_through_words(path: Path) -> None:
    words = path_to_words(path)
    assert all(-(1 << 63) <= word < 1 << 63 for word in words)
    port, scope = words.port & 0xFFFF, words.port >> 16
    back = path_from_words(
        words.high, words.low, port, scope, words.local_high, words.local_low
    )
    assert back == path
    assert is_ipv4(words) == ("." in path.host)


def test_unspecified_local_addresses_are_none() -> None:
    for local in ("", "0.0.0.0", "::"):
        assert path_to_words(Path("10.0.0.1", 1, local))[3:] == (0, 0)


def test_a_mapped_address_is_an_ipv4_one() -> None:
    mapped = path_to_words(Path("::ffff:10.0.0.1", 1, ""))
    assert mapped == path_to_words(Path("10.0.0.1", 1, ""))


def test_a_zone_is_left_to_the_scope() -> None:
    assert path_to_words(Path("fe80::1%eth0", 1, "", 2)).port == 2 << 16 | 1


@pytest.mark.parametrize(
    "path",
    [
        Path("example.org", 1, ""),
        Path("10.0.0.1", 1, "somewhere"),
        Path("10.0.0.1", 65536, ""),
        Path("10.0.0.1", 0, ""),
        Path("10.0.0.1", 1, "", 1 << 32),
    ],
)
def test_what_is_no_path_is_refused(path: Path) -> None:
    with pytest.raises(ValueError, match=r"."):
        path_to_words(path)
