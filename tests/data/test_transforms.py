"""Tests of the transforms from decoded frames to network input.

Most images show the coordinates of their pixels: red is the column, green the row, times a step.
"""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from torchvision.transforms.v2 import ColorJitter, RandAugment, RandomErasing

from tests.each_case import each_case
from videoctx.batch import Failure, View, slices
from videoctx.data.loading.dataset import DecodedBatch, DecodedVideo
from videoctx.data.transforms.normalize import IMAGENET_MEAN, IMAGENET_STD, Normalize
from videoctx.data.transforms.resize import Resizing
from videoctx.data.transforms.train_transform import TrainTransform
from videoctx.data.transforms.view_transform import ViewTransform

AS_PIXELS = Normalize(mean=(0, 0, 0), std=(1 / 255,) * 3)  # leaves 0 … 255 as they are


def coordinates(height, width, step=1):
    """(height, width, 3) uint8: red is step · column, green step · row, blue 77."""
    image = np.full((height, width, 3), 77, np.uint8)
    image[..., 0] = step * np.arange(width)
    image[..., 1] = step * np.arange(height)[:, None]
    return torch.from_numpy(image)


def noise(num_frames, height, width, seed=0):
    """(num_frames, height, width, 3) uint8."""
    return torch.from_numpy(
        np.random.default_rng(seed).integers(0, 256, (num_frames, height, width, 3), dtype=np.uint8)
    )


def video_of(frames, clips, *, seed=0, name="video.mp4", row=0, label=0, starts=None):
    clips = torch.tensor(clips)
    starts = [0] * len(clips) if starts is None else starts
    return DecodedVideo(name, row, label, seed, frames, clips, starts)


def still(image, *, num_clips=1, clip_len=4, **fields):
    """Return a video whose frames are all the same image."""
    frames = image.repeat(clip_len, 1, 1, 1)  # (clip_len, H, W, 3)
    return video_of(frames, [list(range(clip_len))] * num_clips, **fields)


def failed(name="broken.mp4", *, row=0, label=0):
    frames, clips = torch.empty(0, 0, 0, 3, dtype=torch.uint8), torch.empty(0, 0, dtype=torch.int64)
    return DecodedVideo(name, row, label, 0, frames, clips, [], Failure(name, "no video"))


def train_transform(crop_size_px=16, short_side_px=(16, 16), flip_probability=0.0, normalize=AS_PIXELS, **more):
    return TrainTransform(
        crop_size_px=crop_size_px,
        short_side_px=short_side_px,
        flip_probability=flip_probability,
        normalize=normalize,
        **more,
    )


def view_transform(crop_size_px=16, short_side_px=16, num_crops=3, normalize=AS_PIXELS):
    return ViewTransform(
        crop_size_px=crop_size_px,
        resizing=Resizing(short_side_px=short_side_px),
        num_crops=num_crops,
        normalize=normalize,
    )


def steps(clip):
    """Return the increase of red per column and of green per row in a (3, T, H, W) clip of `coordinates`."""
    inner = clip[:, :, 2:-2, 2:-2]  # the resizing filter bends the borders
    red, green = inner[0].mean((0, 1)), inner[1].mean((0, 2))
    return tuple(float(np.polyfit(np.arange(len(line)), line.numpy(), 1)[0]) for line in (red, green))


# ---------------------------------------------------------------- normalization


@each_case("num_frames", [1, 2, 3, 4])  # a mean for each of 3 channels also fits 1 or 3 frames
def test_normalizes_by_channel_for_any_number_of_frames(num_frames):
    frames = noise(num_frames, 5, 4).permute(0, 3, 1, 2)  # (T, 3, 5, 4)
    wanted = torch.empty(3, num_frames, 5, 4)
    for channel in range(3):
        for frame in range(num_frames):
            value = frames[frame, channel].float() / 255
            wanted[channel, frame] = (value - IMAGENET_MEAN[channel]) / IMAGENET_STD[channel]
    normalized = Normalize(IMAGENET_MEAN, IMAGENET_STD)(frames)
    assert normalized.dtype == torch.float32
    torch.testing.assert_close(normalized, wanted)


