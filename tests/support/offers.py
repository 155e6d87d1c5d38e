"""Hand-made SDP offers, and as much of an answer as a client has to read.

Deliberately not the server's own SDP code: a test should notice when that is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from live777py.protocol.codecs import Codec, Kind

MID_URI = "urn:ietf:params:rtp-hdrext:sdes:mid"


@dataclass(frozen=True, slots=True)
class OfferedCodec:
    """One payload type of an offer."""

    payload_type: int
    codec: Codec
    rtx: int | None = None
    feedback: tuple[str, ...] = ("nack", "nack pli", "ccm fir")

    def lines(self) -> Iterable[str]:
        codec, number = self.codec, self.payload_type
        channels = f"/{codec.channels}" if codec.channels > 1 else ""
        yield f"a=rtpmap:{number} {codec.name}/{codec.clock_rate}{channels}"
        if codec.fmtp:
            yield f"a=fmtp:{number} {codec.fmtp}"
        if codec.kind == "video":
            yield from (f"a=rtcp-fb:{number} {value}" for value in self.feedback)
        if self.rtx is not None:
            yield f"a=rtpmap:{self.rtx} rtx/{codec.clock_rate}"
            yield f"a=fmtp:{self.rtx} apt={number}"


@dataclass(frozen=True, slots=True)
class OfferedMedia:
    """One section of an offer; `ssrc` only for what is sent."""

    kind: Kind
    codecs: tuple[OfferedCodec, ...]
    ssrc: int | None = None
    extensions: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AnsweredMedia:
    """One section of an answer, as far as a client uses it.

    Attributes:
        formats: payload types in the answer's order.
        codecs: text of the rtpmap by payload type.
        fmtp: text of the fmtp by payload type.
        ssrcs: in the order of their first `a=ssrc` line.
    """

    kind: str
    port: int
    mid: str
    direction: str
    formats: tuple[int, ...]
    codecs: dict[int, str]
    fmtp: dict[int, str]
    ssrcs: tuple[int, ...]
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ParsedAnswer:
    """An answer, as far as a client uses it."""

    ufrag: str
    password: str
    is_lite: bool
    setup: str
    fingerprints: tuple[tuple[str, str], ...]
    candidates: tuple[str, ...]
    media: tuple[AnsweredMedia, ...]

    def section(self, kind: str) -> AnsweredMedia:
        """The first section of a kind."""
        return next(media for media in self.media if media.kind == kind)


def h264(profile_level_id: str = "42e01f", *, mode: str = "1") -> Codec:
    """H.264 as browsers write it."""
    return Codec(
        "video",
        "H264",
        90_000,
        parameters=(
            ("level-asymmetry-allowed", "1"),
            ("packetization-mode", mode),
            ("profile-level-id", profile_level_id),
        ),
    )


VP8 = Codec("video", "VP8", 90_000)
VP9 = Codec("video", "VP9", 90_000, parameters=(("profile-id", "0"),))
AV1 = Codec("video", "AV1", 90_000)
H265 = Codec(
    "video",
    "H265",
    90_000,
    parameters=(("level-id", "93"), ("profile-id", "1"), ("tier-flag", "0")),
)
OPUS = Codec("audio", "opus", 48_000, 2, (("minptime", "10"), ("useinbandfec", "1")))


def video(
    *codecs: Codec, ssrc: int | None = None, first: int = 96, rtx: bool = False
) -> OfferedMedia:
    """A video section with payload types from `first` on, every other one for RTX."""
    return OfferedMedia(
        "video",
        tuple(
            OfferedCodec(first + 2 * i, codec, rtx=first + 2 * i + 1 if rtx else None)
            for i, codec in enumerate(codecs or (h264(),))
        ),
        ssrc=ssrc,
    )


def audio(*codecs: Codec, ssrc: int | None = None, first: int = 111) -> OfferedMedia:
    """An audio section with payload types from `first` on."""
    offered = tuple(
        OfferedCodec(first + i, codec) for i, codec in enumerate(codecs or (OPUS,))
    )
    return OfferedMedia("audio", offered, ssrc=ssrc)


def write_offer(
    media: Iterable[OfferedMedia],
    *,
    direction: str,
    ufrag: str,
    password: str,
    fingerprint: str,
    setup: str = "actpass",
    candidates: Iterable[str] = (),
    cname: str = "client",
) -> str:
    """An offer with everything in one bundle."""
    sections = list(media)
    mids = " ".join(str(index) for index in range(len(sections)))
    lines = [
        "v=0",
        "o=- 4611733054762223410 2 IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        f"a=group:BUNDLE {mids}",
        "a=msid-semantic:WMS *",
    ]
    for mid, section in enumerate(sections):
        numbers = [
            str(number)
            for codec in section.codecs
            for number in (codec.payload_type, codec.rtx)
            if number is not None
        ]
        lines += [
            f"m={section.kind} 9 UDP/TLS/RTP/SAVPF {' '.join(numbers)}",
            "c=IN IP4 0.0.0.0",
            f"a=mid:{mid}",
            f"a={direction}",
            f"a=ice-ufrag:{ufrag}",
            f"a=ice-pwd:{password}",
            f"a=fingerprint:{fingerprint}",
            f"a=setup:{setup}",
            "a=rtcp-mux",
            "a=rtcp-rsize",
        ]
        if mid == 0:
            lines += [f"a=candidate:{candidate}" for candidate in candidates]
        lines += [f"a=extmap:{id} {uri}" for id, uri in section.extensions.items()]
        for codec in section.codecs:
            lines += codec.lines()
        if section.ssrc is not None:
            lines.append(f"a=msid:stream {section.kind}")
            lines.append(f"a=ssrc:{section.ssrc} cname:{cname}")
    return "\r\n".join([*lines, ""])


def parse_answer(text: str) -> ParsedAnswer:
    """Read an answer."""
    session, *sections = re.split(r"(?=^m=)", text, flags=re.MULTILINE)

    def first(name: str) -> str:
        return _values(text, name)[0]

    return ParsedAnswer(
        ufrag=first("ice-ufrag"),
        password=first("ice-pwd"),
        is_lite="a=ice-lite" in session,
        setup=first("setup"),
        fingerprints=tuple(
            (algorithm, value)
            for algorithm, _, value in (
                line.partition(" ")
                for line in dict.fromkeys(_values(text, "fingerprint"))
            )
        ),
        candidates=tuple(dict.fromkeys(_values(text, "candidate"))),
        media=tuple(_parse_section(section) for section in sections),
    )


def _parse_section(text: str) -> AnsweredMedia:
    head, *lines = text.splitlines()
    kind, port, _, *formats = head.removeprefix("m=").split()
    direction = next(
        name
        for name in ("sendrecv", "sendonly", "recvonly", "inactive")
        if f"a={name}" in lines
    )
    return AnsweredMedia(
        kind=kind,
        port=int(port),
        mid=next(iter(_values(text, "mid")), ""),
        direction=direction,
        formats=tuple(int(number) for number in formats if number.isdigit()),
        codecs=_by_payload_type(_values(text, "rtpmap")),
        fmtp=_by_payload_type(_values(text, "fmtp")),
        ssrcs=tuple(
            dict.fromkeys(int(value.split()[0]) for value in _values(text, "ssrc"))
        ),
        lines=tuple(lines),
    )


def _values(text: str, name: str) -> list[str]:
    return re.findall(rf"^a={name}:(.*?)\r?$", text, flags=re.MULTILINE)


def _by_payload_type(values: Iterable[str]) -> dict[int, str]:
    pairs = (value.partition(" ") for value in values)
    return {int(number): rest for number, _, rest in pairs}
