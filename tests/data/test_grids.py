"""Tests of the clip grids: values computed by hand from each project's formula, and the ranges of random frames."""

import itertools
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.each_case import each_case
from videoctx.data.preprocessing import Preprocessing
from videoctx.data.sampling.clip_samplers import (
    ClipShape,
    ClipTooLongError,
    RandomClips,
    UniformClips,
    UnknownFrameRateError,
)
from videoctx.data.sampling.grids import GRIDS, find_grid
from videoctx.data.settings import ClipSettings, TestSettings

EVERY = [(sampling, name) for sampling, grids in GRIDS.items() for name in grids]
WHOLE = [(sampling, name) for sampling, name in EVERY if sampling != "dense"]
NTSC = 30000 / 1001


def clips_of(sampling, name, num_frames, clip_len, num_clips=1, *, fps=30.0, **shape):
    made = ClipShape(clip_len=clip_len, **{"frame_interval": 8, **shape})
    return find_grid(sampling, name).test(num_frames, fps, made, num_clips).tolist()


# Segments and uniform frames ------------------------------------------------------------------------------------------

# grid, (frames of the video, T, clips): the frames of the clips
SEGMENTS = {
    # 20 / 8 = 2.5 frames in a part: 1.25 + 2.5 i, and 2.5 i
    ("tsm", (20, 8, 1)): [[1, 3, 6, 8, 11, 13, 16, 18]],
    ("tsm", (20, 8, 2)): [[1, 3, 6, 8, 11, 13, 16, 18], [0, 2, 5, 7, 10, 12, 15, 17]],
    ("mmaction2", (20, 8, 2)): [[1, 3, 6, 8, 11, 13, 16, 18], [0, 2, 5, 7, 10, 12, 15, 17]],
    ("tsm", (37, 4, 1)): [[4, 13, 23, 32]],  # 4.625 + 9.25 i
    # five frames: 0.3125 + 0.625 i; of one frame it is shown every time
    ("tsm", (5, 8, 1)): [[0, 0, 1, 2, 2, 3, 4, 4]],
    ("tsm", (1, 4, 2)): [[0] * 4, [0] * 4],
    # 19 / 8 = 2.375: edges 0, 2, 5, 7, 10 (9.5 to the even one), 12, 14, 17, 19
    ("pyslowfast", (20, 8, 1)): [[1, 3, 6, 8, 11, 13, 15, 18]],
    ("pytorchvideo", (20, 8, 1)): [[1, 3, 6, 8, 11, 13, 15, 18]],
    ("pyslowfast", (37, 4, 1)): [[4, 13, 22, 31]],  # edges every 9
    # edges 0, 0 (0.5), 1, 2 (1.5), 2, 2 (2.5), 3, 4 (3.5), 4
    ("pyslowfast", (5, 8, 1)): [[0, 0, 1, 2, 2, 2, 3, 4]],
    ("pyslowfast", (1, 4, 1)): [[0] * 4],
    # the same edges; 2.375 / 2 and 2.375 / 3 of a part further
    ("mmaction2_uniform", (20, 8, 1)): [[1, 3, 6, 8, 11, 13, 15, 18]],
    ("mmaction2_uniform", (20, 8, 2)): [[0, 2, 5, 7, 10, 12, 14, 17], [1, 3, 6, 8, 11, 13, 15, 18]],
    ("mmaction2_uniform", (100, 4, 3)): [[6, 31, 56, 80], [12, 37, 62, 86], [18, 43, 68, 92]],  # 24.75 in a part
    ("videoctx", (20, 8, 1)): [[1, 3, 6, 8, 11, 13, 16, 18]],
    # a quarter and three quarters into each part: 0.625 + 2.5 i and 1.875 + 2.5 i
    ("videoctx", (20, 8, 2)): [[0, 3, 5, 8, 10, 13, 15, 18], [1, 4, 6, 9, 11, 14, 16, 19]],
    ("videoctx", (90, 3, 3)): [[5, 35, 65], [15, 45, 75], [25, 55, 85]],
    ("videoctx", (5, 8, 1)): [[0, 0, 1, 2, 2, 3, 4, 4]],
}
UNIFORM = {
    ("videoctx", (20, 8, 1)): [[0, 2, 5, 8, 10, 13, 16, 19]],  # 19 / 7 = 2.714
    ("pytorchvideo", (20, 8, 1)): [[0, 2, 5, 8, 10, 13, 16, 19]],
    ("videoctx", (16, 16, 1)): [list(range(16))],
    # 299 / 15 = 19.93
    ("videoctx", (300, 16, 1)): [[0, 19, 39, 59, 79, 99, 119, 139, 159, 179, 199, 219, 239, 259, 279, 299]],
    ("pytorchvideo", (300, 16, 1)): [[0, 19, 39, 59, 79, 99, 119, 139, 159, 179, 199, 219, 239, 259, 279, 299]],
    ("videoctx", (3, 5, 1)): [[0, 0, 1, 1, 2]],
    ("videoctx", (9, 1, 1)): [[4]],
    ("pytorchvideo", (9, 1, 1)): [[0]],
}


