"""Whole load tests against real servers on loopback."""

from __future__ import annotations

import asyncio
import os

import pytest
from aiohttp import web

from live777py.loadtest.options import METRICS, Options
from live777py.loadtest.run import Progress, run
from live777py.media import clip
from live777py.media.clip import Clip
from tests.clients.test_sdp_session import always, serving
from tests.loadtest.test_playback import CLIP
from tests.support.server import running

pytestmark = pytest.mark.usefixtures("short_clip")


@pytest.fixture
def short_clip(monkeypatch: pytest.MonkeyPatch) -> None:
    """Encoding the synthetic stream takes a second, and has a test of its own."""

    def synthetic() -> Clip:
        return CLIP

    monkeypatch.setattr(clip, "synthetic", synthetic)


async def test_streams_are_published_and_watched() -> None:
    phases: list[Progress] = []
    async with running() as server:
        result = await run(
            Options(
                whip=f"{server.url}/whip/cam",
                whep=f"{server.url}/whep/cam",
                publishers=2,
                viewers=5,
                seconds=1.0,
                rate=None,
                pid=os.getpid(),
            ),
            progress=phases.append,
        )
        assert await server.streams() == []
    assert not result.has_failed
    assert (result.publishers_connected, result.viewers_connected) == (2, 5)
    assert result.errors == {}
    assert result.packets_lost == 0
    assert result.payloads_altered == result.undecryptable == 0
    assert result.payloads_compared > 10
    metrics = result.metrics
    assert set(metrics) == set(METRICS)
    assert metrics["connected"] == metrics["delivered"] == 1.0
    assert metrics["recovered_1s"] is None
    measured = {name for name, value in metrics.items() if value is not None}
    assert measured == set(METRICS) - {"recovered_200ms", "recovered_1s"}
    latency = metrics["latency_p50"]
    assert latency is not None
    assert 0 < latency < 10
    assert list(dict.fromkeys(progress.phase for progress in phases)) == [
        "preparing",
        "publishing",
        "joining",
        "measuring",
        "leaving",
    ]


async def test_losses_are_made_and_counted() -> None:
    async with running() as server:
        result = await run(
            Options(
                whip=f"{server.url}/whip/{{n}}",
                whep=f"{server.url}/whep/{{n}}",
                viewers=2,
                seconds=1.0,
                loss=0.1,
            )
        )
    metrics = result.metrics
    assert result.dropped > 0
    assert metrics["recovered_200ms"] is not None
    delivered, recovered = metrics["delivered"], metrics["recovered_1s"]
    assert delivered is not None
    assert recovered is not None
    # What did not come again is missing, and nothing else; it may have come later, should this
    # process have stood still.
    assert result.packets_lost <= round(result.dropped * (1 - recovered))
    assert result.warnings or result.packets_lost == round(
        result.dropped * (1 - recovered)
    )


async def test_what_others_publish_can_be_watched() -> None:
    stop = asyncio.Event()
    async with running() as server:
        whip, whep = f"{server.url}/whip/cam", f"{server.url}/whep/cam"

        async def publish() -> None:
            await run(Options(whip=whip, viewers=0, seconds=20.0), stop=stop)

        async with asyncio.TaskGroup() as group:
            group.create_task(publish())
            await server.until_published("cam")
            result = await run(Options(whep=whep, viewers=2, seconds=0.5))
            stop.set()
    assert result.publishers == 0
    assert result.media is None
    assert result.metrics["delivered"] == 1.0
    assert result.metrics["first_key_frame_p99"] is not None
    assert result.metrics["latency_p50"] is None


@pytest.mark.parametrize(
    ("status", "text"), [(404, "no stream"), (406, "no codec"), (503, "full")]
)
async def test_refusals_are_told_with_their_words(status: int, text: str) -> None:
    handler = always(lambda: web.Response(status=status, text=text))
    async with serving(handler) as url:
        result = await run(Options(whip=f"{url}/a", whep=f"{url}/b", viewers=3))
    assert result.has_failed
    assert result.errors == {f"publishing: {url}/a answered {status}: {text}": 1}
    assert result.metrics["delivered"] is None


async def test_viewers_that_are_refused_do_not_stop_the_others() -> None:
    async with running(strategy={"each_stream_max_sub": 2}) as server:
        result = await run(
            Options(
                whip=f"{server.url}/whip/cam",
                whep=f"{server.url}/whep/cam",
                viewers=4,
                seconds=0.3,
                rate=None,
            )
        )
    assert not result.has_failed
    assert result.viewers_connected == 2
    assert result.metrics["connected"] == 0.5
    ((error, count),) = result.errors.items()
    assert "answered 503" in error
    assert count == 2


@pytest.mark.parametrize("body", ["<html>", "v=0\r\n", "v=0\r\nm=video 9 RTP 96\r\n"])
async def test_garbage_for_an_answer_is_an_error(body: str) -> None:
    deleted: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        if request.method == "DELETE":
            deleted.append(request.path)
            return web.Response(status=204)
        return web.Response(status=201, text=body, headers={"Location": "/s/1"})

    async with serving(handler) as url:
        result = await run(Options(whep=f"{url}/b", viewers=1, seconds=0.2))
    assert result.has_failed
    assert len(result.errors) == 1
    # What was made is ended, whatever came with it.
    assert deleted == ["/s/1"]


async def test_a_test_that_is_stopped_deletes_its_sessions() -> None:
    stop = asyncio.Event()

    def watch(progress: Progress) -> None:
        if progress.joined:
            stop.set()

    async with running() as server:
        async with asyncio.timeout(20):
            result = await run(
                Options(
                    whip=f"{server.url}/whip/cam",
                    whep=f"{server.url}/whep/cam",
                    viewers=200,
                    seconds=3600.0,
                    rate=20.0,
                ),
                progress=watch,
                stop=stop,
            )
        assert result.interrupted
        assert 0 < result.viewers_connected < 200
        assert await server.streams() == []


async def test_a_test_that_is_cancelled_deletes_its_sessions() -> None:
    async with running() as server:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.0):
                await run(
                    Options(
                        whip=f"{server.url}/whip/cam",
                        whep=f"{server.url}/whep/cam",
                        viewers=3,
                        seconds=3600.0,
                    )
                )
        assert await server.streams() == []
