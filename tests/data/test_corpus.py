"""Every kind of file ends exact, or refused with a reason: none hangs, none is off by one, whichever decoder reads it.

FFmpeg's command line makes the files and lists their content.
"""

import faulthandler
import os
import shutil
import subprocess
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import av
import numpy as np
import pytest

from tests import corpus
from tests.corpus import inspect_video
from tests.each_case import each_case
from videoctx.data.decoding import containers
from videoctx.data.decoding.containers import VideoDecodeError, probe
from videoctx.data.decoding.exact_decoders import DECODERS
from videoctx.data.decoding.video_reader import is_installed, open_video

SHARED = Path(__file__).parents[2].parent / "shared"
SECONDS_TO_HANG = 60
MAX_MEAN_DIFFERENCE = 1.5  # of 255: FFmpegs round, and interpolate chroma, differently
REPOSITORY = Path(__file__).parents[2]

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="FFmpeg's command line is not installed")


@pytest.fixture(autouse=True)
def _not_for_ever(capfd):
    """A decoder that spins in native code cannot be interrupted: so the run ends and prints where it was."""
    with capfd.disabled():
        terminal = os.dup(2)
    faulthandler.dump_traceback_later(SECONDS_TO_HANG, exit=True, file=terminal)
    yield
    faulthandler.cancel_dump_traceback_later()
    os.close(terminal)


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return corpus.shared_folder(tmp_path_factory)


@cache
def expected(path: Path) -> np.ndarray:
    return corpus.expect(path)


def make(name, folder):
    try:
        return corpus.make(name, folder)
    except subprocess.CalledProcessError as error:
        if b"Unknown encoder" in error.stderr or b"Unrecognized option" in error.stderr:
            pytest.skip(f"this FFmpeg cannot write {name}: {error.stderr.decode().splitlines()[0]}")
        raise


def patterns(num_frames, key_frames):
    """What is asked for at once, as samplers ask: (what, sorted distinct indices)."""
    yield "all", np.arange(num_frames)
    yield "every 7th", np.arange(0, num_frames, 7)
    yield "last", np.array([num_frames - 1])
    for key in key_frames:
        for index in (key - 1, key, key + 1, key + 3):
            if 0 <= index < num_frames:
                yield f"frame {index}", np.array([index])
    for start in range(0, max(num_frames - 62, 1), 9):
        yield f"32 × 2 from {start}", np.arange(start, min(start + 63, num_frames), 2)
    for start in range(5, num_frames, 20):
        yield f"from {start}", np.arange(start, num_frames)


def assert_same(frames, wanted, what):
    assert frames.shape == wanted.shape, what
    for frame, image in zip(frames, wanted, strict=True):
        assert np.abs(frame.astype(np.int16) - image).mean() < MAX_MEAN_DIFFERENCE, what


@needs_ffmpeg
@pytest.mark.parametrize("name", corpus.DECODERS)
def test_every_decoder_of_the_probe_result_is_exact(name, folder):
    path = make(name, folder)
    wanted = expected(path)
    probe_result, container = inspect_video(str(path)), probe(str(path))
    assert probe_result.problem is None
    assert container.candidates == (*corpus.DECODERS[name], "pyav")
    assert (
        probe_result.decoders
        == container.decoders
        == (("sparse", "pyav") if name in corpus.UNSURE else container.candidates)
    )
    assert probe_result.num_frames == len(wanted)
    assert probe_result.fps == pytest.approx(25 if "uneven" not in name else container.fps)
    key_frames = np.cumsum([0, *container.gop_lengths[:4]])
    for decoder in filter(
        is_installed, container.decoders if name in corpus.INEXACT_WHEN_SEEKING else container.candidates
    ):
        for what, indices in patterns(probe_result.num_frames, key_frames):
            with open_video(str(path), decoder, probe_result) as reader:
                assert reader.num_frames == len(wanted)
                frames = reader.read(indices)
            assert_same(frames, wanted[indices], f"{decoder}: {what}")


NOT_IN_PLANES = {  # 10 bits, 4:4:4, odd sizes, display matrices
    *("h264_10bit.mp4", "hevc_10bit.mkv", "larger_second.mkv", *corpus.ODD_SIZES, *corpus.DISPLAY_MATRICES),
}
FULL_RANGE, BT709 = {"h264_full_range.mp4", "mjpeg.avi"}, {"h264_bt709.mp4"}


@needs_ffmpeg
@each_case("name", sorted(corpus.DECODERS.keys() - {corpus.HANGING}))
def test_planes_become_the_reader_s_rgb(name, folder):
    path = make(name, folder)
    for decoder in ("pyav", *(["sparse"] if "sparse" in probe(str(path)).decoders else [])):
        colors = corpus.planes_of(path, decoder)
        if name in NOT_IN_PLANES:
            assert colors is None
        else:
            assert colors is not None
            assert colors.full_range == (name in FULL_RANGE)
            assert (colors.matrix == 1) == (name in BT709)