@each_case(("name", "video"), SEGMENTS)
def test_segments_computed_by_hand(name, video):
    assert clips_of("segments", name, *video) == SEGMENTS[name, video]


@each_case(("name", "video"), UNIFORM)
def test_uniform_frames_computed_by_hand(name, video):
    assert clips_of("uniform", name, *video) == UNIFORM[name, video]
    shape = ClipShape(clip_len=video[1], frame_interval=1)
    training = find_grid("uniform", name).train(video[0], 30.0, shape, 2, np.random.default_rng(0))
    assert training.tolist() == UNIFORM[name, video] * 2


# the frames that each part can give in training, of 20 frames in 8 parts
PARTS = {
    "tsm": [(0, 1), (2, 3), (4, 5), (6, 7), (8, 9), (10, 11), (12, 13), (14, 15)],  # never the last four
    "mmaction2": [(0, 1), (2, 3), (4, 5), (6, 7), (8, 9), (10, 11), (12, 13), (14, 15)],
    "pyslowfast": [(0, 2), (2, 5), (5, 7), (7, 10), (10, 12), (12, 14), (14, 17), (17, 19)],
    "pytorchvideo": [(0, 2), (2, 5), (5, 7), (7, 10), (10, 12), (12, 14), (14, 17), (17, 19)],
    "mmaction2_uniform": [(0, 2), (2, 5), (5, 7), (7, 10), (10, 12), (12, 14), (14, 17), (17, 19)],
    "videoctx": [(0, 1), (2, 4), (5, 6), (7, 9), (10, 11), (12, 14), (15, 16), (17, 19)],
}
# the same of five frames, which are fewer than parts
SHORT_PARTS = {
    "tsm": [(0, 0)] * 8,
    "mmaction2": [(0, 0), (1, 1), (1, 1), (2, 2), (2, 2), (3, 3), (4, 4), (4, 4)],  # 0.625 i; 2.5 to the even one
    "pyslowfast": [(0, 0), (0, 1), (1, 2), (2, 2), (2, 2), (2, 3), (3, 4), (4, 4)],
    "videoctx": [(0, 0), (0, 0), (1, 1), (1, 1), (2, 2), (3, 3), (3, 3), (4, 4)],
}


def training_clips(sampling, name, num_frames, shape, *, fps=30.0, num_clips=2000):
    return find_grid(sampling, name).train(num_frames, fps, shape, num_clips, np.random.default_rng(0))


@each_case("name", PARTS)
def test_every_part_gives_each_of_its_frames_in_training(name):
    clips = training_clips("segments", name, 20, ClipShape(clip_len=8, frame_interval=1))
    for part, (first, last) in enumerate(PARTS[name]):
        assert set(clips[:, part].tolist()) == set(range(first, last + 1)), part
    if name in SHORT_PARTS:
        short = training_clips("segments", name, 5, ClipShape(clip_len=8, frame_interval=1))
        for part, (first, last) in enumerate(SHORT_PARTS[name]):
            assert set(short[:, part].tolist()) == set(range(first, last + 1)), part


def test_frames_of_mmaction2_s_uniform_sample_frames():
    """Its test draws with NumPy's global generator and the seed 255; between T and 2T frames, one may be left out."""
    np.random.seed(255)  # noqa: NPY002 - as mmaction2 does
    expected = [(5 * np.arange(4) + np.random.randint([5] * 4)).tolist() for _ in range(3)]  # noqa: NPY002
    assert clips_of("segments", "mmaction2_frames", 20, 4, 3) == expected
    shape = ClipShape(clip_len=4, frame_interval=1)
    clips = training_clips("segments", "mmaction2_frames", 20, shape)
    assert [set(part) for part in clips.T.tolist()] == [set(range(start, start + 5)) for start in (0, 5, 10, 15)]
    # two of six frames are left out, not both between the same two
    gaps = {
        tuple(np.arange(4) + [sum(gap <= i for gap in left_out) for i in range(4)])
        for left_out in itertools.combinations(range(5), 2)
    }
    assert {tuple(clip) for clip in training_clips("segments", "mmaction2_frames", 6, shape).tolist()} == gaps
    np.random.seed(255)  # noqa: NPY002
    left_out = sorted(np.random.choice(5, 2, replace=False))  # noqa: NPY002
    first = [i + sum(gap <= i for gap in left_out) for i in range(4)]
    assert clips_of("segments", "mmaction2_frames", 6, 4, 1) == [first]
    # three frames, in a row from frame 0, 1 (3 // 2) and so on, or from any in training
    assert clips_of("segments", "mmaction2_frames", 3, 4, 2) == [[0, 1, 2, 0], [1, 2, 0, 1]]
    assert clips_of("segments", "mmaction2_frames", 1, 4, 2) == [[0] * 4] * 2
    starts = {tuple(clip) for clip in training_clips("segments", "mmaction2_frames", 3, shape).tolist()}
    assert starts == {(0, 1, 2, 0), (1, 2, 0, 1), (2, 0, 1, 2)}


