"""Chromium behind a network that loses 5 % of its packets: what is lost is sent again."""

from __future__ import annotations

import math

import pytest

from tests.e2e.losses import AT_RANDOM, IN_BURSTS, End, Run, compare
from tests.support.link import Conditions
from tests.support.server import running

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(180),
]

#: Frames over which streams are compared: twenty seconds.
FRAMES = 300


async def compared(end: End, codec: str, how: Conditions) -> tuple[Run, Run]:
    """The clear stream's run and the impaired one's, at a server of our own."""
    async with running() as server:
        return await compare(server.url, end, codec, how, FRAMES)


def allowed(freezes: int) -> int:
    """How many freezes are no more than those that a clear path had meanwhile.

    None where it had none. A busy machine makes some at both, and as many only on average.
    """
    return freezes + round(2 * math.sqrt(freezes))


@pytest.mark.parametrize("codec", ["VP8", "H264"])
@pytest.mark.parametrize("end", ["viewer", "publisher"])
async def test_random_loss_makes_no_freezes(end: End, codec: str) -> None:
    clear, impaired = await compared(end, codec, AT_RANDOM)
    assert clear.lost == 0 < impaired.lost
    assert impaired.received >= 0.9 * impaired.encoded, (clear, impaired)
    assert impaired.freezes <= allowed(clear.freezes), (clear, impaired)


@pytest.mark.parametrize("end", ["viewer", "publisher"])
async def test_what_bursts_take_is_sent_again(
    end: End,
) -> None:
    # A frame is a packet here: a burst may last long enough to be seen.
    _, impaired = await compared(end, "VP8", IN_BURSTS)
    assert impaired.lost > 0
    assert impaired.received >= 0.9 * impaired.encoded, impaired
