"""SDP fragments: what a client says of its ICE after the offer (RFC 8840 section 4.4).

Clients write them in many ways: credentials above or below the media lines, several sections or
one with any media type, candidates that nobody can use. What cannot be used is passed over
(RFC 9725 section 4.3.2); what is no fragment at all is malformed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from live777py.protocol.candidate import Candidate
from live777py.protocol.rtp import Malformed

MEDIA_TYPE = "application/trickle-ice-sdpfrag"

#: Lines of a fragment at most: browsers send some ten candidates at a time.
MAX_LINES = 1024

#: ICE credentials. RFC 8839 section 5.4 allows letters, digits, "+" and "/"; clients also use
#: URL-safe base64.
UFRAG = re.compile(r"[0-9A-Za-z+/=_-]{4,256}")
PWD = re.compile(r"[0-9A-Za-z+/=_-]{22,256}")

#: `type=value`, the form of every line (RFC 8866 section 5).
_LINE = re.compile(r"[a-z]=.*")


@dataclass(frozen=True, slots=True)
class Fragment:
    """A client's fragment.

    Attributes:
        ufrag, pwd: its credentials, "" where it does not say.
        candidates: how many lines have one, usable or not.
        is_complete: no more candidates will come (`a=end-of-candidates`).
    """

    ufrag: str
    pwd: str
    candidates: int
    is_complete: bool

    def __repr__(self) -> str:
        return f"Fragment(ufrag={self.ufrag!r}, candidates={self.candidates})"


def parse(text: str) -> Fragment:
    """Read a fragment.

    Raises:
        Malformed: a line that is none of SDP, or two sets of credentials.
    """
    lines = [line for line in re.split(r"\r\n|\n|\r", text) if line]
    if not lines:
        raise Malformed("the fragment is empty")
    if len(lines) > MAX_LINES:
        raise Malformed(f"the fragment has more than {MAX_LINES} lines")
    found: dict[str, str] = {}
    candidates = 0
    is_complete = False
    for number, line in enumerate(lines, 1):
        if not _LINE.fullmatch(line):
            raise Malformed(f"line {number} of the fragment is not of SDP")
        name, _, value = line.partition(":")
        if name in ("a=ice-ufrag", "a=ice-pwd"):
            _keep(found, name.removeprefix("a="), value.strip())
        candidates += name == "a=candidate"
        is_complete |= name == "a=end-of-candidates"
    return Fragment(
        found.get("ice-ufrag", ""), found.get("ice-pwd", ""), candidates, is_complete
    )


def _keep(found: dict[str, str], name: str, value: str) -> None:
    pattern = UFRAG if name == "ice-ufrag" else PWD
    if not pattern.fullmatch(value):
        raise Malformed(f"the fragment's {name} is not one of RFC 8839")
    if found.setdefault(name, value) != value:
        # All sections of a bundle share one transport.
        raise Malformed(f"the fragment has two different values of {name}")


def write(
    *, ufrag: str, pwd: str, options: str, mid: str, candidates: Sequence[Candidate]
) -> str:
    """The answer to an ICE restart (RFC 9725 section 4.3.3).

    Args:
        ufrag, pwd: our new credentials.
        options: what the session's answer had as `a=ice-options`.
        mid: the tag of the bundle's first section.
        candidates: all of them; we never trickle.
    """
    lines = [
        "a=ice-lite",
        f"a=ice-options:{options}",
        f"a=ice-ufrag:{ufrag}",
        f"a=ice-pwd:{pwd}",
        "m=audio 9 UDP/TLS/RTP/SAVPF 0",
        f"a=mid:{mid}",
        *(f"a=candidate:{candidate}" for candidate in candidates),
        "a=end-of-candidates",
    ]
    return "".join(f"{line}\r\n" for line in lines)


def write_candidates(
    *,
    ufrag: str,
    pwd: str,
    mids: Sequence[str],
    kind: str,
    candidates: Sequence[Candidate],
    is_complete: bool,
) -> str:
    """What a client sends after its offer (RFC 9725 section 4.3.2).

    Args:
        ufrag, pwd: as in the offer.
        mids: the tags of all sections, which share one transport.
        kind: the media type of the first one.
        candidates: the new ones.
        is_complete: no more will come.
    """
    lines = [
        f"a=group:BUNDLE {' '.join(mids)}",
        f"m={kind} 9 UDP/TLS/RTP/SAVPF 0",
        f"a=mid:{mids[0]}",
        f"a=ice-ufrag:{ufrag}",
        f"a=ice-pwd:{pwd}",
        *(f"a=candidate:{candidate}" for candidate in candidates),
        *(["a=end-of-candidates"] if is_complete else []),
    ]
    return "".join(f"{line}\r\n" for line in lines)