def test_a_rounded_frame_past_the_end_is_the_first_one():
    """mmaction2, three frames in eight parts: 2.625 is rounded to 3."""
    clips = training_clips("segments", "mmaction2", 3, ClipShape(clip_len=8, frame_interval=1), num_clips=1)
    assert clips.tolist() == [[0, 0, 1, 1, 2, 2, 2, 0]]


@each_case(("sampling", "name"), WHOLE)
def test_a_video_shorter_than_its_segments_is_refused_if_asked(sampling, name):
    shape = ClipShape(clip_len=8, frame_interval=1, short_videos="refuse")
    grid, rng = find_grid(sampling, name), np.random.default_rng(0)
    assert grid.test(8, 30.0, shape, 1).shape == grid.train(8, 30.0, shape, 1, rng).shape == (1, 8)
    for take in (lambda: grid.test(7, 30.0, shape, 1), lambda: grid.train(7, 30.0, shape, 1, rng)):
        with pytest.raises(
            ClipTooLongError, match="7 frames, but a clip takes one of each of 8 parts; expected short_"
        ):
            take()


# Dense clips ----------------------------------------------------------------------------------------------------------


@each_case(
    ("name", "video", "starts", "last"),
    [
        # 300 - 64 = 236; 236 / 9 = 26.22
        ("mmaction2_dense", (300, 8, 10), [0, 26, 52, 78, 104, 131, 157, 183, 209, 236], list(range(236, 293, 8))),
        ("tsm", (300, 8, 10), [0, 26, 52, 78, 104, 131, 157, 183, 209, 236], list(range(236, 293, 8))),
        ("mmaction2_dense", (40, 8, 3), [0, 0, 0], [0, 8, 16, 24, 32, 0, 8, 16]),
        ("mmaction2_dense", (300, 8, 1), [0], list(range(0, 57, 8))),
    ],
)
def test_clips_of_a_dense_range_computed_by_hand(name, video, starts, last):
    clips = clips_of("dense", name, *video)
    assert [clip[0] for clip in clips] == starts
    assert clips[-1] == last


@each_case("name", ["mmaction2_dense", "tsm"])
def test_a_range_of_64_frames_computed_by_hand(name):
    """12 frames, ⌊64 / 12⌋ = 5 apart, cover 60; clips start from 0 to N - 64 all the same."""
    clips = clips_of("dense", name, 300, 12, 10, frame_interval=5, sample_range=64)
    assert [clip[0] for clip in clips] == [0, 26, 52, 78, 104, 131, 157, 183, 209, 236]  # 236 / 9 = 26.22
    assert clips[-1] == list(range(236, 292, 5))
    # 40 frames: all clips start at 0, and wrap around at 40
    assert (
        clips_of("dense", name, 40, 12, 10, frame_interval=5, sample_range=64)
        == [[0, 5, 10, 15, 20, 25, 30, 35, 0, 5, 10, 15]] * 10
    )
    # 16 frames, every 2nd, span 31: the range, not the clip, must fit
    assert [clip[0] for clip in clips_of("dense", name, 100, 16, 3, frame_interval=2, sample_range=64)] == [0, 18, 36]
    # at 60 frames per second, counted at 30: the range is of 128 frames
    assert [
        clip[0]
        for clip in clips_of("dense", name, 228, 16, 3, frame_interval=2, sample_range=64, fps=60.0, target_fps=30)
    ] == [0, 50, 100]


