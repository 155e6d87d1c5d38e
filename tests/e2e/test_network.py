"""What waits for the network is tried when the network has changed."""

from __future__ import annotations

import asyncio
import functools
from urllib.parse import urlsplit

import pytest

from live777py.aio.backoff import Backoff
from live777py.core import rounds
from live777py.protocol.codecs import Format
from tests.support import media
from tests.support.namespace import in_a_namespace, ip
from tests.support.node import PICTURE, SSRC, node, publisher, until, viewer

pytestmark = pytest.mark.timeout(180)

HERE = "192.0.2.1"
HOUR = 3600.0


@in_a_namespace
async def test_a_pull_that_waits_connects_when_an_address_comes() -> None:
    await ip("link", "set", "lo", "up")
    with pytest.MonkeyPatch.context() as patch:
        # Nothing but a change of the network brings the next attempt.
        patch.setattr(rounds, "Backoff", functools.partial(Backoff, HOUR, HOUR))
        async with node(http={"listen": "0.0.0.0:0"}) as origin:
            url = f"http://{HERE}:{urlsplit(origin.url).port}/whep/cam"
            async with (
                publisher(origin.url) as client,
                node(stream={"cam": {"sources": [url]}}) as puller,
                viewer(puller.url) as watching,
            ):

                async def waits() -> bool:
                    [found] = await puller.get("/api/cascade/cam")
                    return bool(found["state"] == "waiting")

                await until(waits)
                await ip("address", "add", f"{HERE}/24", "dev", "lo")
                stream = media.RtpStream(96, SSRC, Format.VP8)
                async with asyncio.timeout(30):
                    while not watching.rtp_of("video"):
                        await client.send_rtp(*stream.packets(PICTURE, 90_000))
                        await asyncio.sleep(0.05)
