"""Tests of the frames of a clip: values computed by hand, and properties for any video."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.each_case import each_case
from videoctx.data.sampling.clip_samplers import (
    ClipShape,
    ClipTooLongError,
    RandomClips,
    UniformClips,
    frame_range,
    random_starts,
    uniform_starts,
)
from videoctx.data.transforms.crop_corners import even_corner

SHAPES = st.builds(
    ClipShape,
    clip_len=st.integers(1, 16),
    frame_interval=st.integers(1, 8),
    short_videos=st.sampled_from(["wrap", "repeat_last", "refuse"]),
)
NUM_FRAMES = st.integers(1, 300)
NUM_CLIPS = st.integers(1, 12)


def shape(clip_len, frame_interval, short_videos="wrap"):
    return ClipShape(clip_len=clip_len, frame_interval=frame_interval, short_videos=short_videos)


# ---------------------------------------------------------------- a clip's frames


@each_case(("clip_len", "frame_interval", "span"), [(1, 1, 1), (1, 8, 1), (8, 8, 57), (32, 2, 63), (4, 1, 4)])
def test_span(clip_len, frame_interval, span):
    assert shape(clip_len, frame_interval).span() == span


@each_case(
    ("short_videos", "start", "num_frames", "frames"),
    [
        ("wrap", 2, 9, [2, 4, 6, 8]),
        ("repeat_last", 2, 9, [2, 4, 6, 8]),
        ("refuse", 2, 9, [2, 4, 6, 8]),
        ("wrap", 0, 5, [0, 2, 4, 1]),
        ("repeat_last", 0, 5, [0, 2, 4, 4]),
        ("wrap", 0, 1, [0, 0, 0, 0]),
        ("repeat_last", 0, 1, [0, 0, 0, 0]),
        ("wrap", 0, 2, [0, 0, 0, 0]),
        ("wrap", 0, 6, [0, 2, 4, 0]),
        ("repeat_last", 0, 6, [0, 2, 4, 5]),
    ],
)
def test_frames_of_a_clip_computed_by_hand(short_videos, start, num_frames, frames):
    assert shape(4, 2, short_videos).frames(start, num_frames).tolist() == frames


def test_too_short_video_is_refused_with_both_lengths():
    assert shape(4, 2, "refuse").frames(0, 7).tolist() == [0, 2, 4, 6]
    with pytest.raises(ClipTooLongError, match=r"6 frames.*spans 7"):
        shape(4, 2, "refuse").frames(0, 6)


@given(shape=SHAPES, num_frames=NUM_FRAMES, data=st.data())
def test_frames_lie_in_the_video_at_the_frame_interval(shape, num_frames, data):
    start = data.draw(st.integers(0, max(num_frames - shape.span(), 0)))
    fits = start + shape.span() <= num_frames
    if shape.short_videos == "refuse" and not fits:
        with pytest.raises(ClipTooLongError):
            shape.frames(start, num_frames)
        return
    frames = shape.frames(start, num_frames)
    assert frames.dtype == np.int64
    assert len(frames) == shape.clip_len
    assert frames[0] == start
    assert (frames >= 0).all()
    assert (frames < num_frames).all()
    steps = np.diff(frames)
    if fits:
        assert (steps == shape.frame_interval).all()
        assert frames[-1] == start + shape.span() - 1
    elif shape.short_videos == "wrap":
        assert (steps % num_frames == shape.frame_interval % num_frames).all()
    else:
        assert (steps >= 0).all()
        assert frames[-1] == num_frames - 1
        assert (steps[frames[1:] < num_frames - 1] == shape.frame_interval).all()


@each_case(
    ("arguments", "words"),
    [
        ({"clip_len": 0, "frame_interval": 1}, "clip_len is 0"),
        ({"clip_len": -3, "frame_interval": 1}, "clip_len is -3"),
        ({"clip_len": 8, "frame_interval": 0}, "frame_interval is 0"),
        ({"clip_len": 8, "frame_interval": 1, "short_videos": "loop"}, "'loop'.*wrap, repeat_last, refuse"),
    ],
)
def test_bad_clip_shapes_are_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        ClipShape(**arguments)


# ---------------------------------------------------------------- where clips start


@given(shape=SHAPES, num_frames=NUM_FRAMES, num_clips=NUM_CLIPS, seed=st.integers(0, 2**32))
def test_clips_end_before_the_video_does(shape, num_frames, num_clips, seed):
    for sampler in (RandomClips(shape=shape, num_clips=num_clips), UniformClips(shape=shape, num_clips=num_clips)):
        if shape.short_videos == "refuse" and num_frames < shape.span():
            continue
        starts = sampler.clips(num_frames, 0.0, np.random.default_rng(seed))[:, 0]
        assert starts.shape == (num_clips,)
        assert starts.dtype == np.int64
        assert (starts >= 0).all()
        if num_frames >= shape.span():
            assert (starts + shape.span() <= num_frames).all()
        else:
            assert (starts == 0).all()


@given(shape=SHAPES, num_frames=NUM_FRAMES, num_clips=NUM_CLIPS)
def test_uniform_clips_cover_the_video_evenly(shape, num_frames, num_clips):
    starts = uniform_starts(num_frames, shape, num_clips)
    last = max(num_frames - shape.span(), 0)
    if num_clips == 1:
        assert last - starts[0] - starts[0] in (0, 1)  # as much before the clip as after it
        return
    assert starts[0] == 0
    assert starts[-1] == last
    steps = np.diff(starts)
    assert (steps >= 0).all()
    assert steps.max() - steps.min() <= 1


@each_case(
    ("num_frames", "clip_len", "frame_interval", "num_clips", "starts"),
    [
        (300, 8, 8, 10, [0, 27, 54, 81, 108, 135, 162, 189, 216, 243]),
        (300, 32, 2, 10, [0, 26, 52, 79, 105, 131, 158, 184, 210, 237]),
        (300, 8, 8, 1, [121]),
        (58, 8, 8, 2, [0, 1]),
        (57, 8, 8, 3, [0, 0, 0]),
        (10, 8, 8, 3, [0, 0, 0]),
        (10, 1, 1, 4, [0, 3, 6, 9]),
    ],
)
def test_uniform_starts_computed_by_hand(num_frames, clip_len, frame_interval, num_clips, starts):
    assert uniform_starts(num_frames, shape(clip_len, frame_interval), num_clips).tolist() == starts


def test_random_starts_cover_all_positions_and_follow_the_seed():
    starts = [random_starts(10, shape(4, 2), 500, np.random.default_rng(seed)) for seed in (3, 3, 4)]
    assert set(starts[0].tolist()) == {0, 1, 2, 3}  # the clip spans 7 of 10 frames
    assert starts[0].tolist() == starts[1].tolist() != starts[2].tolist()
    assert np.bincount(starts[0]).min() > 90  # 125 expected of each


# ---------------------------------------------------------------- seconds

NTSC = 30000 / 1001


@each_case(
    ("num_frames", "fps", "start", "end", "frames"),
    [
        (300, 30, None, None, (0, 300)),
        (300, 30, 0.0, None, (0, 300)),
        (300, 30, 1.0, 2.0, (30, 60)),
        (300, 30, 1.1, None, (33, 300)),  # 1.1 · 30 = 33.000000000000004
        (300, 30, 0.99, 1.01, (30, 31)),
        (300, 30, 1.001, 1.002, (31, 31)),  # between two frames
        (300, 30, None, 10.0, (0, 300)),
        (300, 30, 9.0, 99.0, (270, 300)),
        (300, 30, 20.0, None, (300, 300)),
        (300, 25, 0.04, 0.08, (1, 2)),
        (300, NTSC, 1.0, 2.0, (30, 60)),
        (300, NTSC, 1.001, 2.002, (30, 60)),
        (300, NTSC, 1.01, None, (31, 300)),
        (300, NTSC, 10 * 1.001, None, (300, 300)),
        (300, NTSC, None, 10.0, (0, 300)),
    ],
)
def test_frame_range_computed_by_hand(num_frames, fps, start, end, frames):
    assert frame_range(num_frames, fps, start, end) == frames


RATES = st.sampled_from(
    [Fraction(24000, 1001), Fraction(24), Fraction(25), Fraction(30000, 1001), Fraction(30), Fraction(60)]
)


@given(num_frames=NUM_FRAMES, fps=RATES, start=st.integers(0, 12_000), length=st.integers(1, 12_000))
def test_frame_range_holds_the_frames_shown_in_the_segment(num_frames, fps, start, length):
    start, end = start / 1000, (start + length) / 1000
    first, stop = frame_range(num_frames, float(fps), start, end)
    near = Fraction(1, 1000) / fps  # a frame this near to a bound may be counted on either side
    for frame in range(num_frames):
        shown = frame / fps
        if start + near <= shown < end - near:
            assert first <= frame < stop
        elif shown < start - near or shown > end + near:
            assert not first <= frame < stop


@given(num_frames=NUM_FRAMES, fps=RATES, first=st.integers(0, 400), length=st.integers(1, 400))
def test_frame_range_from_exact_frame_times(num_frames, fps, first, length):
    seconds = float(first / fps), float((first + length) / fps)
    wanted = min(first, num_frames), min(first + length, num_frames)
    assert frame_range(num_frames, float(fps), *seconds) == wanted


# ---------------------------------------------------------------- crops


@each_case(
    ("height", "width", "size", "corners"),
    [
        (256, 340, 256, [(0, 0), (0, 42), (0, 84)]),  # landscape
        (340, 256, 256, [(0, 0), (42, 0), (84, 0)]),  # portrait
        (256, 256, 256, [(0, 0), (0, 0), (0, 0)]),
        (256, 256, 224, [(16, 0), (16, 16), (16, 32)]),  # a square: along the width
        (256, 341, 224, [(16, 0), (16, 58), (16, 117)]),
        (341, 256, 224, [(0, 16), (58, 16), (117, 16)]),
    ],
)
def test_one_crop_is_centered_and_three_follow_the_longer_side(height, width, size, corners):
    assert [even_corner(height, width, size, crop, 3) for crop in range(3)] == corners
    assert even_corner(height, width, size, 0, 1) == corners[1]


@given(
    size=st.integers(1, 50),
    rows=st.integers(0, 50),
    columns=st.integers(0, 50),
    num_crops=st.integers(1, 5),
    data=st.data(),
)
def test_crops_lie_in_the_frame_and_touch_both_ends(size, rows, columns, num_crops, data):
    height, width = size + rows, size + columns
    crop = data.draw(st.integers(0, num_crops - 1))
    top, left = even_corner(height, width, size, crop, num_crops)
    assert 0 <= top <= rows
    assert 0 <= left <= columns
    along, across, room = (top, left, rows) if height > width else (left, top, columns)
    assert across == (columns if height > width else rows) // 2
    if num_crops > 1 and crop in (0, num_crops - 1):
        assert along == (0 if crop == 0 else room)


@each_case(
    ("start", "end", "expected"),
    [(None, None, (0, 5)), (0.1, None, (1, 5)), (0.11, 2.0, (2, 4)), (0.0, 0.05, (0, 1)), (2.6, 9.0, (5, 5))],
)
def test_frame_range_of_a_variable_frame_rate(start, end, expected):
    times = np.array([0, 0.1, 0.9, 1.0, 2.5])
    assert frame_range(5, 2.0, start, end, frame_seconds=times) == expected


@given(st.integers(1, 300), st.sampled_from([10, 24, 25, 29.97, 30, 60]), st.floats(0, 12), st.floats(0.01, 12))
def test_constant_frame_times_equal_the_frame_rate(num_frames, fps, start, length):
    times = np.arange(num_frames) / fps
    seconds = (round(start, 2), round(start + length, 2))
    assert frame_range(num_frames, fps, *seconds, frame_seconds=times) == frame_range(num_frames, fps, *seconds)
