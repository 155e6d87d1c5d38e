from __future__ import annotations

import io

import pytest
from rich.console import Console, RenderableType

from live777py.loadtest import terminal
from live777py.loadtest.run import Progress
from tests.loadtest.results import FAILED, RESULT, checks


def console(width: int) -> Console:
    return Console(file=io.StringIO(), width=width, highlight=False)


def text_of(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def printed(width: int, what: RenderableType) -> str:
    target = console(width)
    target.print(what)
    return text_of(target)


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_result_fits_the_terminal(width: int) -> None:
    target = console(width)
    terminal.show(target, RESULT, checks("delivered>=0.9", "latency_p50<1ms"))
    text = text_of(target)
    assert max(map(len, text.splitlines())) <= width
    assert "  POST to connected           p50 126 ms, p99 293 ms" in text
    assert "  ok      delivered>=0.9 (measured: 99.999 %)" in text
    assert "  FAILED  latency_p50<1ms (measured: 4.84 ms)" in text
    flat = " ".join(text.split())
    assert "1× watching: http://127.0.0.1:7777/whep/<cam> answered 503: full" in flat
    assert "Mind the tool itself was the bottleneck" in flat


def test_a_failure_is_told_with_its_cause() -> None:
    target = console(80)
    terminal.show(target, FAILED, [])
    text = text_of(target)
    assert "0 of 2 viewers" in text
    assert "2× watching: http://h/whep answered 404: Not Found" in text
    assert "interrupted" in text


def test_progress_is_one_line() -> None:
    progress = Progress("measuring", 0.5, 1200, 3, 62_000.0, 5e8, 0.9991)
    text = printed(80, terminal.live(progress))
    assert text.count("\n") == 1
    assert "1,200 joined  3 failed  62,000 packets/s" in text
    assert "preparing" in printed(80, terminal.live(Progress("preparing", 0.0)))
