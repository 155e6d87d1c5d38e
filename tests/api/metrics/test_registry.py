"""All series of a node, and the page that documents them."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

import live777py
from live777py.api.metrics.registry import Metrics
from live777py.api.metrics.sessions import CAUSES, DTLS_CAUSES
from live777py.core.live import Live, Policy
from live777py.rtc.counters import DROPPED, NOT_RETRANSMITTED
from tests.api.metrics.support import key, parsed
from tests.core.fakes import FakeMedia

PAGE = Path(live777py.__file__).parents[1] / "docs" / "reference" / "metrics.md"

#: How a family's samples are called, by its type.
SUFFIX = {"counter": "_total"}


async def test_a_page_says_what_runs_and_what_it_needs() -> None:
    async with Live(FakeMedia(), Policy()) as live:
        body, media_type = await Metrics(live).page()
    assert media_type.startswith("text/plain; version=")
    got = parsed(body.decode())
    build = next(labels for name, labels in got if name == "live777_build_info")
    assert dict(build)["version"] == live777py.__version__
    assert got[key("process_resident_memory_bytes")] > 0
    assert got[key("python_gc_collections_total", generation="0")] >= 0
    assert b"_created" not in body


async def test_who_prefers_openmetrics_gets_it() -> None:
    async with Live(FakeMedia(), Policy()) as live:
        body, media_type = await Metrics(live).page("application/openmetrics-text")
    assert media_type.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")


async def test_what_others_count_is_told_with_the_rest() -> None:
    async with Live(FakeMedia(), Policy()) as live:
        metrics = Metrics(live, auth_failures=lambda: 3, rate_limited=lambda: 4)
        got = parsed((await metrics.page())[0].decode())
    assert got[key("live777_auth_failures_total")] == 3
    assert got[key("live777_rate_limited_total")] == 4


async def test_two_nodes_in_a_process_have_nothing_in_common() -> None:
    async with Live(FakeMedia(), Policy()) as one, Live(FakeMedia(), Policy()) as other:
        first, second = Metrics(one), Metrics(other)
        await one.publish("cam", "p")
        pages = await asyncio.gather(first.page(), second.page())
        streams = [parsed(body.decode())[key("live777_stream")] for body, _ in pages]
    assert streams == [1, 0]


async def test_pages_at_the_same_time_are_each_whole() -> None:
    async with Live(FakeMedia(), Policy()) as live:
        metrics = Metrics(live, max_named=2)
        for number in range(5):
            await live.publish(f"cam{number}", "p")
        pages = await asyncio.gather(*(metrics.page() for _ in range(4)))
        for body, _ in pages:
            got = parsed(body.decode())
            assert got[key("live777_stream")] == 5
            assert got[key("live777_streams_unnamed")] == 3


async def test_the_reference_has_every_series_and_no_other() -> None:
    async with Live(FakeMedia(), Policy()) as live:
        body, _ = await Metrics(live).page()
    served = {
        family.name + SUFFIX.get(family.type, ""): family
        for family in text_string_to_metric_families(body.decode())
        if family.name.startswith("live777_")
    }
    rows = re.findall(
        r"^\| `(live777_\w+)` \| (\w+) \| (.*?) \|", PAGE.read_text("utf-8"), re.M
    )
    assert [name for name, _, _ in rows] == list(dict.fromkeys(n for n, _, _ in rows))
    assert {name for name, _, _ in rows} == set(served)
    for name, kind, labels in rows:
        assert kind == served[name].type, name
        shown = {
            label
            for sample in served[name].samples
            for label in sample.labels
            if label != "le"
        }
        # Without requests and media some series have no sample yet.
        assert shown <= set(re.findall(r"`(\w+)`", labels)), name


def test_the_reference_has_every_value_of_the_bounded_labels() -> None:
    words = set(re.findall(r"^\| `(\w+)` \|", PAGE.read_text("utf-8"), re.M))
    for values in (
        CAUSES,
        DTLS_CAUSES,
        DROPPED.values(),
        NOT_RETRANSMITTED.values(),
    ):
        assert set(values) <= words | {f"dtls_{cause}" for cause in words}
