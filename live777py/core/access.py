"""Who may do what: rights, and the verbs of `Live` for a caller that has only some of them.

HTTP dialects find out who calls and make a `Caller` of it; they never call `Live` themselves, so
that no handler can forget to ask.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from live777py.errors import NotPermitted

#: The stream of a grant that holds for all streams and for the node itself.
ANY_STREAM = "*"


class Right(enum.Flag):
    """What may be done with a stream; the values are the bits of live777's `mode` claim."""

    MANAGE = 1
    PUBLISH = 2
    SUBSCRIBE = 4


ALL_RIGHTS = Right.MANAGE | Right.PUBLISH | Right.SUBSCRIBE


@dataclass(frozen=True, slots=True)
class Grant:
    """What somebody was granted.

    Attributes:
        stream: the name of the one stream that it is for, or "*" for all and for the node.
        rights: what may be done.
        holder: who it is, for the log; never a secret.
    """

    stream: str = ANY_STREAM
    rights: Right = ALL_RIGHTS
    holder: str = ""

    def permits(self, right: Right, stream: str = ANY_STREAM) -> bool:
        """Whether something may be done with a stream, or with the node."""
        return right in self.rights and self.stream in (ANY_STREAM, stream)

    def require(self, right: Right, stream: str = ANY_STREAM) -> None:
        """Make sure that something may be done.

        Raises:
            NotPermitted: it may not; the message names the right that is missing.
        """
        if not self.permits(right, stream):
            raise NotPermitted(right.name or "", stream)


#: What everybody has where nothing is configured.
EVERYTHING = Grant()
