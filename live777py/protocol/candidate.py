"""ICE candidates as the `candidate` attribute of SDP writes them (RFC 8839 section 5.1)."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from live777py.errors import InvalidOffer

_LINE = re.compile(
    r"(?:candidate:)?([0-9A-Za-z+/=_-]{1,64}) ([0-9]{1,3}) (\S{1,32}) ([0-9]{1,10}) "
    r"(\S{1,255}) ([0-9]{1,5}) typ (\S{1,32})((?: \S+ \S+)*) ?"
)
_MAX_PORT = 65535


@dataclass(frozen=True, slots=True)
class Candidate:
    """One transport address that a peer may be reached at.

    Attributes:
        foundation: equal for candidates of the same type, base and protocol.
        component: 1 for RTP, and for everything where RTCP is multiplexed.
        transport: "udp" or "tcp", in lower case.
        priority: the higher the better (RFC 8445 section 5.1.2).
        host: an IP address, or a name such as the `.local` ones of browsers.
        port: the UDP or TCP port.
        type: "host", "srflx", "prflx" or "relay".
        related_host: the base of a reflexive candidate (`raddr`), None for others.
        related_port: the port that goes with it (`rport`).
        extensions: what follows, such as `tcptype` or `generation`, as pairs in order.
    """

    foundation: str
    component: int
    transport: str
    priority: int
    host: str
    port: int
    type: str = "host"
    related_host: str | None = None
    related_port: int | None = None
    extensions: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, text: str) -> Candidate:
        """Read the value of an `a=candidate` line, with or without the `candidate:` prefix.

        Raises:
            InvalidOffer: the text does not follow the grammar.
        """
        match = _LINE.fullmatch(text)
        if match is None:
            raise InvalidOffer(f"not an ICE candidate: {text[:100]!r}")
        foundation, component, transport, priority, host, port, type_, rest = (
            match.groups()
        )
        words = rest.split()
        pairs = tuple(zip(words[::2], words[1::2], strict=True))
        related = dict(reversed(pairs))
        related_port = related.get("rport")
        if related_port is not None and not re.fullmatch("[0-9]{1,5}", related_port):
            raise InvalidOffer(f"not a port: rport {related_port[:20]!r}")
        if int(port) > _MAX_PORT or int(related_port or 0) > _MAX_PORT:
            raise InvalidOffer(f"a candidate's port is above {_MAX_PORT}")
        return cls(
            foundation,
            int(component),
            transport.lower(),
            int(priority),
            host,
            int(port),
            type_,
            related.get("raddr"),
            None if related_port is None else int(related_port),
            tuple(pair for pair in pairs if pair[0] not in ("raddr", "rport")),
        )

    @property
    def is_usable(self) -> bool:
        """Whether this is a UDP candidate of component 1 at an IP address.

        Everything else (TCP, mDNS names, an RTCP component) a server that multiplexes all
        on one UDP port ignores (RFC 9725 section 4.3.2).
        """
        return self.transport == "udp" and self.component == 1 and self.is_address

    @property
    def is_address(self) -> bool:
        """Whether `host` is an IP address and not a name."""
        try:
            ipaddress.ip_address(self.host)
        except ValueError:
            return False
        return True

    def __str__(self) -> str:
        """The value of the attribute, without its name."""
        text = (
            f"{self.foundation} {self.component} {self.transport} {self.priority} "
            f"{self.host} {self.port} typ {self.type}"
        )
        if self.related_host is not None:
            text += f" raddr {self.related_host}"
        if self.related_port is not None:
            text += f" rport {self.related_port}"
        return text + "".join(f" {name} {value}" for name, value in self.extensions)