@each_case("name", ["mmaction2_dense", "tsm"])
def test_training_clips_of_a_range_of_64_frames(name):
    shape = ClipShape(clip_len=12, frame_interval=5, sample_range=64)
    clips = training_clips("dense", name, 70, shape)
    assert set(clips[:, 0].tolist()) == set(range(6))  # numpy's randint(0, 70 - 64), which leaves out the last
    assert (clips - clips[:, :1]).tolist() == [list(range(0, 60, 5))] * len(clips)
    for num_frames in (64, 65):  # one place, and randint(0, 1)
        assert set(training_clips("dense", name, num_frames, shape)[:, 0].tolist()) == {0}


def test_a_range_is_for_the_grids_that_have_one():
    with pytest.raises(ValueError, match=r"sample_range is 64 with clips.sampling dense and clips.grid videoctx;"):
        ClipSettings(sample_range=64)
    with pytest.raises(ValueError, match=r"sampling segments and clips.grid tsm; expected None, or clips"):
        ClipSettings(sampling="segments", grid="tsm", sample_range=64)
    with pytest.raises(ValueError, match="sample_range is 0; expected 1 or more"):
        ClipSettings(grid="tsm", sample_range=0)
    clips = ClipSettings(clip_len=12, frame_interval=5, grid="mmaction2_dense", sample_range=64)
    made = Preprocessing.from_settings(clips, TestSettings(views=(10, 1)))
    found = Preprocessing.from_dict(made.as_dict()).sampler().clips(300, 30.0, np.random.default_rng(0))
    assert found[:, 0].tolist() == [0, 26, 52, 78, 104, 131, 157, 183, 209, 236]


