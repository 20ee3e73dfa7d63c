"""Tests of other projects' clip grids, sizes and crops, against their formulas and against their own code."""

import importlib.util
import itertools
import math
import warnings
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import pytorchvideo
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorchvideo.data.clip_sampling import ConstantClipsPerVideoSampler
from torchvision.datasets.samplers import UniformClipSampler
from torchvision.datasets.video_utils import VideoClips
from torchvision.transforms._presets import VideoClassification

from tests.each_case import each_case
from videoctx.data.loading.dataset import DecodedBatch, DecodedVideo
from videoctx.data.sampling.clip_samplers import ClipShape, NoClipError, UnknownFrameRateError
from videoctx.data.sampling.grids import DENSE
from videoctx.data.sampling.protocols import PROTOCOLS
from videoctx.data.transforms.crop_corners import CORNERS, check_num_crops, find_crop
from videoctx.data.transforms.frame_size import SIZES
from videoctx.data.transforms.normalize import Normalize
from videoctx.data.transforms.resize import Resizing
from videoctx.data.transforms.view_transform import ViewTransform

NTSC = 30000 / 1001  # 29.97
RATES = [24000 / 1001, 15.0, 25.0, NTSC, 30.0, 50.0, 60.0]


def clips(name, num_frames, fps, clip_len, frame_interval, num_clips):
    shape = ClipShape(clip_len=clip_len, frame_interval=frame_interval)
    return DENSE[name].test(num_frames, fps, shape, num_clips).tolist()


def resizing(protocol, *, short_side_px):
    rules = PROTOCOLS[protocol]
    return Resizing(
        short_side_px=short_side_px,
        long_side=rules.long_side,
        antialias=rules.antialias,
        arithmetic=rules.arithmetic,
    )


