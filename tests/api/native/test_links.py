"""Link headers."""

from __future__ import annotations

from aiohttp import ClientSession

from live777py.api.native.links import extension_link, ice_links
from live777py.config import IceServer
from tests.api.native.support import SDP, WHIP_OFFER
from tests.support.server import running


async def test_ice_servers_come_one_a_link_header() -> None:
    urls = ["stun:a.example", "turn:b.example"]
    servers = [{"urls": urls, "username": "u", "credential": "secret"}]
    async with ClientSession() as http:
        async with running() as server:
            url = f"{server.url}/whip/cam"
            async with http.post(url, data=WHIP_OFFER, headers=SDP) as response:
                assert "Link" not in response.headers
        async with running(ice_servers=servers) as server:
            url = f"{server.url}/whip/cam"
            async with http.post(url, data=WHIP_OFFER, headers=SDP) as response:
                links = response.headers.getall("Link")
    assert links == [
        f'<{url}>; rel="ice-server"; username="u"; credential="secret"; '
        'credential-type="password"'
        for url in urls
    ]


def test_what_is_quoted_in_a_link_header_is_escaped() -> None:
    server = IceServer.model_validate(
        {"urls": ["turn:b.example"], "username": 'u"', "credential": "p\\w"}
    )
    (link,) = ice_links([server])
    assert link == (
        '<turn:b.example>; rel="ice-server"; username="u\\""; credential="p\\\\w"; '
        'credential-type="password"'
    )


def test_an_extensions_link_has_its_parameters() -> None:
    assert extension_link("/a", "urn:x", events="b,c") == (
        '</a>; rel="urn:x"; events="b,c"'
    )
