"""All clips of a batch, resampled together: torchvision's pixels, in a dozen kernels."""

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.transforms.v2 import RandomErasing, RandomHorizontalFlip, RandomResizedCrop
from torchvision.transforms.v2 import functional as TF

from tests.each_case import each_case
from videoctx.batch import Failure
from videoctx.data.decoding.yuv_frames import YuvColors
from videoctx.data.loading.dataset import DecodedBatch, DecodedVideo, packed
from videoctx.data.transforms import batch_resampling
from videoctx.data.transforms.batch_resampling import Crop, resample
from videoctx.data.transforms.normalize import IMAGENET_MEAN, IMAGENET_STD, Normalize
from videoctx.data.transforms.random_crop import random_area
from videoctx.data.transforms.train_transform import TrainTransform

LEVEL = 1 / 255 / min(IMAGENET_STD)  # of a normalized pixel
CLIP_LEN = 3


def frames_of(height: int, width: int, *, seed: int = 0, num_frames: int = 5) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (num_frames, height, width, 3), dtype=torch.uint8, generator=generator)


# (height, width) of the frames, and of the frames after resizing; side of the crop
RESIZED = [
    ((48, 64), (60, 80), 32),  # larger
    ((48, 64), (48, 64), 32),  # as it is
    ((64, 48), (53, 40), 32),  # smaller
    ((120, 90), (40, 30), 30),  # much smaller, and the crop is as wide as the frame
]


@each_case("flip", [False, True])
@each_case(("shape", "resized", "size"), RESIZED)
def test_a_crop_of_resized_frames_is_torchvision_s(shape, resized, size, flip):
    frames, positions = frames_of(*shape), np.array([4, 0, 2])
    floats = frames[positions].permute(0, 3, 1, 2).float()
    scales = [side / after for side, after in zip(shape, resized, strict=True)]
    for u in (0.0, 0.4, 1.0):
        corner = [int(u * (side - size)) for side in resized]
        whole = TF.resize(floats, list(resized), antialias=True)
        expected = TF.crop(whole, *corner, size, size)
        crop = Crop(
            frames,
            positions,
            (corner[0] * scales[0], corner[1] * scales[1]),
            (size * scales[0], size * scales[1]),
            (0, shape[0], 0, shape[1]),
            flip,
        )
        (found,) = resample([crop], size)
        torch.testing.assert_close(
            found.transpose(0, 1), TF.horizontal_flip(expected) if flip else expected, rtol=0, atol=0.02
        )


@each_case("area", [(5, 7, 20, 30), (0, 0, 48, 64), (30, 40, 18, 24), (10, 10, 8, 8)])
def test_an_area_that_is_resized_is_torchvision_s(area):
    top, left, height, width = area
    frames, positions = frames_of(48, 64), np.arange(CLIP_LEN)
    floats = frames[:CLIP_LEN].permute(0, 3, 1, 2).float()
    expected = TF.resized_crop(floats, *area, [24, 24], antialias=True)
    crop = Crop(frames, positions, (top, left), (height, width), (top, top + height, left, left + width))
    torch.testing.assert_close(resample([crop], 24)[0].transpose(0, 1), expected, rtol=0, atol=0.02)


def test_videos_of_all_sizes_are_resampled_as_each_alone(monkeypatch):
    monkeypatch.setitem(batch_resampling.CLIPS_AT_ONCE, "cpu", 3)
    crops = [
        Crop(frames_of(h, w, seed=seed), np.arange(CLIP_LEN), (1, 2), (h - 3, w - 4), (0, h, 0, w), bool(seed % 2))
        for seed, (h, w) in enumerate([(40, 30), (24, 24), (200, 160), (36, 50), (24, 28), (30, 40)])
    ]
    together = resample(crops, 16, mean=IMAGENET_MEAN, std=IMAGENET_STD)
    assert together.shape == (6, 3, CLIP_LEN, 16, 16)
    for clip, crop in zip(together, crops, strict=True):
        torch.testing.assert_close(clip, resample([crop], 16, mean=IMAGENET_MEAN, std=IMAGENET_STD)[0])


def test_half_precision_is_within_half_a_level(monkeypatch):
    """On a GPU the products are in float16; here a CPU computes them so."""
    crops = [
        Crop(frames_of(48, 64, seed=seed), np.arange(CLIP_LEN), (3, 4), (30, 40), (0, 48, 0, 64)) for seed in range(3)
    ]
    expected = resample(crops, 32)
    monkeypatch.setattr(batch_resampling, "compute_type", lambda *_: torch.float16)
    assert (resample(crops, 32) - expected).abs().max() < 0.5


def videos(*, crop_size_px=None, num_frames=5) -> DecodedBatch:
    """Videos of several sizes with two clips each, and one that could not be read."""
    made = []
    for seed, (height, width) in enumerate([(48, 64), (64, 48), (48, 64), (50, 50)]):
        frames, clips = frames_of(height, width, seed=seed, num_frames=num_frames), torch.tensor([[0, 1, 3], [4, 4, 2]])
        made.append(DecodedVideo(f"{seed}.mp4", seed, seed, seed, frames, clips, [0, 2], crop_size_px=crop_size_px))
    nothing = torch.empty(0, 0, 0, 3, dtype=torch.uint8), torch.empty(0, 0, dtype=torch.int64)
    made.insert(2, DecodedVideo("bad.mp4", 9, 1, 0, *nothing, [], Failure("bad.mp4", "empty")))
    return DecodedBatch(made)


def transform(**arguments) -> TrainTransform:
    given = {"crop_size_px": 32, "short_side_px": (36, 60), "flip_probability": 0.5}
    return TrainTransform(**given | {"normalize": Normalize(IMAGENET_MEAN, IMAGENET_STD)} | arguments)