# protocol, (frames, fps, T, interval, n): first frame of every clip, frames of the last clip
GRIDS = {
    # W = 64; 300 - 64 = 236; clip i at 23.6 i; frames 63 / 7 = 9 apart
    ("pyslowfast", (300, 30.0, 8, 8, 10)): (
        [0, 23, 47, 70, 94, 118, 141, 165, 188, 212],
        [212, 221, 230, 239, 248, 257, 266, 275],
    ),
    # W = 53.33; clip i at 19.667 i; frames 52.33 / 7 = 7.476 apart
    ("pyslowfast", (250, 25.0, 8, 8, 10)): (
        [0, 19, 39, 59, 78, 98, 118, 137, 157, 177],
        [177, 184, 191, 199, 206, 214, 221, 229],
    ),
    # W = 63.936; clip i at 23.606 i; frames 62.936 / 7 = 8.991 apart
    ("pyslowfast", (300, NTSC, 8, 8, 10)): (
        [0, 23, 47, 70, 94, 118, 141, 165, 188, 212],
        [212, 221, 230, 239, 248, 257, 266, 275],
    ),
    # W = 128; clip i at 47.2 i; frames 127 / 7 = 18.143 apart
    ("pyslowfast", (600, 60.0, 8, 8, 10)): (
        [0, 47, 94, 141, 188, 236, 283, 330, 377, 424],
        [424, 442, 461, 479, 497, 515, 533, 551],
    ),
    ("pyslowfast", (40, 30.0, 8, 8, 10)): ([0] * 10, [0, 9, 18, 27, 36, 39, 39, 39]),
    ("pyslowfast", (300, 30.0, 8, 8, 1)): ([0], [0, 9, 18, 27, 36, 45, 54, 63]),
    # a clip spans 57; 243 / 9 = 27
    ("mmaction2", (300, 30.0, 8, 8, 10)): (
        [0, 27, 54, 81, 108, 135, 162, 189, 216, 243],
        [243, 251, 259, 267, 275, 283, 291, 299],
    ),
    # 193 / 9 = 21.44, and the frame rate does not matter
    ("mmaction2", (250, 25.0, 8, 8, 10)): (
        [0, 21, 43, 64, 86, 107, 129, 150, 172, 193],
        [193, 201, 209, 217, 225, 233, 241, 249],
    ),
    ("mmaction2", (250, 60.0, 8, 8, 10)): (
        [0, 21, 43, 64, 86, 107, 129, 150, 172, 193],
        [193, 201, 209, 217, 225, 233, 241, 249],
    ),
    # 9 / 4 = 2.25: 4.5 is rounded to the even 4
    ("mmaction2", (40, NTSC, 16, 2, 5)): ([0, 2, 4, 7, 9], list(range(9, 40, 2))),
    ("mmaction2", (40, 30.0, 8, 8, 10)): ([0] * 10, [0, 8, 16, 24, 32, 0, 8, 16]),
    ("mmaction2", (300, 30.0, 8, 8, 1)): ([121], [121, 129, 137, 145, 153, 161, 169, 177]),
    ("mmaction2", (50, 30.0, 1, 1, 4)): ([6, 18, 31, 43], [43]),  # 12.5 i + 6.25
    ("nonlocal", (300, 30.0, 8, 8, 10)): (
        [0, 30, 60, 90, 120, 150, 180, 210, 240, 270],
        [270, 278, 286, 294, 2, 10, 18, 26],
    ),
    ("nonlocal", (255, 25.0, 8, 8, 10)): (
        [0, 25, 51, 76, 102, 127, 153, 178, 204, 229],
        [229, 237, 245, 253, 6, 14, 22, 30],
    ),
    ("nonlocal", (600, 60.0, 8, 8, 10)): (
        [0, 60, 120, 180, 240, 300, 360, 420, 480, 540],
        [540, 548, 556, 564, 572, 580, 588, 596],
    ),
    ("nonlocal", (299, NTSC, 4, 16, 3)): ([0, 99, 199], [199, 215, 231, 247]),
    ("nonlocal", (40, 30.0, 8, 8, 10)): ([0, 4, 8, 12, 16, 20, 24, 28, 32, 36], [36, 4, 12, 20, 28, 36, 4, 12]),
    # clip i from ⌈23.6 i⌉; the last from 212.4 to 276.4, frames 213 to 276
    ("pytorchvideo", (300, 30.0, 8, 8, 10)): (
        [0, 24, 48, 71, 95, 118, 142, 166, 189, 213],
        [213, 222, 231, 240, 249, 258, 267, 276],
    ),
    # the last from 177 to 230.33: 54 frames
    ("pytorchvideo", (250, 25.0, 8, 8, 10)): (
        [0, 20, 40, 59, 79, 99, 118, 138, 158, 177],
        [177, 184, 192, 199, 207, 214, 222, 230],
    ),
    ("pytorchvideo", (300, NTSC, 8, 8, 10)): (
        [0, 24, 48, 71, 95, 119, 142, 166, 189, 213],
        [213, 222, 231, 240, 249, 258, 267, 276],
    ),
    # the last from 424.8 to 552.8: 128 frames
    ("pytorchvideo", (600, 60.0, 8, 8, 10)): (
        [0, 48, 95, 142, 189, 236, 284, 331, 378, 425],
        [425, 443, 461, 479, 497, 515, 533, 552],
    ),
    ("pytorchvideo", (40, 30.0, 8, 8, 10)): ([0] * 10, [0, 5, 11, 16, 22, 27, 33, 39]),
    # 150 frames at 15 a second, 135 windows; the third begins at 67
    ("torchvision", (300, 30.0, 16, 2, 5)): ([0, 66, 134, 200, 268], list(range(268, 300, 2))),
    # 150 again, every 1.667th of 250
    ("torchvision", (250, 25.0, 16, 2, 5)): (
        [0, 55, 111, 166, 223],
        [223, 225, 226, 228, 230, 231, 233, 235, 236, 238, 240, 241, 243, 245, 246, 248],
    ),
    ("torchvision", (300, NTSC, 16, 2, 5)): ([0, 65, 133, 199, 267], list(range(267, 299, 2))),
    ("torchvision", (600, 60.0, 16, 2, 5)): ([0, 132, 268, 400, 536], list(range(536, 600, 4))),
    ("torchvision", (300, 30.0, 8, 8, 1)): ([0], [0, 8, 16, 24, 32, 40, 48, 56]),
}


@each_case(("name", "video"), GRIDS)
def test_clip_grids_computed_by_hand(name, video):
    starts, last = GRIDS[name, video]
    found = clips(name, *video)
    assert [clip[0] for clip in found] == starts
    assert found[-1] == last


