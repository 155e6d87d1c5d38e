"""Our own server before its own judge: no MUST and no SHOULD fails."""

from __future__ import annotations

import pytest

from live777py.conformance.model import Level, Outcome
from live777py.conformance.options import Options
from live777py.conformance.run import run
from tests.support.server import running


@pytest.mark.slow
@pytest.mark.timeout(150)
async def test_no_must_and_no_should_fails() -> None:
    async with running() as server:
        report = await run(Options(f"{server.url}/whip/cam", f"{server.url}/whep/cam"))
        failures = report.failures(Level.MUST, Level.SHOULD)
        assert [finding.evidence for _, _, finding in failures] == []
        assert report.count(Outcome.PASS) > 50
        assert report.left == ()
        assert await server.streams() == []
