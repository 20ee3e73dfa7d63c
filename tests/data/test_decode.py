"""Every decoder returns exactly the requested frames, upright, or raises an error of one line."""

import os
import pickle
import re
import shutil
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.corpus import inspect_video
from tests.numbered import image_types, num_key_frames, read_number, write_video
from videoctx.data.annotations import ProbeResult
from videoctx.data.decoding.containers import VideoDecodeError
from videoctx.data.decoding.pyav_reader import PyAVReader
from videoctx.data.decoding.sparse_reader import SparseReader
from videoctx.data.decoding.video_reader import is_installed, open_video

SHARED = Path(__file__).parents[2].parent / "shared"

needs_decord = pytest.mark.skipif(not is_installed("decord"), reason="decord is not installed")
needs_torchcodec = pytest.mark.skipif(
    not is_installed("torchcodec"), reason="torchcodec is not installed, or no FFmpeg"
)
DECODERS = [
    pytest.param("decord", marks=needs_decord),
    pytest.param("torchcodec", marks=needs_torchcodec),
    "sparse",
    "pyav",
    "auto",
]


@pytest.fixture(
    scope="session",
    params=[
        pytest.param(("decord", "closed_gop_mp4"), marks=needs_decord),
        pytest.param(("torchcodec", "closed_gop_mp4"), marks=needs_torchcodec),
        ("sparse", "closed_gop_mp4"),
        ("pyav", "closed_gop_mp4"),
        ("auto", "closed_gop_mp4"),
        ("pyav", "b_frame_avi"),
        ("auto", "b_frame_avi"),
    ],
    ids="-".join,
)
def source(request):
    """A decoder and a video that it must read exactly."""
    decoder, video = request.param
    return decoder, request.getfixturevalue(video)


def first(reader):
    """The decoder's own reader, of one that moves on to the next decoder."""
    return getattr(reader, "reader", reader)


def read(video, decoder, indices):
    with open_video(str(video.path), decoder) as reader:
        return reader.read(np.asarray(indices))


def assert_shows(frames, video, indices):
    assert frames.shape == (len(indices), video.height, video.width, 3)
    assert frames.dtype == np.uint8
    assert [read_number(frame) for frame in frames] == list(indices)


def refusal(path, decoder):
    """The error that opening and reading `path` must raise."""
    with pytest.raises(VideoDecodeError) as caught, open_video(str(path), decoder) as reader:
        reader.read(np.arange(reader.num_frames))
    return caught.value


# ---------------------------------------------------------------- the asked frames


def test_the_videos_hold_what_makes_seeking_hard(closed_gop_mp4, b_frame_avi):
    for video in (closed_gop_mp4, b_frame_avi):
        assert image_types(video.path)["B"] > 30
        assert num_key_frames(video.path) == 3


@pytest.mark.parametrize(
    "indices",
    [[0], [31], [59], range(60), range(0, 60, 7), [23, 24], [1, 22, 25, 47, 49, 58]],
    ids=["first", "middle", "last", "all", "every 7th", "around a key frame", "some"],
)
def test_gives_the_asked_frames(source, indices):
    decoder, video = source
    assert_shows(read(video, decoder, indices), video, indices)


@settings(deadline=None, max_examples=25)
@given(indices=st.sets(st.integers(0, 59), min_size=1, max_size=20).map(sorted))
def test_gives_any_set_of_frames(source, indices):
    decoder, video = source
    assert_shows(read(video, decoder, indices), video, indices)


def test_knows_how_many_frames_and_how_fast(source):
    decoder, video = source
    with open_video(str(video.path), decoder) as reader:
        assert reader.num_frames == video.num_frames == 60
        assert reader.fps == pytest.approx(video.fps, rel=1e-9)


@pytest.mark.parametrize("decoder", DECODERS)
def test_knows_a_broadcast_rate(decoder, tmp_path):
    video = write_video(tmp_path / "ntsc.mp4", num_frames=30, fps=Fraction(30000, 1001))
    with open_video(str(video.path), decoder) as reader:
        assert reader.num_frames == 30
        assert reader.fps == pytest.approx(30000 / 1001, abs=1e-4)


# ---------------------------------------------------------------- upright


@pytest.fixture(scope="module", params=[90, 180, 270])
def turned_video(request, tmp_path_factory):
    """Stored lying or upside down, with a display matrix that puts it right."""
    path = tmp_path_factory.mktemp("turned") / "turned.mp4"
    return write_video(path, num_frames=20, width=96, height=128, rotation=request.param)


@pytest.mark.parametrize("decoder", DECODERS)
def test_turns_frames_upright(turned_video, decoder):
    assert_shows(read(turned_video, decoder, [0, 13]), turned_video, [0, 13])


# ---------------------------------------------------------------- which decoder `auto` takes


def test_auto_takes_the_sparse_decoder_where_it_is_exact(closed_gop_mp4):
    with open_video(str(closed_gop_mp4.path)) as reader:
        assert isinstance(first(reader), SparseReader)


