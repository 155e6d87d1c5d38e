"""The pure parts of the pages' scripts, called in a real Chromium."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e import browser as chromium
from tests.support.server import running

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(120),
]

CALL = """
async ([module, name, rows]) => {
  const { [name]: call } = await import(module);
  return rows.map((row) => call(...row));
}
"""


async def results(module: str, name: str, rows: list[list[Any]]) -> list[Any]:
    """Call a function of a module once a row of arguments."""
    async with running() as server, chromium.browser() as context:
        page = await context.new_page()
        await page.goto(f"{server.url}/tools/player.html")
        found: list[Any] = await page.evaluate(CALL, [module, name, rows])
        return found


async def test_ice_servers_are_found_in_folded_link_headers() -> None:
    stun = '<stun:stun.example.org:3478>; rel="ice-server"'
    turn = (
        '<turn:turn.example.org?transport=udp>; rel="ice-server"; username="a, \\"b\\""; '
        'credential="c;d"; credential-type="password"'
    )
    layer = '</layer>; rel="urn:ietf:params:whep:ext:core:layer"'
    found = await results(
        "/js/link.js",
        "iceServers",
        [
            [None],
            [""],
            [layer],
            [f"{stun}, {layer}, {turn}"],
            ["<stun:x>; rel=ice-server"],
        ],
    )

    assert found == [
        [],
        [],
        [],
        [
            {"urls": "stun:stun.example.org:3478"},
            {
                "urls": "turn:turn.example.org?transport=udp",
                "username": 'a, "b"',
                "credential": "c;d",
            },
        ],
        [{"urls": "stun:x"}],
    ]


async def test_stereo_is_written_into_the_format_of_opus_alone() -> None:
    other = "a=rtpmap:9 G722/8000\r\na=fmtp:9 x=1\r\n"
    plain = "a=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10;useinbandfec=1\r\n"
    stereo = (
        "a=rtpmap:111 opus/48000/2\r\n"
        "a=fmtp:111 minptime=10;useinbandfec=1;stereo=1;sprop-stereo=1\r\n"
    )
    found = await results(
        "/js/sdp.js", "withStereoOpus", [[plain + other], [stereo], [other]]
    )

    assert found == [stereo + other, stereo, other]


async def test_answers_to_reference_times_are_asked_for_beside_nack() -> None:
    before = "a=rtcp-fb:96 goog-remb\r\na=rtcp-fb:96 nack\r\n"
    after = "a=rtcp-fb:96 nack pli\r\na=rtpmap:97 rtx/90000\r\n"
    found = await results("/js/sdp.js", "withRoundTrip", [[before + after]])

    assert found == [before + "a=rtcp-fb:96 rrtr\r\n" + after]


async def test_retry_after_is_seconds_or_a_date() -> None:
    now = 1_000_000_000_000
    found = await results(
        "/js/session.js",
        "retryAfter",
        [
            [None],
            ["3"],
            ["soon"],
            ["Sun, 09 Sep 2001 01:46:50 GMT", now],
            ["Sun, 09 Sep 2001 01:46:30 GMT", now],
        ],
    )

    assert found == [0, 3_000, 0, 10_000, 0]


async def test_a_flag_in_an_address_has_no_value() -> None:
    [found] = await results(
        "/js/dom.js",
        "toolPage",
        [["player", {"id": "a&b=true", "token": None}, ["autoplay", "muted"]]],
    )

    assert found.endswith("/tools/player.html?id=a%26b%3Dtrue&autoplay&muted")
