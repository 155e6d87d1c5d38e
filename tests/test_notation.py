"""How durations, sizes and addresses are written."""

from __future__ import annotations

import contextlib
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from live777py.notation import (
    Announced,
    Listen,
    parse_announced,
    parse_duration,
    parse_listen,
    parse_network,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("15s", 15.0),
        ("500ms", 0.5),
        ("2m", 120.0),
        ("1h30m", 5400.0),
        ("1d12h", 129_600.0),
        ("1.5s", 1.5),
        (" 15 ", 15.0),
        ("0", 0.0),
        (15, 15.0),
        (0.25, 0.25),
    ],
)
def test_durations_are_read(text: object, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "value",
    [
        "-1s", -1, -0.5, math.nan, math.inf, "nan", "inf", True, None, "", "s", "15 s",
        "15w", "1e3", "١٥s", "9" * 400, 10**400, [15],
    ],
)  # fmt: skip
def test_what_is_no_duration_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(value)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4MiB", 4 * 1024**2),
        ("64 KiB", 65536),
        ("1gb", 10**9),
        ("10kB", 10_000),
        ("512B", 512),
        ("512", 512),
        (512, 512),
        (0, 0),
    ],
)
def test_sizes_are_read(text: object, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("value", [-1, "-1", "4 M", "1.5MiB", 4.0, True, "", "٤MiB"])
def test_what_is_no_size_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="is not a size"):
        parse_size(value)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("[::]:7777", "::", 7777),
        (":7777", "::", 7777),
        ("0.0.0.0:7777", "0.0.0.0", 7777),
        ("127.0.0.1:0", "127.0.0.1", 0),
        ("[0:0::1]:65535", "::1", 65535),
    ],
)
def test_listen_addresses_are_read(text: str, host: str, port: int) -> None:
    assert parse_listen(text) == Listen(host, port)


@pytest.mark.parametrize(
    "value",
    [
        "7777", "127.0.0.1", "::1:7777", "localhost:7777", "127.0.0.1:65536", "[::]",
        "127.0.0.1:-1", "[127.0.0.1]:80", "[[::]]:80", "a:b:c", 7777, None, "", ":",
    ],
)  # fmt: skip
def test_what_is_no_listen_address_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="is not an IP address and port"):
        parse_listen(value)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("192.0.2.1", "192.0.2.1", None),
        ("192.0.2.1:17777", "192.0.2.1", 17777),
        ("2001:db8::1", "2001:db8::1", None),
        ("[2001:DB8:0::1]", "2001:db8::1", None),
        ("[2001:db8::1]:17777", "2001:db8::1", 17777),
        ("::ffff:192.0.2.1", "192.0.2.1", None),
    ],
)
def test_announced_addresses_are_read(text: str, host: str, port: int | None) -> None:
    assert parse_announced(text) == Announced(host, port)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("0.0.0.0", "stands for all addresses"),
        ("[::]:7777", "stands for all addresses"),
        ("224.0.0.1", "multicast"),
        ("fe80::1%eth0", "zone"),
        ("192.0.2.1:0", "is not an IP address"),
        ("192.0.2.1:65536", "is not an IP address"),
        ("cam.example.org", "is not an IP address"),
        ("", "is not an IP address"),
        (7777, "is not an IP address"),
    ],
)
def test_what_peers_cannot_reach_is_refused(value: object, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_announced(value)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("cam.example.org", "cam.example.org", None),
        ("cam.example.org:7777", "cam.example.org", 7777),
        ("localhost", "localhost", None),
        ("1.example", "1.example", None),
    ],
)
def test_public_addresses_may_be_names(text: str, host: str, port: int | None) -> None:
    assert parse_announced(text, names=True) == Announced(host, port)


@pytest.mark.parametrize(
    "text",
    [
        "10.0.0.256",
        "-cam.example",
        "cam..example",
        "a b",
        "x" * 64,
        "cam:0",
        "a." * 200,
    ],
)
def test_what_is_no_host_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not an IP address or host name"):
        parse_announced(text, names=True)


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("127.0.0.1", "127.0.0.1/32"),
        (" 10.0.0.0/8 ", "10.0.0.0/8"),
        ("10.0.0.0/255.0.0.0", "10.0.0.0/8"),
        ("fd00::/8", "fd00::/8"),
        ("::1", "::1/128"),
    ],
)
def test_networks_are_read(text: str, network: str) -> None:
    assert str(parse_network(text)) == network
    assert parse_network(parse_network(text)) == parse_network(text)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("10.0.0.1/8", 'is one address in a network: write "10.0.0.0/8"'),
        ("10.0.0.0/33", "is not an IP address or network"),
        ("", "is not an IP address or network"),
        ("proxy.example", "is not an IP address or network"),
        (7, "is not an IP address or network"),
    ],
)
def test_what_is_no_network_is_refused(value: object, reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)):
        parse_network(value)


def test_a_long_value_is_cut_in_the_message() -> None:
    with pytest.raises(ValueError, match=r"^.{1,200}$"):
        parse_duration("x" * 10_000)


@given(st.ip_addresses(), st.integers(0, 65535))
def test_listen_addresses_are_written_as_they_are_read(host: object, port: int) -> None:
    listen = Listen(str(host), port)
    assert parse_listen(str(listen)) == listen


@given(st.text())
def test_any_text_is_a_value_or_an_error(text: str) -> None:
    for parse in (
        parse_announced,
        parse_duration,
        parse_listen,
        parse_network,
        parse_size,
    ):
        with contextlib.suppress(ValueError):
            assert parse(str(parse(text))) == parse(text)


def test_parsed_values_pass_as_they_are() -> None:
    assert parse_listen(Listen("::", 1)) == Listen("::", 1)
    assert parse_announced(Announced("::1")) == Announced("::1")