@each_case(
    ("name", "video", "starts", "last"),
    [
        # 60 frames per second: 16 apart, a clip spans 113; 487 / 9 = 54.1
        (
            "videoctx",
            (600, 8, 10, 60.0, 8, 30),
            [0, 54, 108, 162, 216, 270, 324, 378, 432, 487],
            list(range(487, 600, 16)),
        ),
        # 25 per second: 6.67 apart, spans 47; 203 / 2
        ("videoctx", (250, 8, 3, 25.0, 8, 30), [0, 101, 203], [203, 209, 216, 223, 229, 236, 243, 249]),
        # 29.97: 7.992 apart, spans 56
        ("videoctx", (56, 8, 1, NTSC, 8, 30), [0], [0, 7, 15, 23, 31, 39, 47, 55]),
        # more frames per second than the video has: some are shown twice
        ("videoctx", (20, 4, 1, 10.0, 2, 30), [8], [8, 8, 9, 10]),
        # X3D-S: 78 · 25 / 30 = 65 frames; ⌊235 / 9⌋ = 26; 64 / 12 = 5.33 apart
        (
            "mmaction2",
            (300, 13, 10, 25.0, 6, 30),
            list(range(0, 235, 26)),
            [234, 239, 244, 250, 255, 260, 266, 271, 276, 282, 287, 292, 298],
        ),
        ("mmaction2", (300, 13, 1, 25.0, 6, 30), [117], [117 + 16 * k // 3 for k in range(13)]),  # 235 // 2
        # at 15 per second instead of 30: W = 128; i · 172 / 2, frames 127 / 7 apart
        ("pyslowfast", (300, 8, 2, 30.0, 8, 15), [0, 86], [86, 104, 122, 140, 158, 176, 194, 213]),
        ("pytorchvideo", (300, 8, 2, 30.0, 8, 15), [0, 86], [86, 104, 122, 140, 158, 176, 194, 213]),
        ("torchvision", (300, 4, 2, 30.0, 2, 15), [0, 284], [284, 288, 292, 296]),  # 75 frames, 72 windows: 71 · 4
        ("nonlocal", (60, 4, 2, 60.0, 2, 30), [0, 30], [30, 34, 38, 42]),
        ("mmaction2_dense", (60, 4, 2, 60.0, 2, 30), [0, 44], [44, 48, 52, 56]),  # 60 - 16
    ],
)
def test_frames_at_another_rate_computed_by_hand(name, video, starts, last):
    num_frames, clip_len, num_clips, fps, frame_interval, target_fps = video
    shape = {"fps": fps, "frame_interval": frame_interval, "target_fps": target_fps}
    clips = clips_of("dense", name, num_frames, clip_len, num_clips, **shape)
    assert [clip[0] for clip in clips] == starts
    assert clips[-1] == last


@each_case("name", GRIDS["dense"])
def test_an_unknown_frame_rate_is_an_error_at_a_target_rate(name):
    shape = ClipShape(clip_len=4, frame_interval=2, target_fps=30)
    grid = find_grid("dense", name, target_fps=30)
    with pytest.raises(UnknownFrameRateError, match="its frame rate is not known"):
        grid.test(100, 0.0, shape, 2)
    with pytest.raises(UnknownFrameRateError, match="its frame rate is not known"):
        grid.train(100, 0.0, shape, 2, np.random.default_rng(0))


# clips of 4 frames, 2 apart: first and last start, how far apart starts are, and the frames of the first clip, of a
# training video of 20 frames
STARTS = {
    "videoctx": (0, 13, 1, [0, 2, 4, 6]),  # spans 7
    "nonlocal": (0, 12, 1, [0, 2, 4, 6]),  # 20 - 4 · 2
    "mmaction2": (0, 12, 1, [0, 2, 4, 6]),
    "mmaction2_dense": (0, 11, 1, [0, 2, 4, 6]),  # the last one never
    "tsm": (0, 11, 1, [0, 2, 4, 6]),
    "torchvision": (0, 12, 2, [0, 2, 4, 6]),  # ten frames at 15 per second, seven windows
    "pyslowfast": (0, 11, 1, None),  # from 0 to 12, also between frames
    "pytorchvideo": (1, 12, 1, [1, 3, 5, 8]),  # rounded up; eight frames, of which every 7 / 3
}


@each_case("name", GRIDS["dense"])
def test_training_clips_start_at_each_of_their_places(name):
    first, last, step, frames = STARTS[name]
    clips = training_clips("dense", name, 20, ClipShape(clip_len=4, frame_interval=2))
    assert set(clips[:, 0].tolist()) == set(range(first, last + 1, step))
    if frames is None:
        assert set((clips[:, -1] - clips[:, 0]).tolist()) <= {7, 8}
    else:
        assert clips[clips[:, 0] == first][0].tolist() == frames


def test_training_clips_are_counted_at_the_target_rate():
    shape = ClipShape(clip_len=4, frame_interval=2, target_fps=30)
    clips = training_clips("dense", "videoctx", 40, shape, fps=60.0)
    assert set(clips[:, 0].tolist()) == set(range(28))  # spans 13
    assert (np.diff(clips) == 4).all()
    clips = training_clips("dense", "mmaction2", 40, shape, fps=60.0)
    assert set(clips[:, 0].tolist()) == set(range(25))  # 16 frames
    assert (clips - clips[:, :1])[0].tolist() == [0, 5, 10, 15]


# All grids ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("sampling", "name"), EVERY)
@given(num_frames=st.integers(150, 400), clip_len=st.integers(1, 17), fps=st.sampled_from([15.0, NTSC, 50.0]))
def test_frames_lie_in_the_video_and_follow_the_generator(sampling, name, num_frames, clip_len, fps):
    grid = find_grid(sampling, name)
    shape = ClipShape(clip_len=clip_len, frame_interval=2)
    num_clips = grid.max_clips or 3
    training = [grid.train(num_frames, fps, shape, 4, np.random.default_rng(seed)) for seed in (1, 1)]
    for clips, count in ((grid.test(num_frames, fps, shape, num_clips), num_clips), (training[0], 4)):
        assert clips.shape == (count, clip_len)
        assert clips.dtype == np.int64
        assert clips.min() >= 0
        assert clips.max() < num_frames
        if sampling != "dense":
            assert (np.diff(clips) >= 0).all()
    assert np.array_equal(*training)


def test_samplers_go_to_other_processes():
    shape = ClipShape(clip_len=4, frame_interval=2)
    for sampling, name in EVERY:
        grid = find_grid(sampling, name)
        test = UniformClips(shape=shape, num_clips=1, grid=grid.test)
        train = RandomClips(shape=shape, num_clips=1, grid=grid.train)
        for sampler in (test, train):
            copy = pickle.loads(pickle.dumps(sampler))
            frames = [one.clips(50, 30.0, np.random.default_rng(0)).tolist() for one in (sampler, copy)]
            assert frames[0] == frames[1], (sampling, name)


@each_case(
    ("arguments", "target_fps", "line"),
    [
        (("sparse", "tsm"), None, "clips.sampling is 'sparse'; expected one of dense, segments, uniform"),
        (
            ("segments", "nonlocal"),
            None,
            "clips.grid nonlocal has no formula for clips.sampling segments; expected clips.grid videoctx or tsm or",
        ),
        (
            ("uniform", "tsm"),
            None,
            "tsm has no formula for clips.sampling uniform; expected clips.grid videoctx or pyt",
        ),
        (("segments", "tsm"), 30, "clips.target_fps is 30 with clips.sampling segments, whose frames are spread"),
    ],
)
def test_what_no_project_does_is_refused(arguments, target_fps, line):
    with pytest.raises(ValueError, match=line):
        find_grid(*arguments, target_fps=target_fps)
