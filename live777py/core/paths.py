"""The paths of a node's streams: who is refused by them, and who is told of them.

`core/lineage.py` knows what a path is. Sessions with nodes pass here twice: before they take a
place, and when they are negotiated.
"""

from __future__ import annotations

from functools import partial

from live777py.core.lineage import Path, check
from live777py.core.model import Role
from live777py.core.stream import Session
from live777py.errors import Loop


def admit(role: Role, own: Path, told: Path) -> None:
    """Refuse a node that would feed itself, before it takes a place.

    Args:
        role: that it wants.
        own: the path of the stream.
        told: what the node says: where the media that it pushes comes from, or to whom that
            which it pulls goes; () for whoever is no node.

    Raises:
        Loop: it would.
    """
    if role is Role.SUBSCRIBE:
        check(own, told)
    else:
        check(told, own[-1:])


def trace(session: Session) -> None:
    """A session is negotiated: from now on both sides tell one another what changes.

    Raises:
        Loop: what was no loop when it was asked for has become one.
    """
    stream = session.stream
    if session.path and session.role is Role.PUBLISH:
        check(session.path, (stream.entry,))
        # Only who has said that it is a node is believed.
        session.peer.hear_paths(partial(_heard, session))
    elif session.path:
        if session.remote is None:
            check(stream.path, session.path)
        session.peer.tell_path(stream.path)
    stream.tell_path()


def _heard(session: Session, path: Path) -> None:
    """The media of a publisher's session comes from elsewhere now."""
    try:
        check(path, (session.stream.entry,))
    except Loop as loop:
        session.peer.end(str(loop), loop.code)
    else:
        session.path = path
        session.stream.tell_path()
