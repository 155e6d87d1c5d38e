"""Offers in the form of Chromium's, for checks that need an answer and no media; pure text."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from string import Template

from live777py.conformance.model import Side

#: What each side offers to do, and what it is answered.
DIRECTIONS: dict[Side, str] = {"whip": "sendonly", "whep": "recvonly"}
ANSWERS: dict[Side, str] = {"whip": "recvonly", "whep": "sendonly"}

_SESSION = """\
v=0
o=- $number 2 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE $mids
a=extmap-allow-mixed
a=msid-semantic: WMS
"""

_TRANSPORT = """\
c=IN IP4 0.0.0.0
a=rtcp:9 IN IP4 0.0.0.0
a=ice-ufrag:$ufrag
a=ice-pwd:$pwd
a=ice-options:trickle
$fingerprint
a=setup:$setup
"""

_CODECS = {
    "audio": """\
a=rtpmap:111 opus/48000/2
a=rtcp-fb:111 transport-cc
a=fmtp:111 minptime=10;useinbandfec=1
""",
    "video": """\
a=rtpmap:96 H264/90000
a=rtcp-fb:96 goog-remb
a=rtcp-fb:96 transport-cc
a=rtcp-fb:96 ccm fir
a=rtcp-fb:96 nack
a=rtcp-fb:96 nack pli
a=fmtp:96 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f
a=rtpmap:97 rtx/90000
a=fmtp:97 apt=96
a=rtpmap:98 VP8/90000
a=rtcp-fb:98 goog-remb
a=rtcp-fb:98 transport-cc
a=rtcp-fb:98 ccm fir
a=rtcp-fb:98 nack
a=rtcp-fb:98 nack pli
a=rtpmap:99 rtx/90000
a=fmtp:99 apt=98
""",
}
_FORMATS = {"audio": "111", "video": "96 97 98 99"}

#: A codec that there is not, in the place of the real ones.
UNKNOWN = {
    "audio": ("100", "a=rtpmap:100 x-nobody-speaks-this/48000/2\n"),
    "video": ("100", "a=rtpmap:100 x-nobody-sees-this/90000\n"),
}

#: Three layers as Chromium offers them: by RID, without SSRCs (RFC 8853).
_SIMULCAST = """\
a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid
a=extmap:10 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id
a=extmap:11 urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id
a=rid:h send
a=rid:m send
a=rid:l send
a=simulcast:send h;m;l
"""


def credentials() -> tuple[str, str]:
    """A username fragment and a password, new ones every time."""
    return secrets.token_hex(4), secrets.token_hex(12)


def fingerprint() -> str:
    """The attribute for a certificate that nobody has."""
    return f"a=fingerprint:sha-256 {secrets.token_bytes(32).hex(':').upper()}"


def write(
    side: Side,
    *,
    kinds: Sequence[str] = ("audio", "video"),
    direction: str | None = None,
    setup: str = "actpass",
    certificate: str | None = None,
    certificate_above: bool = False,
    bundle_only: bool = False,
    simulcast: bool = False,
    unknown: Sequence[str] = (),
) -> str:
    """An offer.

    Args:
        side: WHIP publishes, WHEP watches.
        kinds: one section for each.
        direction: instead of that of the side.
        setup: the DTLS roles that are offered.
        certificate: the fingerprint attribute; empty for none, None for a new one.
        certificate_above: write it at session level, as OBS does.
        bundle_only: later sections have port 0 and no transport, as the example in RFC 9725.
        simulcast: offer three layers of video.
        unknown: kinds of which only a codec is offered that there is not.
    """
    ufrag, pwd = credentials()
    mark = fingerprint() if certificate is None else certificate
    values = {
        "number": str(secrets.randbits(62)),
        "mids": " ".join(str(mid) for mid in range(len(kinds))),
        "ufrag": ufrag,
        "pwd": pwd,
        "fingerprint": "" if certificate_above else mark,
        "setup": setup,
    }
    stream = secrets.token_hex(8)
    head = _SESSION + (f"{mark}\n" if certificate_above else "")
    parts = [Template(head).substitute(values)]
    for mid, kind in enumerate(kinds):
        has_transport = not (bundle_only and mid)
        formats, codecs = (
            UNKNOWN[kind] if kind in unknown else (_FORMATS[kind], _CODECS[kind])
        )
        port = 9 if has_transport else 0
        parts += [
            f"m={kind} {port} UDP/TLS/RTP/SAVPF {formats}\n",
            Template(_TRANSPORT).substitute(values) if has_transport else "",
            f"a=mid:{mid}\n",
            "" if has_transport else "a=bundle-only\n",
            f"a={direction or DIRECTIONS[side]}\n",
            f"a=msid:{stream} {stream}-{mid}\n" if side == "whip" else "",
            "a=rtcp-mux\na=rtcp-mux-only\na=rtcp-rsize\n",
            codecs,
            _SIMULCAST if simulcast and kind == "video" else "",
        ]
    lines = "".join(parts).splitlines()
    return "".join(f"{line}\r\n" for line in lines if line)