def test_a_std_of_zero_is_refused():
    with pytest.raises(ValueError, match=r"std is \[1, 0, 1\]"):
        Normalize((0, 0, 0), (1, 0, 1))


# ---------------------------------------------------------------- training: random parameters of a clip

RANDOM = train_transform(crop_size_px=16, short_side_px=(18, 24), flip_probability=0.5)


@each_case("size", [(30, 40), (40, 30), (31, 47), (47, 31), (18, 18), (12, 60)])
@each_case("clip_len", [1, 3, 4])
def test_training_clip_has_its_shape_and_equal_parameters_for_all_frames(size, clip_len):
    batch = RANDOM(DecodedBatch([still(noise(1, *size)[0], clip_len=clip_len, seed=seed) for seed in range(5)]))
    assert batch.clips.shape == (5, 3, clip_len, 16, 16)
    assert batch.clips.dtype == torch.float32
    assert batch.clips.is_contiguous() or batch.clips.shape[2] == 1
    for clip in batch.clips:
        assert all(torch.equal(clip[:, 0], clip[:, frame]) for frame in range(clip_len))


def test_frames_keep_their_order():
    frames = noise(3, 16, 16)
    clips = [[2, 0, 0, 1], [1, 1, 2, 0]]
    batch = train_transform()(DecodedBatch([video_of(frames, clips)]))
    torch.testing.assert_close(batch.clips, frames[torch.tensor(clips)].permute(0, 4, 1, 2, 3).float())


def test_every_clip_has_its_own_parameters():
    image = noise(1, 40, 60)[0]
    videos = [still(image, num_clips=3, seed=seed) for seed in range(4)]
    clips = RANDOM(DecodedBatch(videos)).clips
    assert len(clips) == 12
    for one in range(12):
        for other in range(one):
            assert not torch.equal(clips[one], clips[other])


def test_crops_depend_only_on_the_seed_of_the_video():
    image = noise(1, 40, 60)[0]
    torch.manual_seed(0)
    alone = RANDOM(DecodedBatch([still(image, num_clips=2, seed=9)])).clips
    torch.manual_seed(1)
    among = RANDOM(DecodedBatch([still(image, seed=4), failed(), still(image, num_clips=2, seed=9)])).clips
    assert torch.equal(alone, among[1:])
    assert not torch.equal(alone, RANDOM(DecodedBatch([still(image, num_clips=2, seed=10)])).clips)


# ---------------------------------------------------------------- training: crops and flips


@settings(deadline=None, max_examples=50)
@given(
    crop=st.integers(2, 12),
    size=st.tuples(st.integers(0, 20), st.integers(0, 20)),
    seed=st.integers(0, 2**63 - 1),
    flip=st.sampled_from([0.0, 1.0]),
)
def test_training_crop_is_a_part_of_the_image(crop, size, seed, flip):
    height, width = crop + size[0], crop + size[1]
    transform = train_transform(crop, (min(height, width),) * 2, flip)  # the image has this size: nothing is resized
    clip = transform(DecodedBatch([still(coordinates(height, width), seed=seed)])).clips[0].round().int()
    left, top = int(clip[0].min()), int(clip[1].min())
    columns = torch.arange(left, left + crop)
    assert left + crop <= width
    assert top + crop <= height
    assert (clip[0] == (columns.flip(0) if flip else columns)).all()
    assert (clip[1] == torch.arange(top, top + crop)[:, None]).all()
    assert (clip[2] == 77).all()


