"""Golden files: what programs of others rely on, letter for letter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

DATA = Path(__file__).parents[1] / "data"


def golden(name: str) -> Any:
    """The JSON of a file below `tests/data`."""
    return json.loads((DATA / name).read_text("utf-8"))
