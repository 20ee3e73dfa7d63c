"""Tests of the options of clips: each can be set on its own, in training and in test, and reaches the checkpoint."""

import json

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as TF

from tests.each_case import each_case
from tests.numbered import read_number, write_video
from tests.small_preprocessing import small_preprocessing
from tests.something_set import make_something
from videoctx.data.datamodule import VideoDataModule
from videoctx.data.decoding.video_reader import open_video
from videoctx.data.loading.one_video import read_one_video
from videoctx.data.preprocessing import Preprocessing
from videoctx.data.sampling.protocols import PROTOCOLS
from videoctx.data.settings import ClipSettings, LoadingSettings, TestSettings, TrainSettings
from videoctx.data.transforms.normalize import Normalize
from videoctx.data.transforms.random_crop import random_scale
from videoctx.data.transforms.train_transform import TrainTransform

AS_PIXELS = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("video") / "a.mp4", num_frames=200, width=160, height=96)


def views_of(path: str, made: Preprocessing) -> tuple[list[list[int]], torch.Tensor]:
    """Return the frames of each clip, and the views as the network gets them, (views, 3, T, S, S)."""
    sampler = made.sampler()
    batch, indices, _ = read_one_video(
        path, lambda video: sampler.clips(video.num_frames, video.fps, np.random.default_rng(0))
    )
    return indices.tolist(), made.transform()(batch, num_clips=sampler.num_clips).clips[:]


def numbers(views: torch.Tensor) -> list[list[int]]:
    """Return the number that each frame shows, of views that show the whole frame in pixels from 0 to 1."""
    images = (255 * views).round().clamp(0, 255).byte().permute(0, 2, 3, 4, 1).numpy()
    return [[read_number(image) for image in clip] for clip in images]


# Each option --------------------------------------------------------------------------------------------------------


@each_case(
    ("option", "value"),
    [
        ("sampling", "segments"),
        ("grid", "mmaction2"),
        ("target_fps", 12.0),
        ("fixed_size_px", (40, 60)),
        ("long_side", "four_thirds"),
        ("antialias", True),
        ("arithmetic", "rounded"),
        ("crops", "quarters"),
    ],
)
def test_every_option_changes_its_own_value_and_the_views(video, option, value):
    usual = {"protocol": "pyslowfast", "views": (1, 3), "frame_interval": 9}
    made, other = small_preprocessing(**usual), small_preprocessing(**usual | {option: value})
    differing = {name for name, stored in made.as_dict().items() if other.as_dict()[name] != stored}
    # segments have no rate, and mmaction2 none of its own
    assert differing == {option} | ({"target_fps"} if option in ("sampling", "grid") else set())
    before, after = views_of(str(video.path), made), views_of(str(video.path), other)
    assert before[0] != after[0] or not torch.equal(before[1], after[1])
    assert (before[0] != after[0]) == (option in ("sampling", "grid", "target_fps"))
    assert Preprocessing.from_dict(json.loads(json.dumps(other.as_dict()))) == other


@each_case("name", PROTOCOLS)
def test_a_protocol_is_its_options(name):
    """Each set on its own over another protocol is the same as the protocol by name."""
    rules = PROTOCOLS[name]
    options = {field: getattr(rules, field) for field in ("long_side", "antialias", "arithmetic", "crops")}
    by_name = small_preprocessing(protocol=name, views=(1, 1))
    one_by_one = small_preprocessing(
        protocol="nonlocal", grid=rules.grid, head_pooling=rules.head_pooling, views=(1, 1), **options
    )
    assert by_name.as_dict() | {"protocol": "nonlocal"} == one_by_one.as_dict()


@each_case(
    ("changes", "line"),
    [
        ({"sampling": "segments", "protocol": "nonlocal"}, "clips.grid nonlocal has no formula for clips.sampling seg"),
        ({"sampling": "uniform"}, "2 clips per video; expected 1 with clips.sampling uniform, clips.grid videoctx"),
        ({"sampling": "segments", "grid": "tsm", "views": (3, 1)}, "3 clips per video; expected 1 to 2 with clips.sam"),
        ({"sampling": "segments", "target_fps": 30}, "clips.target_fps is 30 with clips.sampling segments"),
        ({"sampling": "sparse"}, "clips.sampling is 'sparse'; expected one of dense, segments, uniform"),
        ({"grid": "trn"}, "clips.grid is 'trn'; expected one of videoctx, nonlocal"),
        ({"crops": "left"}, "test.crops is 'left'; expected one of even, stepped, middle_up, middle_rounded, quarters"),
        ({"long_side": "up"}, "test.long_side is 'up'; expected one of down, "),
        ({"arithmetic": "double"}, "test.arithmetic is 'double'; expected one of bytes, float, rounded"),
        ({"head_pooling": "max"}, "test.head_pooling is 'max'; expected one of whole_map, windows_probabilities"),
        ({"fixed_size_px": (31, 60)}, "test.fixed_size_px is .31, 60. with crop_size_px 32; expected height and width"),
        ({"target_fps": 0}, "target_fps is 0; expected 0.001 to 1000"),
        ({"target_fps": -5}, "target_fps is -5; expected 0.001 to 1000"),
        ({"target_fps": 1e-4}, "target_fps is 0.0001; expected 0.001 to 1000"),
    ],
)
def test_options_that_exclude_each_other_are_refused(changes, line):
    with pytest.raises(ValueError, match=line):
        small_preprocessing(**changes)


