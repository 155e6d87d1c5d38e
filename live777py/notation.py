"""How durations, sizes and addresses are written; pure, text to value and back.

Every parser here raises ValueError with a sentence that says what is wrong and shows how it
is written instead.
"""

from __future__ import annotations

import ipaddress
import math
import re
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import unquote, urlsplit, urlunsplit

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION_PART = r"(\d+(?:\.\d+)?)(ms|s|m|h|d)"

_BYTES = {
    "": 1,
    "b": 1,
    "kb": 1000,
    "mb": 1000**2,
    "gb": 1000**3,
    "kib": 1024,
    "mib": 1024**2,
    "gib": 1024**3,
}

#: One label of a host name (RFC 1123 section 2.1), and a whole name whose last label is not
#: a number: "10.0.0.256" is a mistyped address, not a name.
_LABEL = r"(?!-)[a-z0-9-]{1,63}(?<!-)"
_HOST_NAME = re.compile(rf"(?:{_LABEL}\.)*(?!\d+\.?$){_LABEL}\.?", re.IGNORECASE)
_MAX_HOST_NAME = 253

#: What another server's URL of each scheme is asked by; live777 writes WHEP and WHIP URLs with the
#: first two.
_REMOTE_SCHEMES = {
    "whep": "http",
    "whip": "http",
    "wheps": "https",
    "whips": "https",
    "http": "http",
    "https": "https",
}
_MAX_URL = 2048
_MAX_TOKEN = 8192
_BEARER = "bearer "

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Listen:
    """An address and port to listen on; "::" means IPv6 and IPv4, port 0 any free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return join_host_port(self.host, self.port)


@dataclass(frozen=True, slots=True)
class Announced:
    """A host that peers are told to send to; without a port it is the one listened on."""

    host: str
    port: int | None = None

    def __str__(self) -> str:
        return self.host if self.port is None else join_host_port(self.host, self.port)


class RemoteUrl(NamedTuple):
    """Where another server has a stream.

    Attributes:
        url: to be asked, by http or https.
        token: the right to use it, without "Bearer"; "" for none.
        shown: the URL without what may be secret in it.
    """

    url: str
    token: str
    shown: str


def join_host_port(host: str, port: int) -> str:
    """Host and port as URLs and listen addresses write them."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse_duration(value: object) -> float:
    """Seconds, from a number or from text such as "15s", "500ms", "1m30s", "30d" or "15"."""
    seconds = math.nan
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = _to_float(value)
    elif isinstance(value, str):
        text = value.strip()
        if re.fullmatch(r"\d+(\.\d+)?", text, re.ASCII):
            seconds = float(text)
        elif re.fullmatch(f"(?:{_DURATION_PART})+", text, re.ASCII):
            parts = re.findall(_DURATION_PART, text, re.ASCII)
            seconds = sum(float(number) * _SECONDS[unit] for number, unit in parts)
    if not (math.isfinite(seconds) and seconds >= 0):
        raise ValueError(
            f'{_shown(value)} is not a duration: write "15s", "500ms", "2m" or seconds'
        )
    return seconds


