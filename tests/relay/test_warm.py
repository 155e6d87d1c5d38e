from __future__ import annotations

import pytest

from live777py.relay.cfuncs import COMPILED
from live777py.relay.warm import main


def test_a_warm_start_is_quick_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    main()
    said = capsys.readouterr().out
    assert ("compiled (0." in said) if COMPILED else ("nothing to compile" in said)
