"""Offers for tests: those of real clients, and small ones made to order."""

from __future__ import annotations

from pathlib import Path

from live777py.protocol.candidate import Candidate
from live777py.protocol.codecs import Codec, Kind
from live777py.rtc.negotiation import LocalParameters, Sender

DATA = Path(__file__).parents[1] / "data" / "offers"

LOCAL = LocalParameters(
    ufrag="serverUfrag",
    pwd="server+password+of+32+characters",
    fingerprint="sha-256 " + ":".join(f"{n:02X}" for n in range(32)),
    candidates=(
        Candidate("1", 1, "udp", 2130706431, "198.51.100.7", 7777),
        Candidate("2", 1, "udp", 2130706175, "2001:db8::7", 7777),
    ),
)

SENDERS: dict[Kind, Sender] = {"audio": Sender(1111, 1112), "video": Sender(2221, 2222)}

FINGERPRINT = "a=fingerprint:sha-256 " + ":".join(f"{n:02X}" for n in range(1, 33))

TRANSPORT = f"""a=ice-ufrag:client
a=ice-pwd:a+password+of+the+client
{FINGERPRINT}
a=setup:actpass"""

OPUS = "a=rtpmap:111 opus/48000/2"
VP8 = "a=rtpmap:96 VP8/90000"


def h264(profile_level_id: str, mode: str = "1") -> Codec:
    return Codec(
        "video",
        "H264",
        90000,
        parameters=(
            ("packetization-mode", mode),
            ("profile-level-id", profile_level_id),
        ),
    )


def opus(**parameters: str) -> Codec:
    pairs = tuple((k.replace("_", "-"), v) for k, v in parameters.items())
    return Codec("audio", "opus", 48000, 2, pairs)


def read(name: str) -> str:
    return (DATA / f"{name}.sdp").read_bytes().decode()


def audio(direction: str = "sendonly", extra: str = "", mid: str = "0") -> str:
    return f"""m=audio 9 UDP/TLS/RTP/SAVPF 111
c=IN IP4 0.0.0.0
{TRANSPORT}
a=mid:{mid}
a={direction}
a=rtcp-mux
{OPUS}
{extra}"""


def video(
    direction: str = "sendonly",
    extra: str = VP8,
    mid: str = "1",
    formats: str = "96",
) -> str:
    return f"""m=video 9 UDP/TLS/RTP/SAVPF {formats}
c=IN IP4 0.0.0.0
{TRANSPORT}
a=mid:{mid}
a={direction}
a=rtcp-mux
{extra}"""


def offer(*sections: str, session: str = "a=group:BUNDLE 0 1") -> str:
    lines = "\n".join(
        ("v=0", "o=- 1 2 IN IP4 127.0.0.1", "s=-", "t=0 0", session, *sections)
    )
    return "".join(f"{line}\r\n" for line in lines.splitlines() if line)