def test_training_crops_reach_every_position():
    clips = train_transform(16, (18, 18))(DecodedBatch([still(coordinates(18, 20), num_clips=300)])).clips.round()
    assert set(clips[:, 0].amin((1, 2, 3)).tolist()) == {0, 1, 2, 3, 4}
    assert set(clips[:, 1].amin((1, 2, 3)).tolist()) == {0, 1, 2}


@each_case(("probability", "least", "greatest"), [(0, 0, 0), (0.25, 60, 140), (0.5, 150, 250), (1, 400, 400)])
def test_flip_probability(probability, least, greatest):
    batch = train_transform(flip_probability=probability)(DecodedBatch([still(coordinates(16, 16), num_clips=400)]))
    flipped = batch.clips[:, 0, 0, 0, 0] > batch.clips[:, 0, 0, 0, -1]
    assert least <= int(flipped.sum()) <= greatest


@each_case("size", [(40, 80), (80, 40), (41, 67), (67, 41), (40, 40)])
def test_short_side_is_in_its_range_and_aspect_ratio_is_kept(size):
    transform = train_transform(crop_size_px=16, short_side_px=(16, 20))
    clips = transform(DecodedBatch([still(coordinates(*size, step=3), num_clips=60)])).clips
    short_sides = set()
    for clip in clips:
        red, green = steps(clip)  # 3 · (side before) / (side after)
        assert red == pytest.approx(green, rel=0.05)  # the longer side is rounded to whole pixels
        short_side = 3 * min(size) / (green if size[0] <= size[1] else red)
        assert short_side == pytest.approx(round(short_side), abs=0.35)
        short_sides.add(round(short_side))
    assert short_sides == {16, 17, 18, 19, 20}


@each_case(
    ("arguments", "words"),
    [
        ({"crop_size_px": 0, "short_side_px": (8, 8)}, "crop_size_px 0"),
        ({"crop_size_px": 17, "short_side_px": (16, 20)}, "16 to 20 with crop_size_px 17"),
        ({"short_side_px": (20, 18)}, "20 to 18"),
        ({"flip_probability": 1.5}, "flip_probability is 1.5"),
        ({"flip_probability": -0.1}, "flip_probability is -0.1"),
        ({"crop_area": (0.5, 0.4)}, "crop_area is \\[0.5, 0.4\\]"),
        ({"crop_area": (0.0, 1.0)}, "expected 0 < least"),
        ({"crop_area": (0.5, 1.0), "crop_size_px": 0}, "crop_size_px 0"),
    ],
)
def test_bad_training_values_are_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        train_transform(**arguments)


# ---------------------------------------------------------------- training: augmentation

AUGMENTED = {
    "crop_area": {"crop_area": (0.2, 0.9)},
    "augment": {"augment": [RandAugment(num_ops=3, magnitude=20)]},
    "erasing": {"erasing": RandomErasing(p=0.7)},
    "all": {
        "crop_area": (0.2, 0.9),
        "augment": [RandAugment(), ColorJitter(brightness=0.5)],
        "erasing": RandomErasing(p=0.7),
    },
}


@each_case("arguments", AUGMENTED.values())
@each_case("clip_len", [1, 3, 4])
def test_augmentation_is_equal_for_all_frames_of_a_clip(arguments, clip_len):
    transform = train_transform(flip_probability=0.5, **arguments)
    videos = [still(noise(1, 40, 60)[0], clip_len=clip_len, seed=seed) for seed in range(12)]
    clips = transform(DecodedBatch(videos)).clips
    assert clips.shape == (12, 3, clip_len, 16, 16)
    assert clips.dtype == torch.float32
    for clip in clips:
        assert all(torch.equal(clip[:, 0], clip[:, frame]) for frame in range(clip_len))
    assert len({tuple(clip.flatten().tolist()) for clip in clips}) > 8  # each has its own parameters


