"""From decoded videos to network input, on the device that the network runs on.

Workers send uint8 frames; resizing, cropping, flipping and normalising happen here, in (T, C, H, W). Every
clip of a batch draws its own parameters, all frames of a clip share them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.transforms.v2 import functional as TF

from videoctx.batch import ClipBatch, View
from videoctx.data.clips import DecodedBatch, DecodedVideo
from videoctx.data.sampling import crop_corner

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Normalize(nn.Module):
    """(T, 3, H, W) uint8 → (3, T, H, W) float: (x / 255 - mean) / std for each channel."""

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.mean = tuple(mean)
        self.std = tuple(std)

    def forward(self, frames: Tensor) -> Tensor:
        frames = TF.to_dtype(frames, torch.float32, scale=True)
        return TF.normalize(frames, self.mean, self.std).transpose(0, 1)  # (3, T, H, W)


class TrainTransform(nn.Module):
    """Short side at random in a range, a random square, a random flip.

    Args:
        crop_size_px: side of the square.
        short_side_px: least and greatest length of the short side before the crop.
        flip_probability: of a horizontal flip; 0 where left and right tell classes apart.
    """

    def __init__(
        self,
        *,
        crop_size_px: int,
        short_side_px: tuple[int, int],
        flip_probability: float,
        normalize: Normalize,
    ) -> None:
        super().__init__()
        least, greatest = short_side_px
        if not 1 <= crop_size_px <= least <= greatest:
            raise ValueError(
                f"short_side_px is {least} to {greatest} with crop_size_px {crop_size_px};"
                " expected crop_size_px <= least <= greatest"
            )
        if not 0 <= flip_probability <= 1:
            raise ValueError(f"flip_probability is {flip_probability}; expected 0 to 1")
        self.crop_size_px = crop_size_px
        self.short_side_px = short_side_px
        self.flip_probability = flip_probability
        self.normalize = normalize

    def forward(self, batch: DecodedBatch) -> ClipBatch:
        videos = [video for video in batch.videos if video.failure is None]
        clips = [self._clip(video, clip) for video in videos for clip in range(len(video.clips))]
        views = [View(start, 0) for video in videos for start in video.starts]
        return ClipBatch(
            clips=torch.stack(clips) if clips else torch.empty(0),  # (S, 3, T, H, W)
            views=views,
            **_bookkeeping(batch, views_per_video=len(views) // max(len(videos), 1)),
        )

    def _clip(self, video: DecodedVideo, clip: int) -> Tensor:
        rng = np.random.default_rng((video.seed, clip))
        short_side = int(rng.integers(self.short_side_px[0], self.short_side_px[1] + 1))
        where, flip = rng.random(2), rng.random() < self.flip_probability
        frames = _resize(video.frames[video.clips[clip]], short_side)  # (T, 3, H, W)
        top, left = (int(u * (size - self.crop_size_px + 1)) for u, size in zip(where, frames.shape[2:], strict=True))
        frames = TF.crop(frames, top, left, self.crop_size_px, self.crop_size_px)
        return self.normalize(TF.horizontal_flip(frames) if flip else frames)  # (3, T, H, W)


class ViewTransform(nn.Module):
    """Short side to a fixed length, then `num_crops` fixed squares of every clip, cut out only when asked for."""

    def __init__(self, *, crop_size_px: int, short_side_px: int, num_crops: int, normalize: Normalize) -> None:
        super().__init__()
        if not 1 <= crop_size_px <= short_side_px:
            raise ValueError(
                f"the test's short side is {short_side_px} with crops of {crop_size_px}; expected crop <= short side"
            )
        if num_crops < 1:
            raise ValueError(f"num_crops is {num_crops}; expected 1 or more")
        self.crop_size_px = crop_size_px
        self.short_side_px = short_side_px
        self.num_crops = num_crops
        self.normalize = normalize

    def forward(self, batch: DecodedBatch, *, num_clips: int) -> ClipBatch:
        videos = [video for video in batch.videos if video.failure is None]
        clips = LazyViews([], self.crop_size_px, self.normalize)
        views = []
        for video in videos:
            frames = _resize(video.frames, self.short_side_px)  # (U, 3, H, W), each distinct frame once
            for start, positions in zip(video.starts, video.clips, strict=True):
                for crop in range(self.num_crops):
                    corner = crop_corner(*frames.shape[2:], self.crop_size_px, crop, self.num_crops)
                    clips.views.append((frames, positions.to(frames.device), corner))
                    views.append(View(start, crop))
        return ClipBatch(
            clips=clips,
            views=views,
            **_bookkeeping(batch, views_per_video=num_clips * self.num_crops),
        )


@dataclass(slots=True)
class LazyViews:
    """Views of videos that share their frames; a slice of them is made only when it is taken."""

    views: list[tuple[Tensor, Tensor, tuple[int, int]]]  # frames (U, 3, H, W) uint8, positions (T,), top and left
    crop_size_px: int
    normalize: Normalize

    def __len__(self) -> int:
        return len(self.views)

    def __getitem__(self, index: slice) -> Tensor:
        size = self.crop_size_px
        clips = [
            self.normalize(frames[:, :, top : top + size, left : left + size][positions])
            for frames, positions, (top, left) in self.views[index]
        ]
        return torch.stack(clips)  # (b, 3, T, H, W)


def _resize(frames: Tensor, short_side_px: int) -> Tensor:
    """(U, H, W, 3) → (U, 3, H', W'), aspect kept."""
    frames = frames.permute(0, 3, 1, 2)
    if min(frames.shape[2:]) == short_side_px:
        return frames
    return TF.resize(frames, [short_side_px], antialias=True)


def _bookkeeping(batch: DecodedBatch, *, views_per_video: int) -> dict:
    """The fields of ClipBatch that say whose the clips are."""
    readable = [index for index, video in enumerate(batch.videos) if video.failure is None]
    return {
        "video": torch.tensor(readable, dtype=torch.int64).repeat_interleave(views_per_video),
        "labels": torch.tensor([video.label for video in batch.videos], dtype=torch.int64),
        "paths": [video.path for video in batch.videos],
        "rows": [video.row for video in batch.videos],
        "views_expected": torch.full((len(batch.videos),), views_per_video, dtype=torch.int64),
        "failures": {index: video.failure for index, video in enumerate(batch.videos) if video.failure},
    }
