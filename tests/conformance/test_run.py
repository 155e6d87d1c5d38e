from __future__ import annotations

import asyncio

import pytest

from live777py.conformance import catalogue
from live777py.conformance.bench import Bench
from live777py.conformance.exchange import NoResponse
from live777py.conformance.model import Check, Level, Outcome, Report
from live777py.conformance.options import Options
from live777py.conformance.run import ServerDead, run
from tests.conformance.fake import FakePeer, report_of, serving
from tests.support.server import running

#: Those that a server without faults does not pass, since it need not, or nobody can tell.
OTHERS = {
    **dict.fromkeys((17, 18, 20, 21, 25, 27, 28, 33), Outcome.NOT_APPLICABLE),
    **dict.fromkeys((22, 63), Outcome.SKIP),
}


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("is_fixed", [False, True])
async def test_a_whole_run_on_a_good_server(is_fixed: bool) -> None:
    everything = range(1, 72)
    report = await report_of(*everything, is_fixed=is_fixed)
    for check in report.checks:
        for side, finding in report.findings[check.number].items():
            expected = OTHERS.get(check.number, Outcome.PASS)
            if check.number == 25 and is_fixed:
                expected = Outcome.SKIP
            assert finding.outcome is expected, (check.number, side, finding.evidence)
        assert set(report.findings[check.number]) == set(check.sections)
    assert not report.has_failed(strict=True)
    assert report.left == ()


@pytest.mark.usefixtures("hurried")
async def test_one_side_alone_can_be_checked() -> None:
    report = await report_of(1, 9, side="whip")
    assert report.findings == {1: {"whip": report.findings[1]["whip"]}, 9: {}}
    async with serving() as server:
        options = Options(None, f"{server.url}/whep/cam")
        checks = [c for c in catalogue.checks() if c.number in (1, 25)]
        report = await run(
            options, peers=lambda s, _u: FakePeer(server, s), checks=checks
        )
        assert report.findings[1]["whep"].outcome is Outcome.PASS
        assert "needs --whip" in report.findings[25]["whep"].evidence


async def test_progress_counts_the_sides_that_were_asked_for() -> None:
    told: list[tuple[int, int, int]] = []
    async with serving() as server:
        await run(
            Options(f"{server.url}/whip/cam"),
            progress=lambda done, total, check: told.append(
                (done, total, check.number)
            ),
            peers=lambda s, _u: FakePeer(server, s),
            checks=[c for c in catalogue.checks() if c.number in (1, 2, 9)],
        )
    assert told == [(0, 2, 1), (1, 2, 2)]


@pytest.mark.usefixtures("hurried")
async def test_without_a_publisher_there_is_nothing_to_watch() -> None:
    report = await report_of(1, 32, faults=["any-type", "no-201"])
    assert report.findings[1]["whip"].outcome is Outcome.FAIL
    assert report.findings[32]["whep"].outcome is Outcome.SKIP
    assert "no stream to watch" in report.findings[32]["whep"].evidence


@pytest.mark.usefixtures("hurried")
async def test_sessions_that_resist_are_named() -> None:
    report = await report_of(4, side="whip", faults=["delete-405"])
    assert len(report.left) == 2


async def test_a_dead_server_is_one_sentence() -> None:
    with pytest.raises(ServerDead, match=r"^127\.0\.0\.1:9 does not answer: "):
        await run(Options("http://user:secret@127.0.0.1:9/whip/cam"))


async def made(*checks: Check, bound: float = 100.0) -> Report:
    async with serving() as server:
        options = Options(f"{server.url}/whip/cam", bound=bound)
        return await run(
            options, peers=lambda s, _u: FakePeer(server, s), checks=checks
        )


def raising(error: Exception, number: int = 1) -> Check:
    async def fail(_bench: Bench) -> str:
        raise error

    return Check(number, "fails", Level.MUST, {"whip": "0"}, fail)


async def test_no_response_is_a_failure() -> None:
    found = (await made(raising(NoResponse("GET /", "reset")))).findings[1]["whip"]
    assert found.outcome is Outcome.FAIL
    assert "no response (reset)" in found.evidence


async def test_when_the_server_goes_the_rest_is_not_checked() -> None:
    gone = NoResponse("GET /", "refused", is_dead=True)
    report = await made(raising(gone), raising(ValueError("never"), 2))
    assert report.findings[2]["whip"].outcome is Outcome.SKIP
    assert report.findings[2]["whip"].evidence == "the server has gone (refused)"


async def test_a_fault_of_a_check_is_not_the_servers() -> None:
    found = (await made(raising(ValueError("secret")))).findings[1]["whip"]
    assert found.outcome is Outcome.SKIP
    assert found.evidence == "the check itself failed: ValueError"


async def test_every_check_has_an_end() -> None:
    async def hang(_bench: Bench) -> str:
        await asyncio.Event().wait()
        return ""

    check = Check(1, "hangs", Level.MUST, {"whip": "0"}, hang, timeout=0.01)
    assert "not finished" in (await made(check)).findings[1]["whip"].evidence
    late = await made(check, bound=0.0)
    assert late.findings[1]["whip"].evidence == "no time was left"


async def test_an_interrupted_run_deletes_its_sessions() -> None:
    opened = asyncio.Event()

    async def keep(bench: Bench) -> str:
        await bench.post(bench.offer())
        opened.set()
        await asyncio.Event().wait()
        return ""

    check = Check(1, "waits", Level.MUST, {"whip": "0"}, keep)
    async with serving() as server:
        options = Options(f"{server.url}/whip/cam")
        async with asyncio.TaskGroup() as group:
            task = group.create_task(
                run(options, peers=lambda s, _u: FakePeer(server, s), checks=[check])
            )
            await opened.wait()
            assert server.sessions
            task.cancel()
        assert task.cancelled()
        assert server.sessions == {}


@pytest.mark.slow
async def test_real_peers_connect_to_a_real_server() -> None:
    numbers = (1, 3, 26, 39, 41, 66, 70)
    checks = [check for check in catalogue.checks() if check.number in numbers]
    told: list[int] = []
    async with running() as server:
        report = await run(
            Options(f"{server.url}/whip/cam", f"{server.url}/whep/cam"),
            progress=lambda _done, _all, check: told.append(check.number),
            checks=checks,
        )
        assert report.failures() == []
        assert report.count(Outcome.PASS) == 13
        assert sorted(set(told)) == list(numbers)
        assert await server.streams() == []
