"""The faults of a configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from live777py.config import load
from live777py.errors import ConfigError


def faults(path: Path | None, environ: dict[str, str]) -> list[str]:
    """The faults of a configuration, without the directory of the file."""
    with pytest.raises(ConfigError) as caught:
        load(path, environ)
    prefix = "" if path is None else f"{path.parent}/"
    return [fault.removeprefix(prefix) for fault in caught.value.faults]