class Darker(torch.nn.Module):
    """Needs bytes, as torchvision's own augmentation does."""

    def forward(self, frames):
        assert frames.dtype == torch.uint8
        assert frames.shape[1] == 3
        return frames // 2


@each_case(
    "arguments",
    [
        {},
        {"crop_area": (0.2, 1.0)},
        {"augment": [RandomHorizontalFlip(0.5), Darker()]},
        {"erasing": RandomErasing(p=0.7)},
        {"augment": [Darker()], "erasing": RandomErasing(p=0.7), "crop_area": (0.5, 1.0)},
    ],
)
def test_clips_made_together_are_those_made_one_by_one(arguments):
    alone, together = (transform(**arguments, together=together)(videos()) for together in (False, True))
    assert alone.views == together.views
    assert alone.rows == together.rows
    assert alone.video.tolist() == together.video.tolist()
    assert alone.clips.shape == together.clips.shape == (8, 3, 3, 32, 32)
    torch.testing.assert_close(together.clips, alone.clips, rtol=0, atol=1.05 * LEVEL)  # one rounds, one does not
    assert (together.clips - alone.clips).abs().mean() < 0.3 * LEVEL


def test_smaller_crops_of_multigrid_are_made_together():
    alone, together = (transform(together=together)(videos(crop_size_px=16)).clips for together in (False, True))
    assert together.shape == (8, 3, 3, 16, 16)
    torch.testing.assert_close(together, alone, rtol=0, atol=1.05 * LEVEL)


def test_flips_swap_labels_of_clips_made_together():
    alone, together = (
        transform(together=together, flipped_classes=[1, 0, 2, 3])(videos()).swapped_labels
        for together in (False, True)
    )
    assert alone.tolist() == together.tolist()
    assert alone.tolist() != [0, 0, 1, 1, 2, 2, 3, 3]


def test_clips_are_in_the_layout_and_type_of_the_network():
    clips = transform(together=True, dtype=torch.bfloat16)(videos()).clips
    assert clips.dtype == torch.bfloat16
    assert clips.is_contiguous(memory_format=torch.channels_last_3d)
    expected = transform(together=True)(videos()).clips
    torch.testing.assert_close(clips.float(), expected, rtol=2**-8, atol=1e-6)
    assert transform(together=False, dtype=torch.bfloat16)(videos()).clips.dtype == torch.bfloat16


class Kernels(TorchDispatchMode):
    """The operators that do work: neither views nor allocations."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function._schema.name.removeprefix("aten::")
        if not function.is_view and name not in ("empty", "set_", "detach", "_unsafe_view", "lift_fresh"):
            self.names.append(name)
        return function(*args, **(kwargs or {}))


@each_case(("colors", "most"), [(None, 12), (YuvColors(1, full_range=False), 24)])
def test_a_batch_takes_a_dozen_kernels_and_planes_take_two(monkeypatch, colors, most):
    monkeypatch.setitem(batch_resampling.CLIPS_AT_ONCE, "cpu", 256)
    frames = [frames_of(48, 64, seed=seed) for seed in range(16)]
    if colors is not None:
        frames = [video[..., 0].repeat(1, 2, 1)[:, :72] for video in frames]
    frames = packed(frames, torch.device("cpu"))
    crops = [
        Crop(video, np.arange(CLIP_LEN), (number, 2), (30 - number, 36), (0, 48, 0, 64), colors=colors)
        for number, video in enumerate(frames)
    ]
    with Kernels() as kernels:
        resample(crops, 24, mean=IMAGENET_MEAN, std=IMAGENET_STD)
    assert len(kernels.names) <= most, kernels.names
    assert kernels.names.count("bmm") == 2
    assert kernels.names.count("index_select") == (1 if colors is None else 2)


def test_areas_have_the_distribution_of_torchvision_s():
    reference = RandomResizedCrop(8, scale=(0.1, 0.8))
    frames, rng = torch.empty(3, 90, 120), np.random.default_rng(0)
    theirs = [reference.make_params([frames]) for _ in range(1500)]
    theirs = np.array([[found[name] for name in ("top", "left", "height", "width")] for found in theirs])
    ours = np.array([random_area(90, 120, (0.1, 0.8), rng) for _ in range(1500)])
    for name, values in {
        "area": lambda area: area[:, 2] * area[:, 3],
        "ratio": lambda area: area[:, 3] / area[:, 2],
        "top": lambda area: area[:, 0],
        "left": lambda area: area[:, 1],
    }.items():
        assert ks_2samp(values(ours), values(theirs)).pvalue > 1e-3, name


@each_case(("height", "width"), [(10, 400), (400, 10), (1, 1)])
def test_an_area_lies_in_frames_of_any_shape(height, width):
    for seed in range(50):
        top, left, of_height, of_width = random_area(height, width, (0.9, 1.0), np.random.default_rng(seed))
        assert 0 <= top <= top + of_height <= height
        assert 0 <= left <= left + of_width <= width
        assert of_height >= 1
        assert of_width >= 1


def test_a_batch_on_its_device_is_one_buffer_and_is_not_copied_again():
    batch = videos()
    assert batch.to(torch.device("cpu")) is batch
    frames = [video.frames for video in batch.videos]
    copies = packed(frames, torch.device("cpu"))
    assert len({copy.untyped_storage().data_ptr() for copy in copies}) == 1
    for copy, original in zip(copies, frames, strict=True):
        assert torch.equal(copy, original)
    assert packed([], torch.device("cpu")) == []


@pytest.mark.parametrize("num_videos", [0, 1])
def test_a_batch_without_readable_videos_has_no_clips(num_videos):
    batch = DecodedBatch([video for video in videos().videos if video.failure][:num_videos])
    assert len(transform(together=True)(batch).clips) == 0
