"""A real Chromium publishes, another page of it plays: pictures, sound, coming and going."""

from __future__ import annotations

import secrets

import pytest

from tests.e2e import browser as chromium
from tests.support.server import running

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(120),
]


def random_cells() -> tuple[str, ...]:
    """Twelve random bits as a picture; never black, which a dead player shows as well."""
    colours = [name for name in chromium.PURE.values() if name != "black"]
    return tuple(secrets.choice(colours) for _ in range(4))


@pytest.mark.parametrize("codec", ["VP8", "VP9", "H264", "AV1"])
async def test_a_viewer_sees_and_hears_what_is_published(codec: str) -> None:
    cells, others = random_cells(), random_cells()
    async with running() as server, chromium.browser() as context:
        publisher, viewer = await context.new_page(), await context.new_page()
        await chromium.publish(publisher, server.url, cells=cells, video_codec=codec)
        await chromium.play(viewer, server.url)

        video = await chromium.growing_video(viewer)
        audio = await chromium.growing_audio(viewer)
        await chromium.shows(viewer, cells)
        await publisher.evaluate("cells => { window.cells = cells; }", list(others))
        await chromium.shows(viewer, others)

    assert video.video_codec == f"video/{codec}"
    assert audio.audio_codec == "audio/opus"


async def test_stereo_stays_stereo() -> None:
    async with running() as server, chromium.browser() as context:
        publisher, viewer = await context.new_page(), await context.new_page()
        await chromium.publish(publisher, server.url)
        await chromium.play(viewer, server.url)
        await chromium.growing_audio(viewer)

        await chromium.until(
            lambda: chromium.loudness(viewer),
            lambda sides: sides[0] > 0.05 and sides[0] > 10 * sides[1],
            "a tone on the left, silence on the right",
        )


async def test_a_viewer_who_comes_first_waits_and_then_sees_the_publisher() -> None:
    cells = random_cells()
    async with running() as server, chromium.browser() as context:
        publisher, viewer = await context.new_page(), await context.new_page()
        await chromium.play(viewer, server.url)
        await chromium.says(viewer, "#message", "Waiting for the publisher")
        await chromium.connected(viewer)

        await chromium.publish(publisher, server.url, cells=cells)

        await chromium.shows(viewer, cells)
        await chromium.growing_video(viewer)
        await chromium.growing_audio(viewer)
        assert await viewer.evaluate("window.peers.length") == 1


async def test_a_viewer_goes_on_when_the_publisher_reloads() -> None:
    cells, others = random_cells(), random_cells()
    async with running() as server, chromium.browser() as context:
        publisher, viewer = await context.new_page(), await context.new_page()
        await chromium.publish(publisher, server.url, cells=cells)
        await chromium.play(viewer, server.url)
        await chromium.shows(viewer, cells)

        await publisher.evaluate("window.session.stop()")
        await chromium.publish(publisher, server.url, cells=others)

        await chromium.shows(viewer, others)
        await chromium.growing_video(viewer)
        await chromium.growing_audio(viewer)
        assert await viewer.evaluate("window.peers.length") == 1


async def test_a_viewer_goes_on_when_another_codec_follows() -> None:
    cells, others = random_cells(), random_cells()
    async with running() as server, chromium.browser() as context:
        publisher, viewer = await context.new_page(), await context.new_page()
        await chromium.publish(publisher, server.url, cells=cells, video_codec="VP8")
        await chromium.play(viewer, server.url)
        await chromium.shows(viewer, cells)

        await publisher.evaluate("window.session.stop()")
        await chromium.publish(publisher, server.url, cells=others, video_codec="H264")

        await chromium.shows(viewer, others)
        reading = await chromium.growing_video(viewer)
        assert reading.video_codec == "video/H264"


async def test_three_viewers_watch_at_once() -> None:
    cells = random_cells()
    async with running() as server, chromium.browser() as context:
        publisher = await context.new_page()
        viewers = [await context.new_page() for _ in range(3)]
        await chromium.publish(publisher, server.url, cells=cells)
        for viewer in viewers:
            await chromium.play(viewer, server.url)

        for viewer in viewers:
            await chromium.shows(viewer, cells)
            await chromium.growing_video(viewer)
            await chromium.growing_audio(viewer)


async def test_a_viewer_hears_a_publisher_without_a_picture() -> None:
    async with running() as server, chromium.browser() as context:
        publisher, viewer = await context.new_page(), await context.new_page()
        await chromium.publish(publisher, server.url, video=False)
        await chromium.play(viewer, server.url)

        await chromium.growing_audio(viewer)
        await chromium.says(viewer, "#message", "Sound only")
        assert await viewer.evaluate("document.querySelector('video').currentTime") > 0


async def test_a_viewer_who_comes_first_hears_a_publisher_without_a_picture() -> None:
    async with running() as server, chromium.browser() as context:
        publisher, viewer = await context.new_page(), await context.new_page()
        await chromium.play(viewer, server.url)
        await chromium.connected(viewer)
        await chromium.publish(publisher, server.url, video=False)

        await chromium.growing_audio(viewer)
        await chromium.says(viewer, "#message", "Sound only")
        assert await viewer.evaluate("document.querySelector('video').currentTime") > 0


async def test_audio_first_under_max_bundle_plays_a_stream_without_sound() -> None:
    cells = random_cells()
    async with running() as server, chromium.browser() as context:
        publisher, viewer = await context.new_page(), await context.new_page()
        await chromium.publish(publisher, server.url, cells=cells, audio=False)
        await chromium.play(viewer, server.url)

        await chromium.shows(viewer, cells)
        await chromium.growing_video(viewer)
        kinds, policy = await viewer.evaluate(
            """() => {
              const [{ localDescription, bundlePolicy }] = window.peers;
              const sections = [...localDescription.sdp.matchAll(/^m=(\\w+)/gm)];
              return [sections.map(([, kind]) => kind), bundlePolicy];
            }"""
        )
        assert kinds == ["audio", "video"]
        assert policy == "max-bundle"
