"""The run against other servers, tried on our own; and the page that is made from it."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

from bench import interop
from bench.pictures import CODECS
from bench.process import ServerProcess

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
GENERATOR = runpy.run_path(str(REFERENCE / "interop.py"))


def outcome(**changes: Any) -> dict[str, Any]:
    made = vars(interop.Outcome("Theirs 1.0", "pull", "VP8, Opus", first=1.26))
    return {**made, **changes}


def test_what_came_what_did_not_and_what_cannot() -> None:
    run = {
        "date": "2026-01-02",
        "version": "3.4",
        "outcomes": [
            outcome(),
            outcome(direction="push", first=2.0, healed=4.25),
            outcome(codec="AV1, Opus", fault="it said no"),
            outcome(codec="AV1, Opus", direction="push", carried=False, fault="none"),
        ],
    }
    text = GENERATOR["table"]([run])
    assert "| published | Theirs 1.0, pull | Theirs 1.0, push |" in text
    assert "| VP8, Opus | 1.3 s | 2.0 s, again 4.2 s |" in text
    assert "| AV1, Opus | **fail** | – |" in text
    assert "live777py 3.4 on 2026-01-02" in text


def test_the_page_has_every_codec() -> None:
    page = (REFERENCE / "interop.md").read_text("utf-8")
    for codec in CODECS:
        assert f"\n| {codec} |" in page, "make the page anew"


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_our_own_server_is_as_good_as_another() -> None:
    async with ServerProcess(None) as server:
        whip, whep = (f"{server.url}/{path}/cam{{n}}" for path in ("whip", "whep"))
        ours = interop.Other("ours", whip, whep)
        outcomes = await interop.run([ours], ["VP8, Opus", "AV1, Opus"])
    assert [found.fault for found in outcomes] == [""] * 4, json.dumps(
        [vars(found) for found in outcomes]
    )
