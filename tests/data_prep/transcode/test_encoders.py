"""The encoded files: exactly the requested frames, in a form that every decoder reads quickly."""

from fractions import Fraction
from functools import partial
from importlib.util import find_spec

import av
import numpy as np
import pytest

from data_prep.transcode.encoders import GOP_LENGTH, Encoding, check_result, encode_with_ffmpeg, encode_with_pyav
from data_prep.transcode.segment import plan_segment
from tests.corpus import expect, make, read_faint_number, shared_folder
from tests.data_prep.transcode.read_back import SMALL, images, needs_ffmpeg, numbers
from tests.numbered import CLOSED_GOP, read_number, write_video
from videoctx.data.decoding.containers import probe
from videoctx.data.decoding.pyav_versions import as_fraction
from videoctx.data.decoding.video_reader import open_video

ENCODERS = [
    pytest.param(encode_with_pyav, id="pyav"),
    pytest.param(encode_with_ffmpeg, id="ffmpeg", marks=needs_ffmpeg),
]
AS_IT_IS = Encoding(short_side_px=1080, fps=None, crf=18, preset="ultrafast")


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    return partial(make, folder=shared_folder(tmp_path_factory))


def encode(source, target, *, encoder, encoding=SMALL, start=None, end=None):
    """Transcode one file, checked; the segment."""
    segment = plan_segment(
        str(source),
        short_side_px=encoding.short_side_px,
        fps=encoding.fps,
        start_seconds=start,
        end_seconds=end,
    )
    check_result(target, segment, encoder(segment, encoding, target, comment="{}"))
    return segment


def assert_plain(path, *, fps):
    """Every decoder numbers the frames alike, and finds one quickly."""
    content = probe(str(path))
    assert content.codec == "h264"
    assert content.num_discarded == 0
    assert not content.open_gop
    assert not content.has_b_frames
    assert not content.variable_frame_rate
    assert set(content.gop_lengths[:-1]) <= {GOP_LENGTH}
    assert content.gop_lengths[-1] <= GOP_LENGTH
    assert content.fps == pytest.approx(float(fps), rel=1e-6)
    assert b"elst" not in path.read_bytes()  # no edit list
    with av.open(str(path)) as container:
        assert not container.streams.audio
        frame = next(container.decode(video=0))
        assert frame.rotation == 0
        assert frame.format.name == "yuv420p"


# --- exactness -------------------------------------------------------------------------------------------------------

# start, end, and the frames k of 30 a second with start <= k / 30 < end
SEGMENTS = [
    (None, None, range(60)),
    (0.5, 1.1, range(15, 33)),
    (0.51, 1.11, range(16, 34)),
    (1.0, None, range(30, 60)),
    (None, 0.04, range(2)),
    (1.5, 99.0, range(45, 60)),
]


@pytest.mark.parametrize("encoder", ENCODERS)
def test_segment_has_exactly_its_frames(closed_gop_mp4, tmp_path, encoder):
    for start, end, expected in SEGMENTS:
        encode(closed_gop_mp4.path, tmp_path / "a.mp4", encoder=encoder, start=start, end=end)
        assert numbers(tmp_path / "a.mp4") == list(expected), (start, end)
        assert_plain(tmp_path / "a.mp4", fps=30)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_every_decoder_returns_the_requested_frames(b_frame_avi, tmp_path, encoder):
    encode(b_frame_avi.path, tmp_path / "a.mp4", encoder=encoder, encoding=AS_IT_IS)
    assert probe(str(tmp_path / "a.mp4")).decoders == ("sparse", "decord", "torchcodec", "pyav")
    indices = np.array([0, 1, 15, 16, 17, 31, 33, 47, 59])
    for decoder in ("sparse", "decord", "torchcodec", "pyav"):
        if find_spec({"pyav": "av", "sparse": "av"}.get(decoder, decoder)) is None:
            continue
        with open_video(str(tmp_path / "a.mp4"), decoder) as reader:
            assert reader.num_frames == 60, decoder
            assert [read_number(image) for image in reader.read(indices)] == indices.tolist(), decoder


@pytest.mark.parametrize("encoder", ENCODERS)
def test_b_frames_in_avi(b_frame_avi, tmp_path, encoder):
    encode(b_frame_avi.path, tmp_path / "a.mp4", encoder=encoder, start=0.4, end=1.2)
    assert numbers(tmp_path / "a.mp4") == list(range(10, 30))
    assert_plain(tmp_path / "a.mp4", fps=25)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_rotation_is_applied(tmp_path, encoder):
    for rotation in (90, 180, 270):
        write_video(tmp_path / "turned.mp4", num_frames=20, width=96, height=128, rotation=rotation)
        encode(tmp_path / "turned.mp4", tmp_path / "a.mp4", encoder=encoder, start=0.2, end=0.5)
        assert numbers(tmp_path / "a.mp4") == list(range(6, 15)), rotation
        assert images(tmp_path / "a.mp4").shape[1:] == (86, 64, 3)
        assert_plain(tmp_path / "a.mp4", fps=30)


