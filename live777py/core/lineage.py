"""Where a stream's media comes from: the path of nodes and streams through which it has come.

Every stream of every node has an entry: an id that nobody can guess, and a label for people. A
path is the entries from where the media was published to where it is now. Whoever would find
itself in the path of what it is sent has a loop, however long.

A path travels as text, in a header and in RTCP: this module makes and reads it. It starts nothing.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass, field
from typing import TypeAlias
from urllib.parse import quote, unquote

from live777py.errors import Loop, TooManyHops

#: Nodes through which media may come. Each adds some milliseconds: nobody needs more.
MAX_HOPS = 24

#: Entries of a text that are read: a loop in words has two halves, each as long as may be.
MAX_ENTRIES = 2 * MAX_HOPS + 1

#: Characters of a label, and of a node's name in it.
MAX_LABEL = 64
MAX_NAME = 24

#: Characters of a text that is read, and of one that is written: other servers, and proxies,
#: take headers of 8 KiB.
MAX_TEXT = 8000
HEADER_LENGTH = 4000

_ID = re.compile(r"[0-9a-f]{16}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Entry:
    """A stream of a node; two are equal when their ids are.

    Attributes:
        id: 16 hexadecimal digits.
        label: `node/stream`, with nothing before the slash where the node has no name.
    """

    id: str
    label: str = field(default="", compare=False)

    def __str__(self) -> str:
        name, _, stream = self.label.partition("/")
        return f"{name or self.id[:4]}/{stream}"

    def encode(self, length: int) -> str:
        """As text of at most that many characters; the label is what is cut."""
        label = self.label
        while len(quoted := quote(label)) > max(0, length - len(self.id) - 1):
            label = label[:-1]
        return f"{self.id}.{quoted}"


Path: TypeAlias = tuple[Entry, ...]


class Node:
    """Makes the entries of a node's streams.

    Its key is as random as a session's id: an id tells nobody of which stream it is, nor which
    other ids are of the same node.
    """

    def __init__(self, name: str = "", key: bytes | None = None) -> None:
        """Begin.

        Args:
            name: for people, without a slash; "" for none.
            key: None for a new one; nodes with the same key take one another for themselves.
        """
        self._name = name[:MAX_NAME]
        self._key = secrets.token_bytes(16) if key is None else key

    def entry(self, stream: str) -> Entry:
        """Of this stream."""
        digest = hashlib.blake2b(stream.encode(), key=self._key, digest_size=8)
        return Entry(digest.hexdigest(), f"{self._name}/{stream}"[:MAX_LABEL])


def encode(path: Path, length: int = HEADER_LENGTH) -> str:
    """As text of at most `length` characters, if there is room for the ids.

    An id, a dot, the label percent-encoded; between two entries a comma and a space.
    """
    if not path:
        return ""
    share = length // len(path) - len(", ")
    return ", ".join(entry.encode(share) for entry in path)


def parse(text: str) -> Path:
    """Read what another node has sent; () for what is no path.

    Others may send anything: labels are cut, and lose what is no printable character.
    """
    if len(text) > MAX_TEXT:
        return ()
    items = text.split(",", MAX_ENTRIES)[:MAX_ENTRIES]
    found = [item.strip().partition(".") for item in items]
    if not all(_ID.fullmatch(number) for number, _, _ in found):
        return ()
    return tuple(Entry(number, _readable(label)) for number, _, label in found)


def in_words(path: Path) -> str:
    """For people: `a/cam → b/cam`."""
    return " → ".join(map(str, path))


def check(upstream: Path, downstream: Path) -> None:
    """Make sure that media may be sent from the end of one path to the beginning of another.

    Args:
        upstream: through which the media has come to whoever is to send it.
        downstream: who is to be sent it, then those to whom that goes on; where several wait
            there, they stand one after the other. () for whom no loop can lead through.

    Raises:
        Loop: it has come through somebody to whom it would go.
        TooManyHops: it has come through as many nodes as it may.
    """
    for place, entry in enumerate(downstream):
        if entry in upstream:
            begin = upstream.index(entry)
            raise _refusal((*upstream[begin:], *downstream[: place + 1]))
    if downstream and len(upstream) >= MAX_HOPS:
        raise _refusal(upstream)


def refused(text: str) -> Loop | None:
    """What another node has refused, by the path that came with it; None where none came."""
    path = parse(text)
    return _refusal(path) if path else None


def _refusal(path: Path) -> Loop:
    kind = Loop if path[0] in path[1:] else TooManyHops
    return kind(in_words(path), encode(path))


def _readable(quoted: str) -> str:
    # Among what is not printable are line ends, and what turns the direction of writing.
    label = unquote(quoted[: 12 * MAX_LABEL])
    return "".join(c for c in label if c.isprintable())[:MAX_LABEL]
