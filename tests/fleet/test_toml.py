from __future__ import annotations

from datetime import date
from typing import Any

import pytest
import tomli
from hypothesis import given
from hypothesis import strategies as st

from live777py.fleet import toml

VALUES = st.recursive(
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.dates(date(1000, 1, 1))
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner)
    ),
    max_leaves=8,
)
KEYS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


@given(st.dictionaries(KEYS, VALUES, max_size=5))
def test_what_is_written_is_read_again(table: dict[str, Any]) -> None:
    assert tomli.loads(toml.dumps(table)) == table


def test_sections_stand_under_their_headers() -> None:
    text = toml.dumps({"http": {"listen": "[::]:1", "cors": ["*"]}, "first": 1})
    assert text == 'first = 1\n\n[http]\nlisten = "[::]:1"\ncors = ["*"]\n'


def test_what_toml_cannot_say_is_refused() -> None:
    with pytest.raises(TypeError, match="NoneType"):
        toml.dumps({"a": None})
