"""HTTP headers that nodes of live777py send one another; other servers pass over them."""

from __future__ import annotations

#: Of a cascade's offer: where the media comes from, or to whom it goes; of its answer: where it
#: comes from (`core/lineage.py`).
VIA = "Live777py-Via"

#: With NO_WAIT: where nobody publishes, say so instead of letting the viewer wait.
WAIT = "Live777py-Wait"
NO_WAIT = "no"
