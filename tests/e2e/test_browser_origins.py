"""A page of one server that uses another one with a token, in a real Chromium."""

from __future__ import annotations

import pytest

from tests.e2e import browser as chromium
from tests.support.server import running

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(120),
]

#: What a script sees of a WHEP session on another origin; each request but GET is preceded
#: by a preflight of the browser's own.
USE = """
async ({ url, token }) => {
  const peer = new RTCPeerConnection();
  peer.addTransceiver("video", { direction: "recvonly" });
  const { sdp } = await peer.createOffer();
  const endpoint = `${url}/whep/cam`;
  const authorization = { Authorization: `Bearer ${token}` };
  const post = (headers) =>
    fetch(endpoint, {
      method: "POST",
      headers: { "Content-Type": "application/sdp", ...headers },
      body: sdp,
    });
  const refused = await post({});
  const options = await fetch(endpoint, { method: "OPTIONS", headers: authorization });
  const answered = await post(authorization);
  const session = new URL(answered.headers.get("Location"), endpoint);
  const deleted = await fetch(session, {
    method: "DELETE",
    headers: { ...authorization, "If-Match": answered.headers.get("ETag") },
  });
  const gone = await fetch(session, { headers: authorization });
  const missing = await fetch(`${url}/nothing`, { method: "PATCH", headers: authorization });
  peer.close();
  return {
    refused: [refused.status, refused.headers.get("WWW-Authenticate")],
    options: [
      options.status,
      options.headers.get("Accept-Post"),
      options.headers.get("Access-Control-Allow-Methods"),
      options.headers.get("Link"),
    ],
    answered: [answered.status, answered.headers.get("Link")],
    statuses: [deleted.status, gone.status, missing.status],
  };
}
"""


@pytest.mark.parametrize("listed", [False, True])
async def test_a_page_of_another_origin_can_use_all_that_it_needs(listed: bool) -> None:
    ice = [{"urls": ["stun:stun.example"]}]
    async with running() as studio:
        http = {"cors": [studio.url]} if listed else {}
        async with (
            running(auth={"tokens": ["t0ken"]}, ice_servers=ice, http=http) as server,
            chromium.browser() as context,
        ):
            page = await context.new_page()
            await page.goto(f"{studio.url}/tools/player.html")
            seen = await page.evaluate(USE, {"url": server.url, "token": "t0ken"})
    assert seen["refused"] == [401, 'Bearer realm="live777py"']
    status, accept, methods, link = seen["options"]
    assert (status, accept) == (200, "application/sdp")
    assert "PATCH" in methods
    assert link == '<stun:stun.example>; rel="ice-server"'
    assert seen["answered"][0] == 201
    assert link in seen["answered"][1]
    assert seen["statuses"] == [204, 404, 404]


async def test_a_page_of_an_origin_that_is_not_listed_can_not() -> None:
    async with (
        running() as studio,
        running(http={"cors": ["https://other.example"]}) as server,
        chromium.browser() as context,
    ):
        page = await context.new_page()
        await page.goto(f"{studio.url}/tools/player.html")
        failure = await page.evaluate(
            "(url) => fetch(url, { method: 'DELETE' }).then(() => '', String)",
            f"{server.url}/session/cam/x",
        )
    assert "Failed to fetch" in failure
