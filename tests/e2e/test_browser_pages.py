"""The three pages in a real Chromium: what they show, and what they do by themselves."""

from __future__ import annotations

import shlex

import pytest
from playwright.async_api import Page, Response

from tests.e2e import browser as chromium
from tests.support import commands
from tests.support.server import running

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(120),
]

#: A browser that can decode nothing but VP8.
ONLY_VP8 = """
const add = RTCPeerConnection.prototype.addTransceiver;
RTCPeerConnection.prototype.addTransceiver = function (kind, init) {
  const transceiver = add.call(this, kind, init);
  if (kind === "video") {
    const { codecs } = RTCRtpReceiver.getCapabilities("video");
    transceiver.setCodecPreferences(codecs.filter((c) => c.mimeType === "video/VP8"));
  }
  return transceiver;
};
"""

#: A browser that plays no sound before the first click, as they do outside tests.
HOLD_SOUND_BACK = """
const play = HTMLMediaElement.prototype.play;
HTMLMediaElement.prototype.play = function () {
  if (this.muted) return play.call(this);
  return Promise.reject(new DOMException("no click yet", "NotAllowedError"));
};
"""

#: Ends the session by its URL; what the page's own client makes of it.
DELETE_AND_WAIT = """
async (location) => {
  const session = window.session;
  const ended = new Promise((resolve) => {
    session.addEventListener("statechange", resolve);
    setTimeout(resolve, 20_000);
  });
  const response = await fetch(location, { method: "DELETE" });
  await ended;
  const { state, reason, connection } = session;
  const { status } = response;
  return { status, state, reason, connection: connection.connectionState };
}
"""

PLAY = """
async () => {
  const { WhepSession } = await import("/js/whep.js");
  window.session = new WhepSession("/whep/cam");
  await window.session.start();
}
"""


def complaints(page: Page) -> list[str]:
    """What the page's console and scripts complain about from now on."""
    found: list[str] = []
    page.on("pageerror", lambda error: found.append(str(error)))
    page.on(
        "console",
        lambda message: (
            found.append(message.text) if message.type in ("error", "warning") else None
        ),
    )
    return found


def session_urls(page: Page) -> list[str]:
    """The session URLs that the page is given from now on."""
    found: list[str] = []

    def note(response: Response) -> None:
        if response.status == 201:
            found.append(response.headers["location"])

    page.on("response", note)
    return found


async def test_the_publish_page_sends_the_camera() -> None:
    async with running() as server, chromium.browser() as context:
        publisher, viewer = await context.new_page(), await context.new_page()
        errors = complaints(publisher), complaints(viewer)
        await publisher.goto(
            f"{server.url}/tools/publish.html?id=cam&source=camera&vcodec=vp8&autostart"
        )
        await chromium.says(publisher, "#state", "On air")
        await chromium.play(viewer, server.url)

        await chromium.growing_video(viewer)
        await chromium.growing_audio(viewer)
        # Chromium's fake camera is green.
        await chromium.until(
            lambda: chromium.picture(viewer),
            lambda cells: cells and set(cells) <= {"lime", "black", "yellow"},
            "the fake camera's picture",
        )
        await chromium.says(publisher, "#facts", "VP8")
        assert errors == ([], [])


async def test_the_publish_page_sends_a_test_pattern() -> None:
    async with running() as server, chromium.browser() as context:
        publisher, viewer = await context.new_page(), await context.new_page()
        errors = complaints(publisher)
        await publisher.goto(f"{server.url}/tools/publish.html?id=cam&source=pattern")
        await publisher.click("#toggle")
        await chromium.says(publisher, "#state", "On air")
        await chromium.play(viewer, server.url)

        await chromium.growing_video(viewer)
        await chromium.growing_audio(viewer)

        await publisher.click("#toggle")
        await chromium.says(publisher, "#state", "Ready")
        await chromium.says(viewer, "#message", "Waiting for the publisher")
        assert errors == []


async def test_a_second_publisher_reads_why_not() -> None:
    async with running() as server, chromium.browser() as context:
        first, second = await context.new_page(), await context.new_page()
        await chromium.publish(first, server.url)
        await second.goto(
            f"{server.url}/tools/publish.html?id=cam&source=pattern&autostart"
        )

        await chromium.says(second, "#error", "already has a publisher")
        await chromium.says(second, "#state", "Ready")