@pytest.mark.parametrize("name", DENSE)
@settings(max_examples=60, deadline=None)
@given(
    num_frames=st.integers(1, 700),
    fps=st.sampled_from(RATES),
    clip_len=st.sampled_from([1, 4, 8, 16]),
    frame_interval=st.sampled_from([1, 2, 8]),
    num_clips=st.integers(1, 12),
)
def test_clips_stay_in_the_video_in_increasing_order(name, num_frames, fps, clip_len, frame_interval, num_clips):
    try:
        found = np.array(clips(name, num_frames, fps, clip_len, frame_interval, num_clips))
    except NoClipError:
        assert name in ("torchvision", "pytorchvideo")
        return
    assert found.shape == (num_clips, clip_len)
    assert found.min() >= 0
    assert found.max() < num_frames
    assert (np.diff(found[:, 0]) >= 0).all()


# The projects' own code ----------------------------------------------------------------------------------------------

any_video = given(
    num_frames=st.integers(1, 700),
    fps=st.sampled_from(RATES),
    clip_len=st.sampled_from([4, 8, 16]),
    frame_interval=st.sampled_from([1, 2, 8]),
    num_clips=st.integers(1, 12),
)


@any_video
@settings(max_examples=100, deadline=None)
def test_clips_equal_those_of_torchvision(num_frames, fps, clip_len, frame_interval, num_clips):
    metadata = {"video_paths": ["a"], "video_pts": [torch.arange(num_frames)], "video_fps": [fps]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a video without a window, below
        videos = VideoClips(["a"], clip_len, 1, 30 / frame_interval, _precomputed_metadata=metadata)
    if not len(videos.clips[0]):
        with pytest.raises(NoClipError, match="leaves such videos out"):
            clips("torchvision", num_frames, fps, clip_len, frame_interval, num_clips)
        return
    wanted = [videos.clips[0][index].tolist() for index in UniformClipSampler(videos, num_clips)]
    assert clips("torchvision", num_frames, fps, clip_len, frame_interval, num_clips) == wanted


@any_video
@settings(max_examples=100, deadline=None)
def test_clips_equal_those_of_pytorchvideo(num_frames, fps, clip_len, frame_interval, num_clips):
    rate = Fraction(fps).limit_denominator(1001)
    sampler = ConstantClipsPerVideoSampler(Fraction(clip_len * frame_interval, 30), num_clips)
    wanted = []
    for _ in range(num_clips):
        clip = sampler(None, num_frames / rate, {})
        first, stop = math.ceil(rate * clip.clip_start_sec), min(math.ceil(rate * clip.clip_end_sec), num_frames)
        wanted.append(subsample(torch.arange(first, stop).reshape(1, -1, 1, 1), clip_len).flatten().tolist())
    assert clips("pytorchvideo", num_frames, fps, clip_len, frame_interval, num_clips) == wanted


def subsample(frames, num_samples):
    return pytorchvideo_functional().uniform_temporal_subsample(frames, num_samples)


def pytorchvideo_functional():
    """Load pytorchvideo's functions. `pytorchvideo.transforms` does not import with this torchvision, its file does."""
    path = Path(pytorchvideo.__file__).parent / "transforms" / "functional.py"
    spec = importlib.util.spec_from_file_location("functional", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# Sizes and crops ------------------------------------------------------------------------------------------------------


@each_case(
    ("name", "long_side"),
    [
        ("nonlocal", 344),
        ("pyslowfast", 344),
        ("pytorchvideo", 344),
        ("mmaction2", 345),
        ("torchvision", 341),
        ("videoctx", 344),
        ("tsm", 344),
    ],
)
def test_long_side_of_a_resized_240_by_323_frame(name, long_side):
    """323 / 240 · 256 is 344.53; torchvision takes 4/3 of 256 whatever the shape."""
    size = SIZES[PROTOCOLS[name].long_side]
    assert size(240, 323, 256) == (256, long_side)
    assert name == "torchvision" or size(323, 240, 256) == (long_side, 256)


@each_case("name", ["nonlocal", "pyslowfast", "pytorchvideo", "mmaction2", "videoctx"])
def test_short_side_of_landscape_and_portrait(name):
    for height in range(90, 800, 7):
        for width in (height - 31, height, height + 3):
            size = SIZES[PROTOCOLS[name].long_side](height, width, 256)
            assert min(size) == 256
            assert abs(max(size) - 256 * max(height, width) / min(height, width)) <= 1
            assert (size[0] > size[1]) <= (height > width)


@each_case(
    ("name", "num_crops", "corners"),
    [
        # 341 - 256 = 85 columns are left
        ("nonlocal", 3, [(0, 0), (0, 42), (0, 84)]),
        ("mmaction2", 3, [(0, 0), (0, 42), (0, 84)]),
        ("pyslowfast", 3, [(0, 0), (0, 43), (0, 85)]),
        ("pytorchvideo", 3, [(0, 0), (0, 43), (0, 85)]),
        ("videoctx", 3, [(0, 0), (0, 42), (0, 85)]),
        ("nonlocal", 1, [(0, 42)]),
        ("mmaction2", 1, [(0, 42)]),
        ("pyslowfast", 1, [(0, 43)]),
        ("pytorchvideo", 1, [(0, 43)]),
        ("torchvision", 1, [(0, 42)]),  # round(42.5) is the even one
        ("tsm", 1, [(0, 42)]),
    ],
)
def test_crop_corners_computed_by_hand(name, num_crops, corners):
    corner = CORNERS[PROTOCOLS[name].crops]
    assert [corner(256, 341, 256, crop, num_crops) for crop in range(num_crops)] == corners
    assert [corner(341, 256, 256, crop, num_crops) for crop in range(num_crops)] == [pair[::-1] for pair in corners]


# Resizing -------------------------------------------------------------------------------------------------------------

MEAN, STD = (0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989)
FRAME_SIZES = [(120, 200), (256, 300), (90, 160), (170, 128)]  # another is halved exactly, enlarged, or portrait


def random_frames(height, width):
    return torch.randint(0, 256, (9, height, width, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def view_of(frames, protocol, *, short_side_px=128, crop_size_px=112):
    """Return the view (3, T, 112, 112) that a test makes of frames (T, H, W, 3)."""
    transform = ViewTransform(
        crop_size_px=crop_size_px,
        resizing=resizing(protocol, short_side_px=short_side_px),
        num_crops=1,
        normalize=Normalize(MEAN, STD),
        crops=PROTOCOLS[protocol].crops,
    )
    video = DecodedVideo("a.mp4", 0, 0, 0, frames, torch.arange(len(frames))[None], [0])
    return transform(DecodedBatch([video]), num_clips=1).clips[0:1][0]


def normalized(frames):
    """Return frames (3, T, H, W) in [0, 1] as network input."""
    mean, std = (torch.tensor(values)[:, None, None, None] for values in (MEAN, STD))
    return (frames - mean) / std


@each_case("size", FRAME_SIZES)
def test_view_equals_torchvisions_preset(size):
    """The training scripts of torchvision convert to floats before its preset; the preset of its weights does not."""
    frames = random_frames(*size)
    expected = VideoClassification(crop_size=(112, 112), resize_size=(128, 171))(frames.permute(0, 3, 1, 2) / 255)
    torch.testing.assert_close(view_of(frames, "torchvision"), expected, rtol=0, atol=1e-5)


@each_case("protocol", ["pytorchvideo", "pyslowfast"])
@each_case("size", FRAME_SIZES)
def test_view_equals_that_of_pytorchvideo(protocol, size):
    """PySlowFast's resizing is the same call of torch, after it has normalized, which makes no difference."""
    frames, functional = random_frames(*size), pytorchvideo_functional()
    resized = functional.short_side_scale(frames.permute(3, 0, 1, 2) / 255, 128)  # (3, T, h, w)
    cropped = functional.uniform_crop(resized, 112, 1)
    torch.testing.assert_close(view_of(frames, protocol), normalized(cropped), rtol=0, atol=1e-5)
    after = functional.uniform_crop(
        functional.short_side_scale(normalized(frames.permute(3, 0, 1, 2) / 255), 128), 112, 1
    )
    torch.testing.assert_close(view_of(frames, protocol), after, rtol=0, atol=1e-5)


@each_case("protocol", ["nonlocal", "mmaction2"])
@each_case("size", [(16, 24), (20, 30), (12, 17)])
def test_resized_bytes_are_rounded_once(protocol, size):
    """Compare with loops. Where both sides are halved, a pixel is (a + b + c + d + 2) // 4, as in OpenCV."""
    frames = random_frames(*size)[:1]
    (resized,) = resizing(protocol, short_side_px=8).resize(frames)
    height, width = resized.shape[1:]
    assert resized.dtype == torch.uint8
    for row in range(height):
        for column in range(width):
            y, x = (row + 0.5) * size[0] / height - 0.5, (column + 0.5) * size[1] / width - 0.5
            value = np.zeros(3)
            for near_y, near_x in itertools.product(
                (math.floor(y), math.floor(y) + 1), (math.floor(x), math.floor(x) + 1)
            ):
                weight = (1 - abs(y - near_y)) * (1 - abs(x - near_x))
                inside = min(max(near_y, 0), size[0] - 1), min(max(near_x, 0), size[1] - 1)
                value += weight * frames[0, inside[0], inside[1]].numpy()
            assert np.abs(resized[:, row, column].numpy() - value).max() <= 0.5 + 1e-3, (row, column)
    if size == (16, 24):
        cells = frames[0].int().reshape(8, 2, 12, 2, 3).sum(dim=(1, 3))
        assert torch.equal(resized.permute(1, 2, 0).int(), (cells + 2) // 4)


@each_case("protocol", PROTOCOLS)
def test_frames_of_the_size_already_are_not_changed(protocol):
    frames = random_frames(128, 171)
    assert resizing(protocol, short_side_px=128).resize(frames).dtype == torch.uint8


def test_unsupported_number_of_crops_is_refused():
    with pytest.raises(ValueError, match=r"3 crops per clip; expected 1 with data.test.crops middle_rounded, or even"):
        check_num_crops("middle_rounded", 3)
    with pytest.raises(ValueError, match=r"2 crops per clip; expected 1 or 3 with data.test.crops middle_up, or even"):
        check_num_crops("middle_up", 2)
    check_num_crops("even", 5)
    with pytest.raises(ValueError, match=r"5 crops per clip; expected 1 or 3 or 10 with data.test.crops stepped, or"):
        check_num_crops("stepped", 5)


def test_five_and_ten_crops_computed_by_hand():
    """`TenCrop` of mmaction2, `GroupOverSample` of TSM: 341 - 224 = 117, 117 // 4 = 29; 256 - 224 = 32, 32 // 4 = 8."""
    five = [(0, 0), (0, 116), (16, 58), (32, 0), (32, 116)]
    assert [find_crop("quarters", 256, 341, 224, crop, 5) for crop in range(5)] == [(*at, False) for at in five]
    for crops in ("quarters", "stepped"):
        ten = [find_crop(crops, 256, 341, 224, crop, 10) for crop in range(10)]
        assert ten == [(*at, flipped) for at in five for flipped in (False, True)]


def test_every_second_of_ten_crops_is_flipped():
    frames = random_frames(40, 56)
    transform = ViewTransform(
        crop_size_px=32,
        resizing=resizing("mmaction2", short_side_px=40),
        num_crops=10,
        normalize=Normalize((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
        crops="stepped",
    )
    positions = torch.arange(len(frames))[None]
    video = DecodedVideo(path="", row=0, label=0, seed=0, frames=frames, clips=positions, starts=[0])
    views = transform(DecodedBatch([video]), num_clips=1).clips[:]
    assert torch.equal(views[1::2], views[::2].flip(-1))
    center = frames[:, 4:36, 12:44].permute(3, 0, 1, 2) / 255
    torch.testing.assert_close(views[4], center)


def test_crops_of_tsm_computed_by_hand():
    """341 - 256 = 85 columns are left, in steps of 21: left, right, middle; also of a portrait frame."""
    corner = CORNERS["quarters"]
    assert [corner(256, 341, 256, crop, 3) for crop in range(3)] == [(0, 0), (0, 84), (0, 42)]
    assert [corner(341, 256, 256, crop, 3) for crop in range(3)] == [(42, 0)] * 3
    assert corner(256, 341, 224, 0, 1) == (16, 58)  # round(58.5)


@each_case("name", ["pyslowfast", "pytorchvideo", "torchvision"])
def test_unknown_frame_rate_is_an_error(name):
    with pytest.raises(UnknownFrameRateError, match="frame rate is not known"):
        clips(name, 100, 0.0, 4, 2, 2)
