"""What a real Chromium does with a session beyond offer and answer: restart ICE, be offered."""

from __future__ import annotations

import pytest

from tests.e2e import browser as chromium
from tests.e2e.test_browser_playback import random_cells
from tests.support.server import running

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(120),
]

#: Watches by hand, with the page's video element, and keeps what a restart needs.
WATCH = """
async (stream) => {
  const peer = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
  const video = document.querySelector("video");
  video.srcObject = new MediaStream();
  peer.ontrack = ({ track }) => { video.srcObject.addTrack(track); video.play(); };
  peer.addTransceiver("video", { direction: "recvonly" });
  peer.addTransceiver("audio", { direction: "recvonly" });
  await peer.setLocalDescription();
  const response = await fetch(`/whep/${stream}`, {
    method: "POST",
    headers: { "Content-Type": "application/sdp" },
    body: peer.localDescription.sdp,
  });
  const answer = await response.text();
  await peer.setRemoteDescription({ type: "answer", sdp: answer });
  window.whep = {
    peer, answer, url: response.headers.get("Location"), etag: response.headers.get("ETag"),
  };
}
"""

#: RFC 9725 section 4.3.3, as a client has to do it: the answer of before with the new
#: credentials is the answer of now.
RESTART = """
async () => {
  const { peer, answer, url } = window.whep;
  peer.restartIce();
  await peer.setLocalDescription();
  const sdp = peer.localDescription.sdp;
  const ufrag = sdp.match(/a=ice-ufrag:(.*)\\r\\n/)[1];
  const pwd = sdp.match(/a=ice-pwd:(.*)\\r\\n/)[1];
  const response = await fetch(url, {
    method: "PATCH",
    headers: { "Content-Type": "application/trickle-ice-sdpfrag", "If-Match": "*" },
    body: `a=ice-ufrag:${ufrag}\\r\\na=ice-pwd:${pwd}\\r\\nm=audio 9 RTP/AVP 0\\r\\na=mid:0\\r\\n`,
  });
  const fragment = await response.text();
  const restarted = answer
    .replace(/a=ice-ufrag:.*/g, fragment.match(/a=ice-ufrag:.*/)[0])
    .replace(/a=ice-pwd:.*/g, fragment.match(/a=ice-pwd:.*/)[0]);
  await peer.setRemoteDescription({ type: "answer", sdp: restarted });
  const changed = response.headers.get("ETag") !== window.whep.etag;
  window.whep.answer = restarted;
  window.whep.etag = response.headers.get("ETag");
  return { status: response.status, changed, state: peer.connectionState };
}
"""

#: draft-ietf-wish-whep-03 section 4.3.2: POST nothing, be offered, PATCH the answer.
BE_OFFERED = """
async (stream) => {
  const offered = await fetch(`/whep/${stream}`, { method: "POST" });
  const peer = new RTCPeerConnection();
  const video = document.querySelector("video");
  video.srcObject = new MediaStream();
  peer.ontrack = ({ track }) => { video.srcObject.addTrack(track); video.play(); };
  await peer.setRemoteDescription({ type: "offer", sdp: await offered.text() });
  await peer.setLocalDescription();
  const answered = await fetch(offered.headers.get("Location"), {
    method: "PATCH",
    headers: { "Content-Type": "application/sdp" },
    body: peer.localDescription.sdp,
  });
  return [offered.status, answered.status];
}
"""


async def test_frames_go_on_over_ice_restarts() -> None:
    cells = random_cells()
    async with running() as server, chromium.browser() as context:
        publisher, viewer = await context.new_page(), await context.new_page()
        await chromium.publish(publisher, server.url, cells=cells)
        await viewer.goto(f"{server.url}/tools/player.html")
        await viewer.evaluate(WATCH, "cam")
        await chromium.growing_video(viewer)
        for _ in range(3):
            restarted = await viewer.evaluate(RESTART)
            assert restarted["status"] == 200
            assert restarted["changed"]
            await chromium.growing_video(viewer, frames=20)
        reading = await chromium.stats(viewer)
        assert reading.state == "connected"
        await chromium.shows(viewer, cells)


@pytest.mark.parametrize("codec", ["VP8", "H264"])
async def test_a_viewer_that_is_made_an_offer_plays(codec: str) -> None:
    cells = random_cells()
    async with running() as server, chromium.browser() as context:
        publisher, viewer = await context.new_page(), await context.new_page()
        await chromium.publish(publisher, server.url, cells=cells, video_codec=codec)
        await viewer.goto(f"{server.url}/tools/player.html")
        assert await viewer.evaluate(BE_OFFERED, "cam") == [406, 204]
        video = await chromium.growing_video(viewer)
        await chromium.growing_audio(viewer)
        await chromium.shows(viewer, cells)
    assert video.video_codec == f"video/{codec}"


async def test_a_viewer_that_is_made_an_offer_may_come_before_the_publisher() -> None:
    cells = random_cells()
    async with running() as server, chromium.browser() as context:
        publisher, viewer = await context.new_page(), await context.new_page()
        await viewer.goto(f"{server.url}/tools/player.html")
        assert await viewer.evaluate(BE_OFFERED, "cam") == [406, 204]
        await chromium.publish(publisher, server.url, cells=cells)
        await chromium.growing_video(viewer)
        await chromium.shows(viewer, cells)
