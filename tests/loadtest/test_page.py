from __future__ import annotations

import re
from html.parser import HTMLParser

from live777py.loadtest import page
from tests.loadtest.results import FAILED, OPTIONS, RESULT, checks

WHEN = "2026-01-02 03:04:05 +0000"


class Balance(HTMLParser):
    """Fails at a tag that is closed but not open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_needs_nothing_else_and_is_well_formed() -> None:
    text = page.render(OPTIONS, RESULT, checks("delivered>=0.9", "cpu<0.1"), when=WHEN)
    balance = Balance()
    balance.feed(text)
    assert balance.open == []
    assert not re.search(r"<(script|link|img|iframe)\b|url\(|@import|src=|href=", text)


def test_the_page_tells_what_the_terminal_tells() -> None:
    text = page.render(OPTIONS, RESULT, checks("cpu<0.1"), when=WHEN)
    assert '<th scope="row">latency</th><td>p50 4.84 ms, p99 24.4 ms</td>' in text
    assert '<th scope="row">cpu&lt;0.1</th><td>0.21 <span class="failed">' in text
    assert "1× watching" in text
    assert WHEN in text


def test_what_others_wrote_is_escaped_and_the_token_is_not_there() -> None:
    text = page.render(OPTIONS, RESULT, [], when=WHEN)
    assert "<cam>" not in text
    assert "whep/&lt;cam&gt;" in text
    assert "secret-token" not in text


def test_a_failure_can_be_shown() -> None:
    text = page.render(OPTIONS, FAILED, [], when=WHEN)
    assert "interrupted" in text
    assert "0 of 2" in text