@each_case("arguments", AUGMENTED.values())
def test_augmentation_depends_only_on_the_seed_and_leaves_torchs_generator(arguments):
    transform, image = train_transform(**arguments), noise(1, 40, 60)[0]
    torch.manual_seed(0)
    alone = transform(DecodedBatch([still(image, num_clips=2, seed=9)])).clips
    following = torch.rand(1)
    torch.manual_seed(1)
    among = transform(DecodedBatch([still(image, seed=4), still(image, num_clips=2, seed=9)])).clips
    assert torch.equal(alone, among[1:])
    torch.manual_seed(0)
    assert torch.equal(following, torch.rand(1))


@each_case("arguments", AUGMENTED.values())
def test_every_augmentation_changes_clips(arguments):
    videos = DecodedBatch([still(noise(1, 16, 16)[0], seed=seed) for seed in range(8)])
    plain, changed = (train_transform(**of)(videos).clips for of in ({}, arguments))
    assert sum(not torch.equal(one, other) for one, other in zip(plain, changed, strict=True)) >= 4


def test_area_crops_show_the_requested_fraction():
    clips = train_transform(32, crop_area=(0.25, 0.5))(
        DecodedBatch([still(coordinates(100, 120), num_clips=80, clip_len=1)])
    ).clips
    areas = []
    for clip in clips:
        red, green = steps(clip)
        areas.append(32 * red * 32 * green / (100 * 120))
        assert 3 / 4 * 0.93 <= red / green <= 4 / 3 * 1.07
    assert 0.22 < min(areas) < 0.3
    assert 0.45 < max(areas) < 0.53


def test_area_crops_ignore_the_short_side():
    train_transform(64, short_side_px=(32, 32), crop_area=(0.5, 1.0))


class Recorded(nn.Module):
    """A transform that keeps its input and returns it."""

    def forward(self, frames):
        self.frames = frames
        return frames


def test_augment_gets_uint8_and_erasing_the_normalized_clip():
    augment, erasing = Recorded(), Recorded()
    batch = DecodedBatch([still(coordinates(16, 16), clip_len=3)])
    normalize = Normalize(IMAGENET_MEAN, IMAGENET_STD)
    clips = train_transform(normalize=normalize, augment=[augment], erasing=erasing)(batch).clips
    assert augment.frames.shape == erasing.frames.shape == (3, 3, 16, 16)  # (T, 3, H, W)
    assert augment.frames.dtype == torch.uint8
    assert torch.equal(augment.frames[0, 0, 0], torch.arange(16, dtype=torch.uint8))
    assert torch.equal(erasing.frames.transpose(0, 1), clips[0])
    assert torch.equal(clips[0], normalize(augment.frames))


def test_erased_region_is_the_mean():
    image = torch.full((16, 16, 3), 255, dtype=torch.uint8)
    normalize = Normalize(IMAGENET_MEAN, IMAGENET_STD)
    transform = train_transform(normalize=normalize, erasing=RandomErasing(p=1, scale=(0.2, 0.2)))
    clip = transform(DecodedBatch([still(image)])).clips[0]
    share = (clip == 0).float().mean().item()
    assert share == pytest.approx(0.2, abs=0.05)


# ---------------------------------------------------------------- labels


def test_multi_label_batch_has_one_row_per_video():
    videos = [still(coordinates(16, 16), label=(True, False, True)), failed(label=(False, False, False))]
    batch = train_transform()(DecodedBatch(videos))
    assert batch.labels.dtype == torch.bool
    assert batch.labels.tolist() == [[True, False, True], [False, False, False]]


# ---------------------------------------------------------------- test views

FRAMES = [noise(6, 20, 33, seed=1), noise(5, 41, 17, seed=2), noise(6, 16, 16, seed=3)]
CLIPS = [[0, 2, 4], [1, 2, 3], [2, 4, 4]]
STARTS = [0, 11, 22]


def view_batch():
    """Return a batch of a landscape video, a failed video, a portrait and a square one."""
    videos = [
        video_of(frames, CLIPS, starts=STARTS, name=f"{index}.mp4", row=10 + index, label=index)
        for index, frames in enumerate(FRAMES)
    ]
    videos.insert(1, failed(row=77, label=5))
    return DecodedBatch(videos)