async def test_reloading_the_publish_page_frees_the_name_for_it() -> None:
    async with running() as server, chromium.browser() as context:
        publisher, viewer = await context.new_page(), await context.new_page()
        address = "/tools/publish.html?id=cam&source=pattern&vcodec=vp8&autostart"
        await publisher.goto(server.url + address)
        await chromium.says(publisher, "#state", "On air")
        await chromium.play(viewer, server.url)
        await chromium.growing_video(viewer)

        await publisher.reload()
        await chromium.says(publisher, "#state", "On air")

        await chromium.growing_video(viewer)
        await chromium.growing_audio(viewer)
        assert await viewer.evaluate("window.peers.length") == 1


async def test_a_viewer_who_cannot_decode_the_stream_reads_why() -> None:
    async with running() as server, chromium.browser() as context:
        publisher, viewer = await context.new_page(), await context.new_page()
        await chromium.publish(publisher, server.url, video_codec="H264")
        await viewer.add_init_script(ONLY_VP8)
        answers: list[int] = []
        viewer.on("response", lambda response: answers.append(response.status))
        await chromium.play(viewer, server.url)

        await chromium.says(viewer, "#error", "H264")
        await chromium.says(viewer, "#error", "VP8")
        assert 406 in answers


@pytest.mark.parametrize("side", ["publisher", "viewer"])
async def test_delete_ends_the_peer_at_once(side: str) -> None:
    async with running() as server, chromium.browser() as context:
        publisher, viewer = await context.new_page(), await context.new_page()
        publishing, watching = session_urls(publisher), session_urls(viewer)
        await chromium.publish(publisher, server.url)
        await viewer.goto(f"{server.url}/tools/player.html")
        await viewer.evaluate(PLAY)
        await chromium.growing_video(viewer)

        page, urls = (
            (publisher, publishing) if side == "publisher" else (viewer, watching)
        )
        end = await page.evaluate(DELETE_AND_WAIT, urls[-1])

    assert end["status"] == 204
    assert (end["state"], end["reason"]) == ("ended", "closed")
    assert end["connection"] == "closed"


async def test_the_player_returns_by_itself_when_its_session_is_ended() -> None:
    async with running() as server, chromium.browser() as context:
        publisher, viewer = await context.new_page(), await context.new_page()
        urls = session_urls(viewer)
        await chromium.publish(publisher, server.url)
        await chromium.play(viewer, server.url)
        await chromium.growing_video(viewer)

        await viewer.request.delete(server.url + urls[0])
        await chromium.until(
            lambda: viewer.evaluate("window.peers.length"),
            lambda peers: peers == 2,
            "a second connection",
        )

        await chromium.growing_video(viewer)


async def test_the_player_stays_away_with_reconnect_0() -> None:
    async with running() as server, chromium.browser() as context:
        viewer = await context.new_page()
        urls = session_urls(viewer)
        await viewer.goto(f"{server.url}/tools/player.html?id=cam&autoplay&reconnect=0")
        await chromium.connected(viewer)

        await viewer.request.delete(server.url + urls[0])

        await chromium.says(viewer, "#error", "The server has ended the session")
        await chromium.says(viewer, "#play", "Try again")


async def test_stopping_the_player_ends_its_session() -> None:
    async with running() as server, chromium.browser() as context:
        viewer = await context.new_page()
        urls = session_urls(viewer)
        await chromium.play(viewer, server.url)
        await chromium.connected(viewer)
        await viewer.mouse.move(10, 10)
        async with viewer.expect_response("**/session/**") as deleted:
            await viewer.click("#stop")

        response = await deleted.value
        assert (response.request.method, response.status) == ("DELETE", 204)
        assert response.url == server.url + urls[0]
        await chromium.says(viewer, "#play", "Play")


async def test_the_player_shows_stats_for_nerds() -> None:
    async with running() as server, chromium.browser() as context:
        publisher, viewer = await context.new_page(), await context.new_page()
        await chromium.publish(publisher, server.url)
        await chromium.play(viewer, server.url)
        await viewer.mouse.move(10, 10)
        await viewer.click("#nerds")

        await chromium.says(viewer, "#stats", "320")
        await chromium.says(viewer, "#stats", "opus")


async def test_a_muted_player_offers_the_sound() -> None:
    async with running() as server, chromium.browser() as context:
        viewer = await context.new_page()
        await viewer.goto(f"{server.url}/tools/player.html?id=cam&autoplay&muted")
        await chromium.says(viewer, "#unmute", "Unmute")

        await viewer.click("#unmute")

        assert not await viewer.evaluate("document.querySelector('video').muted")
        assert await viewer.locator("#unmute").is_hidden()


async def test_the_picture_starts_without_the_sound_where_sound_needs_a_click() -> None:
    async with running() as server, chromium.browser() as context:
        publisher, viewer = await context.new_page(), await context.new_page()
        await viewer.add_init_script(HOLD_SOUND_BACK)
        await chromium.publish(publisher, server.url)
        await chromium.play(viewer, server.url)

        await chromium.says(viewer, "#unmute", "Unmute")
        await chromium.shows(viewer, ["red", "lime", "blue", "white"])


