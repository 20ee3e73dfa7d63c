"""From decoded frames to clips on a GPU."""

import pytest
import torch

from videoctx.data.decoding.yuv_frames import YuvColors, rgb_by_torch
from videoctx.data.loading.dataset import DecodedBatch, DecodedVideo
from videoctx.data.transforms.normalize import IMAGENET_MEAN, IMAGENET_STD, Normalize
from videoctx.data.transforms.resize import Resizing
from videoctx.data.transforms.train_transform import TrainTransform
from videoctx.data.transforms.view_transform import ViewTransform

pytestmark = pytest.mark.cuda

NORMALIZE = Normalize(IMAGENET_MEAN, IMAGENET_STD)


def batch() -> DecodedBatch:
    """Six videos of two sizes, of which every other one is in planes."""
    generator = torch.Generator().manual_seed(0)
    videos = []
    for seed, (height, width) in enumerate([(40, 60), (72, 48), (40, 60)]):
        frames = torch.randint(0, 256, (6, height, width, 3), dtype=torch.uint8, generator=generator)
        clips = torch.tensor([[0, 1, 3], [2, 4, 5]])
        videos.append(DecodedVideo(f"{seed}.mp4", seed, seed, seed, frames, clips, [0, 2]))
        planes = torch.randint(0, 256, (6, height * 3 // 2, width), dtype=torch.uint8, generator=generator)
        colors = YuvColors(matrix=1 + seed * 4, full_range=seed == 1)
        videos.append(DecodedVideo(f"{seed}.mp4", seed, seed, seed, planes, clips, [0, 2], colors=colors))
    return DecodedBatch(videos)


def test_training_clips_are_those_of_the_cpu(device):
    transform = TrainTransform(crop_size_px=32, short_side_px=(36, 48), flip_probability=0.5, normalize=NORMALIZE)
    expected, found = transform(batch()), transform(batch().to(device))
    assert found.clips.device.type == device.type
    level = 1 / 255 / min(IMAGENET_STD)
    torch.testing.assert_close(found.clips.float().cpu(), expected.clips.float(), rtol=0, atol=1.01 * level)


def test_views_are_those_of_the_cpu(device):
    transform = ViewTransform(crop_size_px=32, resizing=Resizing(short_side_px=36), num_crops=3, normalize=NORMALIZE)
    expected, found = (transform(videos, num_clips=2).clips[:] for videos in (batch(), batch().to(device)))
    torch.testing.assert_close(found.cpu(), expected, rtol=0, atol=1.01 / 255 / min(IMAGENET_STD))


def test_planes_become_the_rgb_of_the_cpu(device):
    for video in batch().videos[1::2]:
        expected, found = (rgb_by_torch(frames, video.colors) for frames in (video.frames, video.frames.to(device)))
        assert torch.equal(found.cpu(), expected)


def test_frames_in_page_locked_memory_are_not_copied_again(cuda):
    pinned = batch().pin_memory()
    assert all(video.frames.is_pinned() for video in pinned.videos)
    again = pinned.pin_memory()
    assert [v.frames.data_ptr() for v in again.videos] == [v.frames.data_ptr() for v in pinned.videos]
    moved = pinned.to(cuda, non_blocking=True)
    torch.cuda.synchronize()
    for ours, theirs in zip(moved.videos, batch().videos, strict=True):
        assert torch.equal(ours.frames.cpu(), theirs.frames)
