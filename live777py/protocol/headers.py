"""HTTP headers that nodes of live777py send one another; other servers pass over them."""

from __future__ import annotations

#: Seconds after which nobody remembers a picture.
MAX_SEEN = 86_400.0

#: Of a cascade's offer: where the media comes from, or to whom it goes; of its answer: where it
#: comes from (`core/lineage.py`).
VIA = "Live777py-Via"

#: With NO_WAIT: where nobody publishes, say so instead of letting the viewer wait.
WAIT = "Live777py-Wait"
NO_WAIT = "no"

#: Of a pull's offer: how many seconds ago the latest media came that its viewers were sent. Who
#: has a key frame from before is not to begin with it.
SEEN = "Live777py-Seen"


def read_seen(text: str) -> float | None:
    """The seconds in a `SEEN` header; None where it says nothing that makes sense."""
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if 0.0 <= seconds < MAX_SEEN else None