async def test_a_codec_that_the_browser_cannot_send_is_refused_by_the_page() -> None:
    async with running() as server, chromium.browser() as context:
        page = await context.new_page()
        await page.goto(
            f"{server.url}/tools/publish.html?source=pattern&vcodec=nonsense&autostart"
        )

        await chromium.says(page, "#error", "This browser cannot send nonsense")
        await chromium.says(page, "#state", "Ready")


async def test_a_viewer_too_many_waits_for_a_place() -> None:
    strategy: dict[str, object] = {"each_stream_max_sub": 1}
    async with running(strategy=strategy) as server, chromium.browser() as context:
        publisher = await context.new_page()
        first, second = await context.new_page(), await context.new_page()
        await chromium.publish(publisher, server.url)
        await chromium.play(first, server.url)
        await chromium.growing_video(first)
        await chromium.play(second, server.url)
        await chromium.says(second, "#message", "Trying again")

        # The buttons fade, and take no click, while the pointer rests.
        await first.mouse.move(10, 10)
        await first.click("#stop")

        await chromium.growing_video(second)


async def test_the_player_returns_when_the_server_does() -> None:
    async with chromium.browser() as context:
        publisher, viewer = await context.new_page(), await context.new_page()
        async with running() as server:
            address = server.url.removeprefix("http://")
            await chromium.play(viewer, server.url)
            await chromium.connected(viewer)
        await chromium.says(viewer, "#message", "The server does not answer")

        async with running(http={"listen": address}) as server:
            await chromium.publish(publisher, server.url)
            await chromium.growing_video(viewer)


async def test_the_front_page_lists_what_is_live() -> None:
    async with running() as server, chromium.browser() as context:
        publisher, front = await context.new_page(), await context.new_page()
        errors = complaints(front)
        await front.goto(server.url)
        await chromium.says(front, "#streams-empty", "Nothing yet")
        await chromium.publish(publisher, server.url, "studio ü/1", video_codec="VP9")

        await chromium.says(front, "#streams", "studio ü/1")
        await chromium.says(front, "#streams", "Live")
        await chromium.says(front, "#streams", "VP9")
        await front.bring_to_front()
        await front.click("#streams a")
        await chromium.growing_video(front)
        assert errors == []


async def test_the_front_page_gives_addresses_for_other_programs() -> None:
    async with running() as server, chromium.browser() as context:
        front = await context.new_page()
        await front.goto(server.url)
        await front.fill("#stream", "it's live")

        await chromium.says(front, "#whip-url", f"{server.url}/whip/it%27s%20live")
        await chromium.says(front, "#whep-url", f"{server.url}/whep/it%27s%20live")
        await chromium.says(front, "#ffmpeg-command", "-f whip")
        await chromium.says(front, "#gstreamer-command", "whipclientsink")
        await front.click("button[value=publish]")
        await front.wait_for_url("**/tools/publish.html?id=it%27s%20live")
        assert await front.input_value("#stream") == "it's live"


@pytest.mark.parametrize(
    ("element", "program"),
    [("ffmpeg-command", "ffmpeg"), ("gstreamer-command", "gst-launch-1.0")],
)
async def test_the_front_page_and_the_manual_show_the_same_commands(
    element: str, program: str
) -> None:
    async with running() as server, chromium.browser() as context:
        front = await context.new_page()
        await front.goto(server.url)
        await front.fill("#stream", "cam")
        await chromium.says(front, "#whip-url", f"{server.url}/whip/cam")
        text = await front.inner_text(f"#{element}")
    (shown,) = commands.shown("docs/howto/publish.md", program)
    here = [part.replace("http://HOST:7777", server.url) for part in shown]
    assert shlex.split(text) == [program, *here]


async def test_the_page_of_the_api_shows_every_operation() -> None:
    async with running() as server, chromium.browser() as context:
        page = await context.new_page()
        await page.goto(f"{server.url}/")
        await page.get_by_role("link", name="API").click()
        await page.wait_for_selector(".operation")
        operations = await page.locator(".operation").count()
        item = page.locator(".operation:has(.PATCH)")
        await item.locator("summary").click()
        await chromium.says(page, ".operation[open] .details", "If-Match")
        document = await page.evaluate(
            "fetch('/api/openapi.json').then((response) => response.json())"
        )
    methods = [m for item in document["paths"].values() for m in item]
    assert operations == len(methods) - methods.count("parameters")