@needs_ffmpeg
@each_case("name", sorted(name for name, decoders in corpus.DECODERS.items() if "sparse" in decoders))
def test_the_decoder_that_takes_over_an_open_file_returns_pyav_s_frames(name, folder):
    path = str(make(name, folder))
    with open_video(path, "pyav") as reader:
        wanted = reader.read(np.arange(reader.num_frames))
    for first in (0, 3):
        containers._known.clear()
        indices = np.arange(first, len(wanted), 7) if len(wanted) > first else np.arange(len(wanted))
        with open_video(path, "sparse") as reader:
            np.testing.assert_array_equal(reader.read(indices), wanted[indices], err_msg=name)


FIRST_NUMBER = {"cut.mp4": 38, "cut.mkv": 24, "cut.avi": 24, "cover.mp4": 24}


@needs_ffmpeg
@pytest.mark.parametrize("name", sorted(corpus.DECODERS.keys() - {corpus.HANGING}))
def test_ffmpeg_shows_the_numbers_in_turn(name, folder):
    """So that a frame that looks like FFmpeg's frame k is frame k: no other looks like it."""
    wanted = expected(make(name, folder))
    numbers = [corpus.read_faint_number(frame) for frame in wanted]
    if name == "xvid_b_frames.avi":
        numbers = numbers[:50]  # FFmpeg's Xvid loses some of the last
    assert numbers == list(range(FIRST_NUMBER.get(name, 0), FIRST_NUMBER.get(name, 0) + len(numbers)))
    steps = np.abs(np.diff(wanted.astype(np.int16), axis=0)).mean((1, 2, 3))
    assert (steps > 4 * MAX_MEAN_DIFFERENCE).all()


@needs_ffmpeg
@pytest.mark.parametrize("name", ["h264_closed.mp4", "cut.mp4", "h264_open.mp4", "mpeg4_b_frames.avi"])
def test_without_a_probe_result_the_container_is_looked_into(name, folder):
    path = make(name, folder)
    with open_video(str(path)) as reader:
        assert reader.num_frames == len(expected(path))
        frames = reader.read(np.arange(reader.num_frames))
    assert_same(frames, expected(path), name)


