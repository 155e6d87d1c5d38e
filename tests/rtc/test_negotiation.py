"""Real offers and the answers they get; `tests/data/offers/README.md` says more."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Mapping

import pytest
from aiortc.sdp import SessionDescription
from hypothesis import given, settings
from hypothesis import strategies as st

from live777py.errors import Invalid
from live777py.protocol.codecs import Codec, Kind
from live777py.protocol.sdp import parse
from live777py.rtc import negotiation
from live777py.rtc.negotiation import answer_publisher, answer_viewer
from tests.rtc.offers import DATA, LOCAL, SENDERS, h264, opus, read

Source = Mapping[Kind, Codec] | None

HIGH: Source = {"video": h264("640028"), "audio": opus(stereo="1")}
BASELINE: Source = {"video": h264("42e01f"), "audio": opus(stereo="1")}
VP8: Source = {"video": Codec("video", "VP8", 90000), "audio": opus(minptime="10")}

#: The viewers among the offers, and what is published when they come.
VIEWERS: dict[str, Source] = {
    "aiortc-1.16-play": BASELINE,
    "chromium-156-whep-gathered": HIGH,
    "chromium-156-whep-initial": VP8,
    "chromium-156-whep-maxbundle-gathered": {"audio": opus()},
    "chromium-156-whep-maxbundle-initial": None,
    "eyevinn-player-audio-only": HIGH,
    "firefox-play": BASELINE,
    "gstreamer-whepclientsrc": HIGH,
    "safari-play": HIGH,
}

OFFERS = sorted(
    path.stem for path in DATA.glob("*.sdp") if not path.stem.endswith(".answer")
)

PUBLISHERS = [name for name in OFFERS if name not in VIEWERS]


def answer(name: str, text: str) -> str:
    if name in VIEWERS:
        return answer_viewer(
            text, LOCAL, VIEWERS[name], SENDERS, stream_id="stream", cname="cname"
        ).sdp
    return answer_publisher(text, LOCAL).sdp


def expected(name: str) -> str:
    return read(f"{name}.answer")


def test_every_viewer_has_an_offer() -> None:
    assert set(VIEWERS) < set(OFFERS)


@pytest.mark.parametrize("name", OFFERS)
def test_a_real_offer_gets_the_expected_answer(name: str) -> None:
    assert answer(name, read(name)) == expected(name)


@pytest.mark.parametrize("name", OFFERS)
def test_line_ends_make_no_difference(name: str) -> None:
    assert answer(name, read(name).replace("\r\n", "\n")) == expected(name)


@pytest.mark.parametrize("name", OFFERS)
def test_an_answer_keeps_to_its_offer(name: str) -> None:
    offered, answered = parse(read(name)), parse(expected(name))

    assert [m.kind for m in answered.media] == [m.kind for m in offered.media]
    assert [m.mid for m in answered.media] == [m.mid for m in offered.media]
    for ours, theirs in zip(answered.media, offered.media, strict=True):
        assert set(ours.formats) <= set(theirs.formats)
        assert ours.protocol == theirs.protocol
        assert ours.port == 7777
        feedback = {" ".join(v.split()) for v in theirs.all("rtcp-fb")}
        assert set(ours.all("rtcp-fb")) <= feedback
        assert ours.has("rtcp-rsize") == theirs.has("rtcp-rsize")
        described = {v.split()[0] for v in ours.all("rtpmap")}
        assert described == set(ours.formats)


@pytest.mark.parametrize("name", OFFERS)
def test_an_answer_is_small_enough_for_ffmpeg_and_its_host_candidate_comes_first(
    name: str,
) -> None:
    text = expected(name)

    assert len(text) <= 8192
    assert text.index("a=candidate:1 1 udp 2130706431 198.51.100.7 7777 typ host")
    assert text.count("a=candidate:") == 2


@pytest.mark.parametrize("name", OFFERS)
def test_aiortc_understands_the_answer(name: str) -> None:
    description = SessionDescription.parse(expected(name))

    assert description.group[0].semantic == "BUNDLE"
    for media in description.media:
        assert media.ice is not None
        assert media.ice.iceLite
        assert media.ice.usernameFragment == LOCAL.ufrag
        assert media.dtls is not None
        assert media.dtls.role in ("client", "server")
        assert media.rtcp_mux


@pytest.mark.parametrize("name", OFFERS)
def test_a_real_offer_reads_back_as_it_was_written(name: str) -> None:
    description = parse(read(name))

    assert parse(str(description)) == description


@pytest.mark.parametrize("name", PUBLISHERS)
def test_a_publisher_is_no_viewer(name: str) -> None:
    if "aiortc" in name:
        return  # it offers sendrecv, which may be either
    with pytest.raises(Invalid):
        answer_viewer(read(name), LOCAL, None, SENDERS, stream_id="s", cname="c")


@pytest.mark.parametrize("name", VIEWERS)
def test_a_viewer_is_no_publisher(name: str) -> None:
    with pytest.raises(Invalid):
        answer_publisher(read(name), LOCAL)


def test_everything_that_peers_use_is_offered_here() -> None:
    assert all(hasattr(negotiation, name) for name in negotiation.__all__)
    assert negotiation.matches(h264("42e01f"), h264("42e034"))


def mutate(text: str, seed: int) -> str:
    """Drop, repeat, exchange or garble some lines of an offer."""
    dice = random.Random(seed)
    lines = text.split("\r\n")
    for _ in range(dice.randint(1, 8)):
        at = dice.randrange(len(lines))
        match dice.randrange(5):
            case 0 if len(lines) > 1:
                del lines[at]
            case 1:
                lines.insert(dice.randrange(len(lines)), lines[at])
            case 2:
                other = dice.randrange(len(lines))
                lines[at], lines[other] = lines[other], lines[at]
            case 3:
                cut = dice.randint(0, len(lines[at]))
                junk = dice.choice(["", " ", ":", "/", "0", "-1", "9" * 30, "é", "\0"])
                lines[at] = (
                    lines[at][:cut] + junk + lines[at][cut + dice.randint(0, 3) :]
                )
            case _:
                lines[at] = lines[at][: dice.randint(0, len(lines[at]))]
    return "\r\n".join(lines)


@given(
    name=st.sampled_from(OFFERS),
    seed=st.integers(0, 2**32),
    source=st.sampled_from([None, HIGH, BASELINE, VP8, {}]),
)
@settings(max_examples=500, deadline=None)
def test_a_damaged_offer_is_answered_or_refused_in_words(
    name: str, seed: int, source: Source
) -> None:
    text = mutate(read(name), seed)
    with contextlib.suppress(Invalid):
        if name in VIEWERS:
            sdp = answer_viewer(
                text, LOCAL, source, SENDERS, stream_id="s", cname="c"
            ).sdp
        else:
            sdp = answer_publisher(text, LOCAL).sdp
        assert len(parse(sdp).media) == len(parse(text).media)


def regenerate() -> None:
    """Write all expected answers anew."""
    for name in OFFERS:
        path = DATA / f"{name}.answer.sdp"
        path.write_bytes(answer(name, read(name)).encode())


if __name__ == "__main__":
    regenerate()