def view_by_hand(frames, clip, crop, num_crops, *, short_side, size):
    """Return one view, (3, T, size, size) float, of frames that are resized and cropped one by one."""
    height, width = frames.shape[1:3]
    scale = short_side / min(height, width)
    new = (short_side, int(width * scale)) if height <= width else (int(height * scale), short_side)
    room = new[0] - size, new[1] - size
    share = 0.5 if num_crops == 1 else crop / (num_crops - 1)
    top = int(room[0] * share) if height > width else room[0] // 2
    left = int(room[1] * share) if height <= width else room[1] // 2
    images = []
    for index in clip:
        image = frames[index].permute(2, 0, 1)[None].float()  # (1, 3, H, W)
        if new != (height, width):
            image = F.interpolate(image, size=new, mode="bilinear", antialias=True).round().clamp(0, 255)
        images.append(image[0, :, top : top + size, left : left + size])
    return torch.stack(images, dim=1)


@each_case("num_crops", [1, 2, 3])
@each_case(("short_side", "size"), [(16, 16), (16, 12), (24, 20)])
def test_views_equal_a_plain_computation_in_order_of_video_clip_and_crop(num_crops, short_side, size):
    batch = view_transform(size, short_side, num_crops)(view_batch(), num_clips=3)
    assert batch.views == [View(start, crop) for start in STARTS for crop in range(num_crops)] * 3
    assert batch.video.tolist() == [position for position in (0, 2, 3) for _ in range(3 * num_crops)]
    wanted = [
        view_by_hand(frames, clip, crop, num_crops, short_side=short_side, size=size)
        for frames in FRAMES
        for clip in CLIPS
        for crop in range(num_crops)
    ]
    assert len(batch.clips) == len(wanted)
    views = batch.clips[0 : len(wanted)]
    assert views.dtype == torch.float32
    assert (views - torch.stack(wanted)).abs().max() <= 1.01  # uint8 rounding of the resized image


@each_case("size", [1, 4, 7, 27, 100])
def test_slices_of_views_equal_all_views(size):
    clips = view_transform(normalize=Normalize(IMAGENET_MEAN, IMAGENET_STD))(view_batch(), num_clips=3).clips
    assert len(clips) == 27
    parts = [clips[part] for part in slices(len(clips), size)]
    assert [len(part) for part in parts[:-1]] == [size] * (len(parts) - 1)
    assert torch.equal(torch.cat(parts), clips[0:27])