@needs_ffmpeg
@pytest.mark.parametrize("name", ["h264_uneven.mp4", "h264_uneven.mkv"])
def test_uneven_times_are_told(name, folder):
    container = probe(str(make(name, folder)))
    numbers = np.arange(corpus.NUM_FRAMES)
    assert container.variable_frame_rate
    np.testing.assert_allclose(container.frame_seconds, (numbers + 3 * (numbers // 7)) / corpus.FPS, atol=1e-3)
    assert container.fps == pytest.approx(corpus.NUM_FRAMES / container.duration_seconds)


@needs_ffmpeg
def test_packed_images_do_not_make_times_uneven(folder):
    container = probe(str(make("xvid_b_frames.avi", folder)))
    assert container.num_empty > 0
    assert container.has_b_frames
    assert not container.variable_frame_rate


@needs_ffmpeg
def test_times_are_told_from_the_first_frame_shown(folder):
    for name in ("cut.mp4", "late.mp4", "h264_closed.ts"):
        container = probe(str(make(name, folder)))
        np.testing.assert_allclose(
            container.frame_seconds, np.arange(len(container.frame_seconds)) / corpus.FPS, atol=1e-3
        )


@needs_ffmpeg
def test_color_range_and_orientation_are_told(folder):
    def facts(name):
        container = probe(str(make(name, folder)))
        return container.full_range, container.rotation, container.mirrored

    assert facts("h264_closed.mp4") == (False, 0, False)
    assert facts("h264_full_range.mp4") == (True, 0, False)
    assert [facts(f"turned_{degrees}.mp4")[1:] for degrees in (90, 180, 270)] == [
        (90, False),
        (180, False),
        (270, False),
    ]
    assert facts("mirrored.mp4")[2]
    assert facts("mirrored_and_turned.mp4")[2]


# ---------------------------------------------------------------- files that are not whole


@needs_ffmpeg
@pytest.mark.parametrize("name", ["h264_closed.mp4", "h264_closed.ts", "av1.mp4", "mpeg4.avi", "mpeg1.mpg"])
@pytest.mark.parametrize("seed", range(3))
def test_flipped_bits_end_in_a_reason_or_in_what_ffmpeg_shows(name, seed, folder, tmp_path):
    path = corpus.flip_bits(make(name, folder), tmp_path / name, seed=seed)
    probe_result = inspect_video(str(path))
    if probe_result.problem:
        with pytest.raises(VideoDecodeError) as caught, open_video(str(path), probe_result=probe_result):
            pass
        assert caught.value.reason == probe_result.problem
        return
    wanted = corpus.expect(path)
    assert probe_result.num_frames == len(wanted)
    for decoder in filter(is_installed, probe_result.decoders):
        for indices in (np.arange(len(wanted)), np.array([20, 30]), np.array([50])):
            with open_video(str(path), decoder, probe_result) as reader:
                assert_same(reader.read(indices), wanted[indices], decoder)


@needs_ffmpeg
def test_most_flipped_bits_are_seen(folder, tmp_path):
    path = make("h264_closed.mp4", folder)
    flipped = [corpus.flip_bits(path, tmp_path / f"{seed}.mp4", seed=seed) for seed in range(8)]
    assert all("damaged" in inspect_video(str(path)).problem for path in flipped)


@needs_ffmpeg
@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
@pytest.mark.parametrize(
    "name", ["h264_closed.mp4", "h264_fragmented.mp4", "h264_closed.mkv", "mpeg4.avi", "mpeg1.mpg"]
)
def test_a_truncated_file_ends_in_a_reason_or_in_what_ffmpeg_shows(name, share, folder, tmp_path):
    content = make(name, folder).read_bytes()
    path = tmp_path / name
    path.write_bytes(content[: int(len(content) * share)])
    probe_result = inspect_video(str(path))
    if probe_result.problem:
        return
    wanted = corpus.expect(path)
    assert probe_result.num_frames == len(wanted)
    for decoder in filter(is_installed, probe_result.decoders):
        with open_video(str(path), decoder, probe_result) as reader:
            assert_same(reader.read(np.arange(len(wanted))), wanted, decoder)


@needs_ffmpeg
def test_a_file_without_frames_is_refused(folder, tmp_path):
    empty = tmp_path / "none.mp4"
    source = str(make("h264_closed.mp4", folder))
    subprocess.run(["ffmpeg", "-v", "error", "-i", source, "-frames:v", "0", "-c", "copy", str(empty)], check=True)
    assert inspect_video(str(empty)).problem


@pytest.mark.parametrize("name", ["missing.mp4", "empty.mp4", "text.mp4"])
def test_what_is_no_video_is_a_problem_not_an_exception(name, tmp_path):
    if name != "missing.mp4":
        (tmp_path / name).write_text("no video\n" * 99 if name == "text.mp4" else "")
    probe_result = inspect_video(str(tmp_path / name))
    assert probe_result.problem
    assert probe_result.decoders == ()


# ---------------------------------------------------------------- the file on which decord never returns


@pytest.mark.skipif(find_spec("decord") is None, reason="decord is not installed")
def test_decord_hangs_on_the_hanging_video(tmp_path):
    path = corpus.write_hanging_video(tmp_path / "hanging.mp4")
    assert "edit list" in probe(str(path)).why_not["decord"]
    script = (
        "import sys; from videoctx.data.decoding.video_reader import open_video; import numpy as np\n"
        "with open_video(sys.argv[1], 'decord') as reader:\n"
        "    print(reader.num_frames, flush=True)\n"
        "    reader.read(np.arange(1000, 1064, 2))"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True, cwd=REPOSITORY, env=os.environ
    )
    try:
        assert child.stdout.readline() == "3000\n"
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(timeout=1)
    finally:
        child.kill()
        child.wait()


# ---------------------------------------------------------------- footage as it comes

REAL = {
    "ut-interaction": ["set1/0_1_4.avi", "set2/46_18_5.avi"],
    "kinetics400-sample": ["bungee_jumping/zkXOcxGnUhs_000025_000035.mp4"],
}


@pytest.mark.parametrize("name", [f"{dataset}/{name}" for dataset, names in REAL.items() for name in names])
def test_real_footage_is_the_same_in_every_decoder_that_claims_it(name):
    path = SHARED / "data" / name
    if not path.is_file():
        pytest.skip(f"the real footage is not here: {path}")
    probe_result = inspect_video(str(path))
    assert probe_result.problem is None
    last = probe_result.num_frames - 1
    indices = np.unique([0, 1, *np.random.default_rng(0).integers(last, size=8), last - 1, last])
    wanted, count = {}, 0
    with av.open(str(path)) as container:
        for index, frame in enumerate(container.decode(video=0)):
            count += 1
            if index in indices:
                wanted[index] = frame.to_ndarray(format="rgb24")
    assert probe_result.num_frames == count
    for decoder in filter(is_installed, probe_result.decoders):
        with open_video(str(path), decoder, probe_result) as reader:
            assert_same(reader.read(indices), np.stack([wanted[index] for index in indices]), decoder)


def test_the_decoders_of_a_probe_result_are_those_that_can_be_asked_for():
    assert DECODERS == ("sparse", "decord", "torchcodec", "pyav")


@needs_ffmpeg
@pytest.mark.parametrize("name", ["vp8_alt_ref.webm", "vp9_alt_ref.webm"])
def test_the_corpus_has_alternate_reference_frames(folder, name):
    path = make(name, folder)
    with av.open(str(path)) as container:
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    hidden = sum(not content[0] & 0x10 for content in packets)  # VP8: show_frame
    superframes = sum(content[-1] & 0xE0 == 0xC0 for content in packets)  # VP9, annex B: two frames in a packet
    assert (hidden if "vp8" in name else superframes) > 0
    assert probe(str(path)).num_empty == (hidden if "vp8" in name else 0)