def parse_size(value: object) -> int:
    """Bytes, from a whole number or from text such as "4MiB" or "64kB"."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str):
        match = re.fullmatch(r"(\d{1,18}) ?([a-z]*)", value.strip().lower(), re.ASCII)
        if match is not None and match[2] in _BYTES:
            return int(match[1]) * _BYTES[match[2]]
    raise ValueError(
        f'{_shown(value)} is not a size: write "4MiB", "64KiB" or a number of bytes'
    )


def parse_listen(value: object) -> Listen:
    """An IP address and port: "[::]:7777", "127.0.0.1:0", or ":7777" for all addresses."""
    if isinstance(value, Listen):
        return value
    host, port = _split(value) if isinstance(value, str) else ("", None)
    if port is not None:
        address = _ip_address(host or "::")
        if address is not None:
            return Listen(str(address), port)
    raise ValueError(
        f"{_shown(value)} is not an IP address and port: "
        'write "[::]:7777", "0.0.0.0:7777" or "127.0.0.1:7777"'
    )


def parse_announced(value: object, *, names: bool = False) -> Announced:
    """An IP address that peers can reach, with a port or without.

    Args:
        value: such as "192.0.2.1", "192.0.2.1:7777", "2001:db8::1" or "[2001:db8::1]:7777".
        names: whether a host name will do too.
    """
    if isinstance(value, Announced):
        return value
    expected = "an IP address or host name" if names else "an IP address"
    if isinstance(value, str):
        whole = _ip_address(value)
        host, port = (value, None) if whole is not None else _split(value)
        address = whole or _ip_address(host)
        if address is not None and port != 0:
            return Announced(_reachable(address), port)
        if names and port != 0 and _is_host_name(host):
            return Announced(host, port)
    raise ValueError(f"{_shown(value)} is not {expected}, with or without :port")


def parse_network(value: object) -> IpNetwork:
    """A network such as "10.0.0.0/8" or "fd00::/8", or one address."""
    if isinstance(value, IpNetwork):
        return value
    text = value.strip() if isinstance(value, str) else ""
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError(
            f"{_shown(value)} is not an IP address or network: "
            'write "127.0.0.1", "10.0.0.0/8" or "fd00::/8"'
        ) from None
    if ipaddress.ip_interface(text).ip != network.network_address:
        raise ValueError(
            f'{_shown(value)} is one address in a network: write "{network}" for all of it'
        )
    return network


def ip_of(text: str) -> IpAddress | None:
    """The IP address of a text, with or without a port; None if it is none.

    An IPv4 address that is mapped into IPv6 is itself, and a zone is left out.
    """
    address = _ip_address(text) or _ip_address(_split(text)[0])
    if not isinstance(address, ipaddress.IPv6Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return ipaddress.IPv6Address(int(address))


def _reachable(address: IpAddress) -> str:
    if address.is_unspecified:
        raise ValueError(
            f"{address} stands for all addresses: name one that peers reach"
        )
    if address.is_multicast:
        raise ValueError(f"{address} is a multicast address: name one that peers reach")
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None:
            raise ValueError(f"{address} has a zone, which means nothing to a peer")
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
    return str(address)


def _split(text: str) -> tuple[str, int | None]:
    """Host and port; brackets are taken off, a port that is none makes the host unusable."""
    match = re.fullmatch(
        r"(?:\[(?P<v6>[^\[\]]*)\]|(?P<host>[^:\[\]]*))(?::(?P<port>\d{1,5}))?",
        text.strip(),
        re.ASCII,
    )
    if match is None:
        return "", None
    port = None if match["port"] is None else int(match["port"])
    if port is not None and port > 65535:
        return "", None
    if match["v6"] is None:
        return match["host"], port
    # Only IPv6 addresses are written in brackets.
    return (match["v6"], port) if ":" in match["v6"] else ("", None)


def _ip_address(text: str) -> IpAddress | None:
    try:
        return ipaddress.ip_address(text.strip())
    except ValueError:
        return None


def _is_host_name(text: str) -> bool:
    return len(text) <= _MAX_HOST_NAME and _HOST_NAME.fullmatch(text) is not None


def _to_float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _shown(value: object) -> str:
    """The value as the person who wrote it would recognise it, cut to a line."""
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def with_suffix(url: str, name: str) -> str:
    """A URL with "-" and a name at the end of its path; a bare host has the name for a path."""
    base, mark, query = url.partition("?")
    base = base.rstrip("/")
    separator = "-" if urlsplit(base).path else "/"
    return f"{base}{separator}{name}{mark}{query}"


def parse_token(text: str) -> str:
    """A bearer token, as a header can hold it."""
    if not re.fullmatch(r"[\x21-\x7e]+", text):
        # Without the token: messages are logged.
        raise ValueError(
            "the token must be printable ASCII without spaces, and not empty: it goes into "
            "a header"
        )
    return text


def parse_url(text: str) -> str:
    """An http:// or https:// URL."""
    try:
        parts = urlsplit(text)
        is_url = (
            parts.scheme in ("http", "https")
            and bool(parts.hostname)
            and parts.port != 0
        )
    except ValueError:
        is_url = False
    if not is_url:
        raise ValueError(f'"{text}" is not a URL: write http://host:port/whip/name')
    return text


def parse_remote(text: str, token: str = "") -> RemoteUrl:
    """A stream at another server; what is wrong is said without quoting what may be secret.

    Args:
        text: such as "http://host:7777/whep/name" or "whep://token@host/whep/name".
        token: with or without "Bearer "; goes before the one in the URL.
    """
    if len(text) > _MAX_URL or len(token) > _MAX_TOKEN:
        raise ValueError("the URL or the token is too long")
    try:
        parts = urlsplit(text.strip())
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError("the URL is malformed") from None
    scheme = _REMOTE_SCHEMES.get(parts.scheme)
    if scheme is None or not host:
        raise ValueError(
            f"the URL has to begin with {'://, '.join(_REMOTE_SCHEMES)}:// and have a host"
        )
    if parts.password is not None:
        raise ValueError("the URL has a password: put a token before the @")
    netloc = f"[{host}]" if ":" in host else host
    if port is not None:
        netloc += f":{port}"
    found = _bare(token) or _bare(unquote(parts.username or ""))
    if not found.isascii() or not found.isprintable():
        raise ValueError("the token has characters that no header may have")
    return RemoteUrl(
        url=urlunsplit((scheme, netloc, parts.path, parts.query, "")),
        token=found,
        shown=urlunsplit((scheme, netloc, parts.path, "", "")),
    )


def _bare(token: str) -> str:
    """A token without the name of its scheme."""
    token = token.strip()
    if token.lower().startswith(_BEARER):
        return token[len(_BEARER) :].strip()
    return token