@each_case(
    ("changes", "line"),
    [
        (
            {"fixed_size_px": (31, 60)},
            "train.fixed_size_px is .31, 60. with crop_size_px 32; expected height and width",
        ),
        (
            {"fixed_size_px": (32, 60), "crop_area": (0.5, 1)},
            "train.fixed_size_px is .32, 60. and train.crop_area is .0",
        ),
        (
            {"crop_scales": [1.0], "crop_area": (0.5, 1)},
            "train.crop_area is .0.5, 1. and train.crop_scales is .1.0.; e",
        ),
        ({"crop_scales": [1.0, 1.5]}, "train.crop_scales are .1.0, 1.5. with crop_size_px 32; expected each above 0"),
        ({"crop_scales": [0.0]}, "train.crop_scales are .0.0. with crop_size_px 32; expected each above 0 and up to 1"),
    ],
)
def test_training_options_that_exclude_each_other_are_refused(changes, line):
    with pytest.raises(ValueError, match=line):
        TrainSettings(crop_size_px=32, **changes)


@each_case(
    ("changes", "line"),
    [
        ({"mean": (123.675, 116.28, 103.53)}, r"mean is \[123.675, .*; expected each 0 to 1; those .* divided by 255"),
        ({"mean": (-0.1, 0.5, 0.5)}, r"mean is \[-0.1, 0.5, 0.5\]; expected each 0 to 1$"),
        ({"mean": (float("nan"), 0.5, 0.5)}, r"mean is \[nan, 0.5, 0.5\]; expected each 0 to 1$"),
        ({"std": (58.395, 57.12, 57.375)}, r"std is \[58.395, .*; expected each above 0 and up to 1; .* by 255"),
        ({"std": (0.2, 0.2, 0.0)}, r"std is \[0.2, 0.2, 0.0\]; expected each above 0 and up to 1$"),
    ],
)
def test_colors_of_another_scale_are_refused(changes, line):
    with pytest.raises(ValueError, match=line):
        ClipSettings(**changes)


def test_a_stored_value_of_another_version_is_refused():
    stored = small_preprocessing().as_dict()
    with pytest.raises(ValueError, match="crops is 'left'; expected one of even"):
        Preprocessing.from_dict(stored | {"crops": "left"})


# The case that a protocol has no name for ---------------------------------------------------------------------------


