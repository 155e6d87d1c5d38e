"""Header extensions of media cross pulls and pushes, under each hop's own ids."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest

from live777py.protocol.codecs import Format
from live777py.protocol.extensions import URIS, Extension
from tests.support import media
from tests.support.node import PICTURE, SSRC, Node, node, until
from tests.support.offers import VP8, OfferedMedia, audio, video
from tests.support.rtp_client import RtpClient

pytestmark = pytest.mark.timeout(60)

URI = {extension: uri for uri, extension in URIS.items()}

#: What a publisher says of its picture: turned by 90 degrees, to be played within 0 to 100 ms,
#: BT.709 with HDR metadata (too long for the one-byte form), the layers of a frame.
OF_PICTURES = {
    Extension.VIDEO_ORIENTATION: b"\x01",
    Extension.PLAYOUT_DELAY: b"\x00\x00\x0a",
    Extension.COLOR_SPACE: bytes(range(28)),
    Extension.DEPENDENCY_DESCRIPTOR: b"\xc0\x12\x34",
}
#: Voice, 42 dB below the loudest.
OF_SOUND = {Extension.AUDIO_LEVEL: b"\xaa"}

#: Ids of the publisher and of the viewer. Nodes use others between them: the extensions' own.
PUBLISHED = {e: 14 - n for n, e in enumerate((*OF_PICTURES, *OF_SOUND))}
WATCHED = {e: 9 - n for n, e in enumerate((*OF_PICTURES, *OF_SOUND))}

assert all(len({PUBLISHED[e], e, WATCHED[e]}) == 3 for e in PUBLISHED)

SOUND_SSRC = 77


def offered(
    ids: dict[Extension, int], ssrcs: tuple[int | None, int | None]
) -> tuple[OfferedMedia, ...]:
    """The sections of a client that knows all extensions."""
    picture, sound = video(VP8, ssrc=ssrcs[0]), audio(ssrc=ssrcs[1])
    picture.extensions.update({ids[e]: URI[e] for e in OF_PICTURES})
    sound.extensions.update({ids[e]: URI[e] for e in OF_SOUND})
    return picture, sound


def publisher(url: str) -> RtpClient:
    return RtpClient.publisher(
        f"{url}/whip/cam", *offered(PUBLISHED, (SSRC, SOUND_SSRC))
    )


def viewer(at: Node, stream: str) -> RtpClient:
    return RtpClient.viewer(f"{at.url}/whep/{stream}", *offered(WATCHED, (None, None)))


async def cascaded(stack: AsyncExitStack, way: str) -> tuple[Node, Node, str]:
    """Two nodes; where to publish, where to watch, and which stream."""
    first = await stack.enter_async_context(node())
    last = await stack.enter_async_context(node())
    if way == "pull":
        location = await last.begin("cam", sourceUrl=f"{first.url}/whep/cam")
        await last.connected(location)
        return first, last, "cam"
    return first, last, "far"


@pytest.mark.parametrize("way", ["pull", "push"])
async def test_they_arrive_byte_for_byte_with_the_ids_of_the_viewer(way: str) -> None:
    async with AsyncExitStack() as stack:
        first, last, stream = await cascaded(stack, way)
        client = await stack.enter_async_context(publisher(first.url))
        await first.server.until_published("cam")
        if way == "push":
            location = await first.begin("cam", targetUrl=f"{last.url}/whip/far")
            await first.connected(location)
            await last.server.until_published("far")
        watching = await stack.enter_async_context(viewer(last, stream))
        pictures = media.RtpStream(96, SSRC, Format.VP8)
        pictures.extensions = {PUBLISHED[e]: data for e, data in OF_PICTURES.items()}
        sounds = media.RtpStream(111, SOUND_SSRC)
        sounds.extensions = {PUBLISHED[e]: data for e, data in OF_SOUND.items()}

        async def have_come() -> bool:
            await client.send_rtp(*pictures.packets(PICTURE, 3000))
            await client.send_rtp(*sounds.packets(b"\xfc\xff\xfe", 960))
            return bool(watching.rtp_of("video") and watching.rtp_of("audio"))

        await until(have_come)
        for kind, sent in (("video", OF_PICTURES), ("audio", OF_SOUND)):
            expected = {WATCHED[e]: data for e, data in sent.items()}
            assert all(p.extensions == expected for p in watching.rtp_of(kind))


async def test_what_the_viewer_does_not_know_is_not_sent() -> None:
    async with AsyncExitStack() as stack:
        first, last, stream = await cascaded(stack, "pull")
        client = await stack.enter_async_context(publisher(first.url))
        wanted = video(VP8)
        wanted.extensions[3] = URI[Extension.PLAYOUT_DELAY]
        watching = await stack.enter_async_context(
            RtpClient.viewer(f"{last.url}/whep/{stream}", wanted)
        )
        pictures = media.RtpStream(96, SSRC, Format.VP8)
        pictures.extensions = {PUBLISHED[e]: data for e, data in OF_PICTURES.items()}

        async def has_come() -> bool:
            await client.send_rtp(*pictures.packets(PICTURE, 3000))
            return bool(watching.rtp_of("video"))

        await until(has_come)
        assert watching.rtp_of("video")[0].extensions == {
            3: OF_PICTURES[Extension.PLAYOUT_DELAY]
        }