@pytest.mark.parametrize("suffix", [".avi", ".AVI", ".mp4", ".mkv", ".webm"])
def test_auto_takes_pyav_where_decord_is_not_exact(b_frame_avi, suffix, tmp_path):
    path = shutil.copy(b_frame_avi.path, tmp_path / f"video{suffix}")
    with open_video(str(path)) as reader:
        assert isinstance(first(reader), PyAVReader)


def hide(monkeypatch, *libraries):
    """As if these were not installed."""
    for library in libraries:
        monkeypatch.setitem(sys.modules, library, None)
        monkeypatch.delitem(sys.modules, f"videoctx.data.decoding.{library}_reader", raising=False)
    is_installed.cache_clear()
    monkeypatch.setattr("videoctx.data.decoding.video_reader.is_installed", is_installed.__wrapped__)


@pytest.mark.parametrize(
    ("hidden", "reader_name"),
    [
        pytest.param(["decord"], "TorchcodecReader", marks=needs_torchcodec),
        (["decord", "torchcodec"], "PyAVReader"),
        pytest.param(["torchcodec"], "DecordReader", marks=needs_decord),
    ],
)
def test_auto_takes_what_is_installed(closed_gop_mp4, monkeypatch, hidden, reader_name):
    hide(monkeypatch, *hidden)
    probe_result = replace(inspect_video(str(closed_gop_mp4.path)), decoders=("decord", "torchcodec", "pyav"))
    with open_video(str(closed_gop_mp4.path), probe_result=probe_result) as reader:
        assert type(first(reader)).__name__ == reader_name
        assert_shows(reader.read(np.array([0, 37])), closed_gop_mp4, [0, 37])


@needs_decord
def test_a_decoder_is_imported_only_when_its_turn_comes(closed_gop_mp4, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "videoctx.data.decoding.video_reader.is_installed", lambda decoder: asked.append(decoder) or decoder == "decord"
    )
    with open_video(str(closed_gop_mp4.path)) as reader:
        reader.read(np.array([0]))
    assert set(asked) == {"sparse", "decord"}  # torchcodec's turn would be next


@pytest.mark.parametrize("library", ["decord", "torchcodec"])
def test_a_decoder_that_is_not_installed_cannot_be_forced(closed_gop_mp4, monkeypatch, library):
    hide(monkeypatch, library)
    with (
        pytest.raises(ImportError, match=f"'{library}'.* not installed.*expected one of auto"),
        open_video(str(closed_gop_mp4.path), library),
    ):
        pass


@needs_torchcodec
def test_torchcodec_without_ffmpeg_counts_as_not_installed(monkeypatch):
    import torchcodec

    monkeypatch.setattr(torchcodec, "ffmpeg_major_version", None)
    monkeypatch.delitem(sys.modules, "videoctx.data.decoding.torchcodec_reader", raising=False)
    assert not is_installed.__wrapped__("torchcodec")