def test_sixteen_even_frames_in_a_fixed_size(video):
    """16 evenly spaced frames of the whole video, resized to 128 × 171, the central 112 pixels."""
    made = small_preprocessing(
        sampling="uniform", clip_len=16, fixed_size_px=(128, 171), crop_size_px=112, views=(1, 1), **AS_PIXELS
    )
    frames, views = views_of(str(video.path), made)
    assert frames == [[199 * k // 15 for k in range(16)]]
    with open_video(str(video.path)) as reader:
        decoded = torch.from_numpy(reader.read(np.array(frames[0]))).permute(0, 3, 1, 2)  # (16, 3, 96, 160)
    resized = TF.resize(decoded, [128, 171], antialias=True)
    expected = resized[:, :, 8:120, 29:141].transpose(0, 1) / 255
    torch.testing.assert_close(views, expected[None], rtol=0, atol=1e-6)


def test_training_frames_are_brought_to_the_fixed_size(video):
    transform = TrainTransform(
        crop_size_px=48,
        short_side_px=(256, 320),
        fixed_size_px=(48, 48),
        flip_probability=0.0,
        normalize=Normalize(*AS_PIXELS.values()),
    )
    batch, indices, _ = read_one_video(str(video.path), lambda *_: np.array([[5, 50, 190]]))
    clips = transform(batch).clips
    assert clips.shape == (1, 3, 3, 48, 48)
    assert numbers(clips) == indices.tolist()  # the whole frame, 96 × 160, without its aspect ratio
    batch.videos[0].crop_size_px = 24  # multigrid: a smaller frame
    assert numbers(transform(batch).clips) == indices.tolist()


# A set as Something-Something -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def something(tmp_path_factory):
    return make_something(tmp_path_factory.mktemp("something"))


def something_data(manifest, grid, *, views=(1, 1), sampling="segments"):
    return VideoDataModule(
        str(manifest),
        batch_size=4,
        test_split="val",
        clips=ClipSettings(clip_len=8, sampling=sampling, grid=grid, **AS_PIXELS),
        train=TrainSettings(crop_size_px=48, fixed_size_px=(48, 48), flip_probability=0.0, clips_per_video=40),
        test=TestSettings(views=views, fixed_size_px=(48, 48), crop_size_px=48, batch_size=3),
        loading=LoadingSettings(num_workers=0),
    )


@each_case("grid", ["tsm", "pyslowfast", "videoctx"])
def test_training_takes_a_random_frame_of_each_part(something, grid):
    (batch,) = list(something_data(something, grid).train_dataloader())
    by_video = np.split(np.array(numbers(batch.clips)), len(batch.rows))
    seen = dict(zip(batch.rows, by_video, strict=True))
    for row, num_frames in enumerate([60, 37, 24]):
        clips = seen[row]  # (40, 8)
        edges = {
            "tsm": num_frames // 8 * np.arange(9),
            "videoctx": np.arange(9) * num_frames // 8,
            "pyslowfast": np.round((num_frames - 1) / 8 * np.arange(9)),
        }[grid]
        assert (clips >= edges[:-1]).all()
        assert (clips <= edges[1:] - (grid != "pyslowfast")).all()
        assert (clips.min(0) < clips.max(0)).all()  # random
    assert seen[3].max() == (0 if grid == "tsm" else 4)  # 5 frames for 8 parts
    assert (np.diff(seen[3]) >= 0).all()


@each_case(
    ("grid", "views", "expected"),
    [
        # 7.5 frames in a part: 3.75 + 7.5 i, then 7.5 i; 23 frames: 1.4375 + 2.875 i, 2.875 i
        (
            "tsm",
            (2, 1),
            [
                [3, 11, 18, 26, 33, 41, 48, 56],
                [0, 7, 15, 22, 30, 37, 45, 52],
                [1, 4, 7, 10, 12, 15, 18, 21],
                [0, 2, 5, 8, 11, 14, 17, 20],
                [0, 0, 1, 2, 2, 3, 4, 4],
                [0, 0, 1, 1, 2, 3, 3, 4],
            ],
        ),
        # edges 0, 7, 15, 22, 30 (29.5), 37, 44, 52, 59; of 23 frames 0, 3, 6 (5.5), 8, 11, 14, 16 (16.5), 19, 22
        (
            "pyslowfast",
            (1, 1),
            [[3, 11, 18, 26, 33, 40, 48, 55], [1, 4, 7, 9, 12, 15, 17, 20], [0, 0, 1, 2, 2, 2, 3, 4]],
        ),
    ],
)
def test_test_takes_the_frames_of_the_formula(something, grid, views, expected):
    (batch,) = list(something_data(something, grid, views=views).test_dataloader())
    assert numbers(batch.clips[:]) == expected
    assert [view.start_frame for view in batch.views] == [clip[0] for clip in expected]


def test_the_card_and_the_checkpoint_name_the_values_in_effect(something):
    data = something_data(something, "tsm")
    data.test_dataloader()
    card = data.card("test")
    assert (card["sampling"], card["grid"], card["clip_placement"]) == ("segments", "tsm", "part_middle_then_start")
    assert (card["fixed_size_px"], card["crops"], card["head_pooling"]) == ([48, 48], "even", "whole_map")
    assert {name: card[name] for name in data.preprocessing_dict()} == data.preprocessing_dict()


# Multi-scale crops ----------------------------------------------------------------------------------------------------


def test_multi_scale_crops_have_each_size_at_each_place():
    """TSM, a frame of 240 × 320: two neighbors of 240, 210, 180 and 158; 13 places, in quarters of the rest."""
    rng = np.random.default_rng(0)
    found = {random_scale(240, 320, 224, [1.0, 0.875, 0.75, 0.66], rng) for _ in range(6000)}
    sizes = [(240, 240), (240, 210), (210, 240), (210, 210), (210, 180), (180, 210), (180, 180), (180, 158), (158, 180)]
    places = [(0, 0), (0, 2), (0, 4), (2, 0), (2, 2), (2, 4), (4, 0), (4, 2), (4, 4), (1, 1), (1, 3), (3, 1), (3, 3)]
    expected = {
        (row * ((240 - height) // 4), column * ((320 - width) // 4), height, width)
        for height, width in [*sizes, (158, 158)]
        for row, column in places
    }
    assert found == expected


@each_case(("short_side", "side"), [(226, 224), (222, 222), (227, 227), (224, 224)])
def test_a_side_near_that_of_the_crop_is_that_of_the_crop(short_side, side):
    assert random_scale(short_side, 300, 224, [1.0], np.random.default_rng(0))[2:] == (side, side)


def test_multi_scale_crops_are_resized_to_the_crop(video):
    transform = TrainTransform(
        crop_size_px=48,
        short_side_px=(256, 320),
        crop_scales=[0.5],
        flip_probability=0.0,
        normalize=Normalize(*AS_PIXELS.values()),
    )
    batch, _, _ = read_one_video(str(video.path), lambda *_: np.array([[5, 50]]))
    clips = transform(batch).clips
    assert clips.shape == (1, 3, 2, 48, 48)
    frames = batch.videos[0].frames.permute(3, 0, 1, 2) / 255  # (3, 2, 96, 160)
    corners = [(12 * row, 28 * column) for row in range(5) for column in range(5)]  # 48 × 48 as they are
    cut = [frames[:, :, top : top + 48, left : left + 48] for top, left in corners]
    assert any(torch.allclose(clips[0], one, atol=1e-6) for one in cut)