@needs_ffmpeg
@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize(
    "name",
    [
        *("cut.mp4", "late.mp4", "mirrored_and_turned.mp4", "h264_open.mp4", "h264_closed.ts", "h264_closed.avi"),
        *("h264_10bit.mp4", "hevc_default.mp4", "vp8.webm", "mpeg4_b_frames.avi", "mpeg2.ts", "one.mp4"),
    ],
)
def test_frames_are_the_same_for_every_container_and_codec(corpus, tmp_path, encoder, name):
    source = corpus(name)
    shown = [read_faint_number(image) for image in expect(source)]
    encode(source, tmp_path / "all.mp4", encoder=encoder, encoding=AS_IT_IS)
    assert numbers(tmp_path / "all.mp4", read_faint_number) == shown
    assert_plain(tmp_path / "all.mp4", fps=25)
    if len(shown) > 10:
        encode(source, tmp_path / "part.mp4", encoder=encoder, encoding=AS_IT_IS, start=0.2, end=0.5)
        assert numbers(tmp_path / "part.mp4", read_faint_number) == shown[5:13]


@needs_ffmpeg
@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("name", ["h264_uneven.mp4", "h264_uneven.mkv"])
def test_variable_frame_rate_becomes_constant(corpus, tmp_path, encoder, name):
    # Frame k is shown from (k + 3 · ⌊k / 7⌋) / 25 s on.
    shown_at = [k + 3 * (k // 7) for k in range(60)]
    by_time = [max(k for k in range(60) if shown_at[k] <= place) for place in range(shown_at[-1] + 1)]
    encoding = Encoding(short_side_px=1080, fps=25, crf=18, preset="ultrafast")
    encode(corpus(name), tmp_path / "all.mp4", encoder=encoder, encoding=encoding)
    assert numbers(tmp_path / "all.mp4", read_faint_number) == by_time
    encode(corpus(name), tmp_path / "part.mp4", encoder=encoder, encoding=encoding, start=0.32, end=1.6)
    assert numbers(tmp_path / "part.mp4", read_faint_number) == by_time[8:40]
    assert_plain(tmp_path / "part.mp4", fps=25)
    # By default the average rate is kept: as many frames as before, in the same time.
    segment = encode(corpus(name), tmp_path / "own.mp4", encoder=encoder, encoding=AS_IT_IS)
    assert segment.rate == pytest.approx(25 * 59 / shown_at[-1], rel=1e-3)
    found = numbers(tmp_path / "own.mp4", read_faint_number)
    assert len(found) == 60
    assert found == sorted(found)
    assert {0, 59} <= set(found)
    assert_plain(tmp_path / "own.mp4", fps=segment.rate)


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize(("fps", "expected"), [(15, list(range(0, 60, 2))), (60, [k // 2 for k in range(119)])])
def test_another_frame_rate(closed_gop_mp4, tmp_path, encoder, fps, expected):
    encoding = Encoding(short_side_px=64, fps=fps, crf=18, preset="ultrafast")
    encode(closed_gop_mp4.path, tmp_path / "a.mp4", encoder=encoder, encoding=encoding)
    assert numbers(tmp_path / "a.mp4") == expected
    assert_plain(tmp_path / "a.mp4", fps=fps)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_late_segment_is_found_by_seeking(tmp_path, encoder):
    write_video(tmp_path / "long.mp4", num_frames=250, fps=Fraction(25), options={**CLOSED_GOP, "g": "60"})
    segment = encode(tmp_path / "long.mp4", tmp_path / "a.mp4", encoder=encoder, start=8.0, end=9.2)
    assert segment.seek_seconds == 6.0
    assert numbers(tmp_path / "a.mp4") == list(range(200, 230))


# --- images --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("width", "height", "short_side_px", "expected"),
    [
        (340, 256, 128, (170, 128)),
        (256, 340, 128, (128, 170)),
        (113, 81, 256, (112, 80)),  # never larger, cut to even sides
        (160, 120, 120, (160, 120)),
    ],
)
def test_size_of_the_result(tmp_path, width, height, short_side_px, expected):
    source = tmp_path / "a.mkv"
    write_video(source, num_frames=2, width=width, height=height, pixel_format="yuv444p")
    segment = plan_segment(str(source), short_side_px=short_side_px, fps=None, start_seconds=None, end_seconds=None)
    assert (segment.width, segment.height) == expected


@pytest.mark.parametrize("encoder", ENCODERS)
def test_pixels_become_square(tmp_path, encoder):
    with av.open(str(tmp_path / "wide.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 96, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((96, 96, 3), np.uint8), format="rgb24")))
        container.mux(stream.encode())
    encode(tmp_path / "wide.mp4", tmp_path / "a.mp4", encoder=encoder, encoding=AS_IT_IS)
    with av.open(str(tmp_path / "a.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height) == (96, 72)
        assert as_fraction(stream.sample_aspect_ratio) in (0, 1)  # 0: it is not set


@needs_ffmpeg
@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("name", ["h264_bt709.mp4", "h264_full_range.mp4", "h264_closed.mp4"])
def test_colors_are_kept(corpus, tmp_path, encoder, name):
    encode(corpus(name), tmp_path / "a.mp4", encoder=encoder, encoding=AS_IT_IS)
    before, after = expect(corpus(name)).astype(float), expect(tmp_path / "a.mp4")
    assert np.abs(before - after).mean() < 4
    with av.open(str(corpus(name))) as source, av.open(str(tmp_path / "a.mp4")) as result:
        assert source.streams.video[0].codec_context.colorspace == result.streams.video[0].codec_context.colorspace
