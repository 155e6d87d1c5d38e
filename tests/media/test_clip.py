from __future__ import annotations

import fractions
from pathlib import Path

import av
import numpy as np
import pytest

from live777py.media import clip
from live777py.protocol.codecs import Format
from live777py.protocol.packetize import annex_b_units
from tests.support import media


def write(path: Path, video: str, audio: str | None = None, **options: str) -> Path:
    """A second of a moving picture, and as much of a tone."""
    with av.open(str(path), "w") as container:
        sound: av.AudioStream | None = None
        if audio is not None:
            # A header is written with the first packet: all streams come before.
            added = container.add_stream(audio, rate=48000)
            assert isinstance(added, av.AudioStream)
            sound = added
            sound.layout = "stereo"
        stream = container.add_stream(video, rate=30, options=options)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        stream.time_base = fractions.Fraction(1, 30)
        for index in range(30):
            frame = media.picture(320, 240, index).reformat(format="yuv420p")
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if sound is not None:
            silence = np.zeros((1, 2 * 960), np.int16)
            for index in range(50):
                samples = av.AudioFrame.from_ndarray(silence, "s16", "stereo")
                samples.sample_rate, samples.pts = 48000, 960 * index
                container.mux(sound.encode(samples))
            container.mux(sound.encode(None))
    return path


def test_the_synthetic_stream_is_real_video_of_its_bit_rate() -> None:
    made = clip.synthetic()
    (track,) = made.tracks
    assert 0.9 < made.bit_rate / clip.SYNTHETIC_BIT_RATE < 1.1
    assert len(track.samples) == 120
    assert [i for i, s in enumerate(track.samples) if s.is_key] == [0, 60]
    decoder = av.CodecContext.create("h264", "r")
    assert isinstance(decoder, av.VideoCodecContext)
    frames = [f for s in track.samples for f in decoder.decode(av.Packet(s.data))]
    frames += decoder.decode(None)
    assert len(frames) == 120
    assert (frames[0].width, frames[0].height) == (1280, 720)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_h264_is_read_out_of_any_container_with_its_parameter_sets(
    tmp_path: Path, suffix: str
) -> None:
    path = write(tmp_path / f"a.{suffix}", "libx264", bf="0", g="10")
    read = clip.read(path)
    track = read.track("video")
    assert track is not None
    assert track.codec.format is Format.H264
    assert track.codec.parameter("profile-level-id") is not None
    keys = [s for s in track.samples if s.is_key]
    assert len(keys) == 3
    for sample in keys:
        kinds = [unit[0] & 0x1F for unit in annex_b_units(sample.data)]
        assert {7, 8, 5} <= set(kinds)
    assert read.duration == pytest.approx(1.0, abs=0.05)
    assert read.track("audio") is None


def test_vp8_and_opus_are_read_together(tmp_path: Path) -> None:
    read = clip.read(write(tmp_path / "a.webm", "libvpx", "libopus"))
    video, audio = read.track("video"), read.track("audio")
    assert video is not None
    assert audio is not None
    assert (video.codec.name, len(video.samples)) == ("VP8", 30)
    assert (audio.codec.name, audio.codec.channels) == ("opus", 2)
    assert 49 <= len(audio.samples) <= 52


def test_a_file_with_b_frames_is_refused_with_a_cure(tmp_path: Path) -> None:
    path = write(tmp_path / "b.mp4", "libx264", bf="2")
    with pytest.raises(clip.UnusableMedia, match="-bf 0"):
        clip.read(path)


def test_other_codecs_are_refused_by_name(tmp_path: Path) -> None:
    path = write(tmp_path / "m.mkv", "mpeg4")
    with pytest.raises(clip.UnusableMedia, match="mpeg4"):
        clip.read(path)


@pytest.mark.parametrize("content", [b"", b"this is no video" * 100])
def test_what_is_no_media_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.mp4"
    path.write_bytes(content)
    with pytest.raises(clip.UnusableMedia, match=r"x\.mp4"):
        clip.read(path)


def test_a_file_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(clip.UnusableMedia):
        clip.read(tmp_path / "none.mp4")