def test_a_name_that_is_not_utf8_is_read(closed_gop_mp4, tmp_path):
    path = os.fsdecode(bytes(tmp_path) + b"/na\xffme.mp4")
    shutil.copy(closed_gop_mp4.path, path)
    with open_video(path) as reader:
        assert_shows(reader.read(np.array([0, 37])), closed_gop_mp4, [0, 37])
    for decoder in filter(is_installed, ("decord", "torchcodec")):
        assert "not UTF-8" in refusal(path, decoder).reason


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("name", ["a:b.mp4", "http:x.mp4", "50% größer #1?.mp4", "%03d.mp4"])
def test_names_mean_files_only(closed_gop_mp4, tmp_path, monkeypatch, decoder, name):
    shutil.copy(closed_gop_mp4.path, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    for path in (name, str(tmp_path / name)):
        with open_video(path, decoder) as reader:
            assert_shows(reader.read(np.array([37])), closed_gop_mp4, [37])


# ---------------------------------------------------------------- with a probe result


@pytest.mark.parametrize("decoder", DECODERS)
def test_a_probe_result_is_believed_and_not_looked_for_again(decoder, tmp_path, monkeypatch):
    video = write_video(tmp_path / "video.mp4", num_frames=30)
    probe_result = inspect_video(str(video.path))
    assert probe_result == ProbeResult(
        video.path.stat().st_size, ("sparse", "decord", "torchcodec", "pyav"), 30, 30.0, video_stream=0
    )
    monkeypatch.setattr(
        "videoctx.data.decoding.video_reader.open_whole", lambda path: pytest.fail(f"{path} was looked into again")
    )
    with open_video(str(video.path), decoder, replace(probe_result, num_frames=29, fps=24.5)) as reader:
        assert (reader.num_frames, reader.fps) == (29, 24.5)
        assert_shows(reader.read(np.array([0, 28])), video, [0, 28])


@pytest.mark.parametrize("decoder", DECODERS)
def test_fewer_frames_than_the_probe_result_are_an_error(decoder, closed_gop_mp4):
    probe_result = replace(inspect_video(str(closed_gop_mp4.path)), num_frames=61)
    with (
        pytest.raises(VideoDecodeError, match=r"60|frame 60"),
        open_video(str(closed_gop_mp4.path), decoder, probe_result) as reader,
    ):
        reader.read(np.array([60]))


def test_another_size_than_the_probe_result_is_an_error(closed_gop_mp4):
    probe_result = replace(inspect_video(str(closed_gop_mp4.path)), size_bytes=7)
    with (
        pytest.raises(VideoDecodeError, match=r"but 7 in the manifest: .*run inspect_videos again"),
        open_video(str(closed_gop_mp4.path), probe_result=probe_result),
    ):
        pass


def test_a_probe_results_problem_is_told_at_once(tmp_path):
    probe_result = ProbeResult(1, (), 0, 0.0, problem="frame 3 is damaged")
    with (
        pytest.raises(VideoDecodeError, match="frame 3 is damaged"),
        open_video(str(tmp_path / "not looked for.mp4"), probe_result=probe_result),
    ):
        pass


def test_a_probe_result_chooses_the_decoder(closed_gop_mp4):
    probe_result = inspect_video(str(closed_gop_mp4.path))
    with open_video(str(closed_gop_mp4.path), probe_result=replace(probe_result, decoders=("pyav",))) as reader:
        assert isinstance(first(reader), PyAVReader)
    with (
        pytest.raises(VideoDecodeError, match=r"none of the decoders .* is installed: opencv"),
        open_video(str(closed_gop_mp4.path), probe_result=replace(probe_result, decoders=("opencv",))),
    ):
        pass


# ---------------------------------------------------------------- PyAV's count


def test_pyav_counts_the_frames_once_until_the_file_changes(tmp_path, monkeypatch):
    opened = []
    av_open = av.open
    monkeypatch.setattr(
        av, "open", lambda path, *args, **options: opened.append(path) or av_open(path, *args, **options)
    )

    def count():
        opened.clear()
        with open_video(path, "pyav") as reader:
            return reader.num_frames, len(opened)

    # MPEG-TS numbers no frames: they must be counted
    path = str(write_video(tmp_path / "video.ts", num_frames=10).path)
    num_frames, num_opened = count()
    assert num_frames == 10
    assert num_opened > 0
    assert count() == (10, 0)
    write_video(tmp_path / "video.ts", num_frames=13)
    assert count()[0] == 13


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize(
    "what",
    [
        "missing",
        "directory",
        "empty",
        "zeros",
        "text",
        "truncated",
        "truncated AVI",
        "cut short",
        "audio only",
    ],
)
def test_a_broken_file_is_named_in_one_line(broken_files, what, decoder):
    if (what, decoder) == ("truncated AVI", "decord"):
        pytest.skip("decord conceals the damage; `auto` never takes it for AVI")
    error = refusal(broken_files[what], decoder)
    assert error.path == str(broken_files[what])
    assert error.reason.strip()
    assert str(error) == f"{error.path}: {error.reason}"
    assert "\n" not in str(error)
    assert not re.search(r"\d\d:\d\d:\d\d", error.reason)  # no time of day: the same fault is told in the same words


@pytest.mark.parametrize(
    ("what", "reason"),
    [("missing", "No such file"), ("directory", "not a file"), ("empty", "empty"), ("audio only", "no video stream")],
)
def test_the_reason_is_the_real_one(broken_files, what, reason):
    assert reason in refusal(broken_files[what], "pyav").reason


def test_the_error_survives_a_pickle(broken_files):
    error = refusal(broken_files["empty"], "auto")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is VideoDecodeError
    assert (copy.path, copy.reason, str(copy)) == (error.path, error.reason, str(error))


# ---------------------------------------------------------------- footage as it comes

REAL = {
    "ut-interaction": ["set1/0_1_4.avi", "set1/55_10_4.avi", "set2/46_18_5.avi"],
    "kinetics400-sample": [
        "bungee_jumping/dAeUFSdYG1I_000010_000020.mp4",
        "bungee_jumping/zkXOcxGnUhs_000025_000035.mp4",
    ],
}


@pytest.mark.parametrize("name", [f"{dataset}/{name}" for dataset, names in REAL.items() for name in names])
def test_real_footage_equals_a_decode_from_the_first_frame_on(name):
    path = SHARED / "data" / name
    if not path.is_file():
        pytest.skip(f"the real footage is not here: {path}")
    with open_video(str(path)) as reader:
        num_frames = reader.num_frames
        indices = np.unique(np.append(np.random.default_rng(0).integers(num_frames, size=12), num_frames - 1))
        frames = reader.read(indices)
    wanted = {}
    with av.open(str(path)) as container:
        for index, frame in enumerate(container.decode(video=0)):
            if index in indices:
                wanted[index] = frame.to_ndarray(format="rgb24")
    assert num_frames == index + 1
    for index, frame in zip(indices, frames, strict=True):
        # color conversion may differ a little; one frame is mostly more than 1 away from the next
        assert np.abs(frame.astype(int) - wanted[index]).mean() < 0.5