@each_case("size", [(18, 30), (30, 18), (18, 18), (19, 31)])
def test_three_crops_are_the_ends_and_the_middle_of_the_longer_side(size):
    height, width = size
    side = min(size)
    crops = (
        view_transform(16, side, 3)(DecodedBatch([still(coordinates(height, width))]), num_clips=1).clips[0:3].round()
    )
    left, top = crops[:, 0].amin((1, 2, 3)).tolist(), crops[:, 1].amin((1, 2, 3)).tolist()
    along, across, room = (top, left, height - 16) if height > width else (left, top, width - 16)
    assert along == [0, room // 2, room]
    assert across == [(side - 16) // 2] * 3


def test_ten_clips_and_three_crops():
    frames = noise(40, 16, 22)
    clips = [[start, start + 2, start + 4] for start in (0, 4, 8, 12, 16, 20, 24, 28, 32, 35)]
    video = video_of(frames, clips, starts=[clip[0] for clip in clips])
    batch = view_transform(16, 16, 3)(DecodedBatch([video]), num_clips=10)
    assert len(batch.clips) == len(batch.views) == 30
    assert batch.views_expected.tolist() == [30]
    assert batch.views[-1] == View(35, 2)
    views = batch.clips[0:30]
    for clip, positions in enumerate(clips):
        for crop, left in enumerate((0, 3, 6)):
            wanted = frames[positions, :, left : left + 16].permute(3, 0, 1, 2).float()
            torch.testing.assert_close(views[3 * clip + crop], wanted)


class Recorder(Normalize):
    """A normalization that counts its calls."""

    num_calls = 0

    def forward(self, frames):
        self.num_calls += 1
        return super().forward(frames)


def test_frames_are_resized_once_and_views_are_lazy(monkeypatch):
    from videoctx.data.transforms import resize as resizing

    resized = []
    resize = resizing.TF.resize
    monkeypatch.setattr(
        resizing.TF, "resize", lambda frames, *args, **kw: resized.append(len(frames)) or resize(frames, *args, **kw)
    )
    recorder = Recorder((0, 0, 0), (1, 1, 1))
    clips = view_transform(16, 16, 3, recorder)(view_batch(), num_clips=3).clips
    assert resized == [6, 5]  # the third video has the size already
    assert recorder.num_calls == 0
    clips[2:7]
    assert recorder.num_calls == 5
    assert resized == [6, 5]


def test_views_of_a_video_share_memory():
    clips = view_transform(16, 16, 3)(view_batch(), num_clips=3).clips
    storages = [frames.untyped_storage().data_ptr() for frames, _, _ in clips.views]
    assert [len(set(storages[start : start + 9])) for start in (0, 9, 18)] == [1, 1, 1]
    assert len(set(storages)) == 3


@each_case(
    ("arguments", "words"),
    [
        ({"crop_size_px": 17, "short_side_px": 16}, "16 with crop_size_px 17"),
        ({"crop_size_px": 0}, "crop_size_px 0"),
        ({"num_crops": 0}, "num_crops is 0"),
    ],
)
def test_bad_view_values_are_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        view_transform(**arguments)


# ---------------------------------------------------------------- videos of the clips


def test_failed_video_has_no_views_but_counts_as_expected():
    batch = view_transform()(view_batch(), num_clips=3)
    assert len(batch) == 4
    assert batch.views_expected.tolist() == [9, 9, 9, 9]
    assert batch.labels.tolist() == [0, 5, 1, 2]
    assert batch.rows == [10, 77, 11, 12]
    assert batch.paths == ["0.mp4", "broken.mp4", "1.mp4", "2.mp4"]
    assert batch.failures == {1: Failure("broken.mp4", "no video")}
    assert 1 not in batch.video.tolist()


def test_failed_training_video_does_not_move_the_others():
    videos = [
        failed(row=3, label=1),
        still(coordinates(20, 30), label=7, row=8, starts=[13]),
        failed("other.mp4", label=2),
    ]
    batch = train_transform()(DecodedBatch(videos))
    assert batch.clips.shape[0] == 1
    assert batch.video.tolist() == [1]
    assert batch.labels.tolist() == [1, 7, 2]
    assert batch.labels[batch.video].tolist() == [7]
    assert batch.rows == [3, 8, 0]
    assert batch.views == [View(13, 0)]
    assert set(batch.failures) == {0, 2}
    assert batch.failures[2].path == "other.mp4"


@each_case("num_videos", [0, 1, 3])
@each_case("stage", ["train", "test"])
def test_batch_of_failed_videos_has_no_clips(num_videos, stage):
    videos = DecodedBatch([failed(label=index) for index in range(num_videos)])
    batch = train_transform()(videos) if stage == "train" else view_transform()(videos, num_clips=10)
    assert len(batch) == num_videos
    assert len(batch.clips) == len(batch.views) == 0
    assert batch.video.shape == (0,)
    assert batch.video.dtype == batch.labels.dtype == batch.views_expected.dtype == torch.int64
    assert batch.labels.tolist() == list(range(num_videos))
    assert sorted(batch.failures) == list(range(num_videos))
    if stage == "test":
        assert batch.views_expected.tolist() == [30] * num_videos
