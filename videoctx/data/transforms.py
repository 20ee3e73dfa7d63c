"""From decoded videos to network input, on the device that the network runs on.

Workers send uint8 frames; resizing, cropping, flipping and normalizing happen here, in (T, C, H, W). Every
clip of a batch draws its own parameters, all frames of a clip share them.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.transforms.v2 import RandomResizedCrop
from torchvision.transforms.v2 import functional as TF

from videoctx.batch import ClipBatch, View
from videoctx.data.clips import DecodedBatch, DecodedVideo
from videoctx.data.protocols import PROTOCOLS, Protocol

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def check_std(std: Sequence[float]) -> None:
    """Raise a ValueError if a channel's standard deviation is not positive."""
    if not min(std) > 0:
        raise ValueError(f"std is {list(std)}; expected each above 0")


def check_train_crop(
    crop_size_px: int, short_side_px: tuple[int, int], crop_area: tuple[float, float] | None = None
) -> None:
    """Raise a ValueError if training crops of this size cannot be taken."""
    least, greatest = short_side_px
    if crop_area:
        if not (crop_size_px >= 1 and 0 < crop_area[0] <= crop_area[1] <= 1):
            raise ValueError(
                f"train.crop_area is {list(crop_area)} with crop_size_px {crop_size_px};"
                " expected 0 < least <= greatest <= 1, and a side of 1 or more"
            )
    elif not 1 <= crop_size_px <= least <= greatest:
        raise ValueError(
            f"train.short_side_px is {least} to {greatest} with crop_size_px {crop_size_px};"
            " expected crop_size_px <= least <= greatest"
        )


def check_view_crop(crop_size_px: int, short_side_px: int) -> None:
    """Raise a ValueError if the crops of validation and test are larger than the short side."""
    if not 1 <= crop_size_px <= short_side_px:
        raise ValueError(
            f"test.short_side_px is {short_side_px} with crop_size_px {crop_size_px};"
            " expected 1 <= crop_size_px <= short_side_px"
        )


class Normalize(nn.Module):
    """(T, 3, H, W) uint8 → (3, T, H, W) float: (x / 255 - mean) / std for each channel.

    torchvision's `normalize` brings mean and std to the device every time, and looks there for a zero: the device would
    be waited for three times a clip.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        check_std(std)
        self.mean = tuple(mean)
        self.std = tuple(std)
        self._constants: dict[torch.device, tuple[Tensor, Tensor]] = {}  # (3, 1, 1) each

    def forward(self, frames: Tensor) -> Tensor:
        if frames.device not in self._constants:
            mean, std = (torch.tensor(values, device=frames.device)[:, None, None] for values in (self.mean, self.std))
            self._constants[frames.device] = mean, std
        mean, std = self._constants[frames.device]
        return TF.to_dtype(frames, torch.float32, scale=True).sub_(mean).div_(std).transpose(0, 1)  # (3, T, H, W)


class TrainTransform(nn.Module):
    """A random square of the picture, and a random flip; then what else is asked for.

    What a clip draws follows from its video's seed and its number in the video alone. torchvision's transforms draw
    from torch's generators: these are seeded for the clip, and left as they were.

    Args:
        crop_size_px: side of the square.
        short_side_px: least and greatest length of the short side before the crop.
        crop_area: instead of that, least and greatest share of the picture that the crop shows, with a ratio of its
            sides from 3:4 to 4:3, resized to the square (GoogLeNet's, `RandomResizedCrop`).
        flip_probability: of a horizontal flip; 0 where left and right tell classes apart.
        augment: further transforms of the square, (T, 3, H, W) uint8, in order.
        erasing: a transform of the normalized clip, (T, 3, H, W) float, in which 0 is the mean.
        flipped_classes: K indices, the class that a flipped clip of each class is trained as; none: as its own.
    """

    def __init__(
        self,
        *,
        crop_size_px: int,
        short_side_px: tuple[int, int],
        flip_probability: float,
        normalize: Normalize,
        crop_area: tuple[float, float] | None = None,
        augment: Sequence[nn.Module] = (),
        erasing: nn.Module | None = None,
        flipped_classes: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        check_train_crop(crop_size_px, short_side_px, crop_area)
        if not 0 <= flip_probability <= 1:
            raise ValueError(f"flip_probability is {flip_probability}; expected 0 to 1")
        self.crop_size_px = crop_size_px
        self.short_side_px = short_side_px
        self.flip_probability = flip_probability
        self.normalize = normalize
        self.crop_area = crop_area
        self.augment = nn.Sequential(*augment)
        self.erasing = erasing
        self.flipped_classes = None if flipped_classes is None else torch.tensor(flipped_classes)

    def forward(self, batch: DecodedBatch) -> ClipBatch:
        videos = [video for video in batch.videos if video.failure is None]
        made = [self._clip(video, clip) for video in videos for clip in range(len(video.clips))]
        clips, flips = zip(*made, strict=True) if made else ((), ())
        views = [View(start, 0) for video in videos for start in video.starts]
        clip_batch = ClipBatch(
            clips=torch.stack(clips) if clips else torch.empty(0),  # (S, 3, T, H, W)
            views=views,
            **_bookkeeping(batch, views_per_video=len(views) // max(len(videos), 1)),
        )
        if self.flipped_classes is not None:
            clip_batch.swapped_labels = self._swapped(clip_batch.clip_labels, torch.tensor(flips, dtype=torch.bool))
        return clip_batch

    def _swapped(self, labels: Tensor, flips: Tensor) -> Tensor:
        """Labels (S,) or (S, K) of clips, changed where `flips` (S,) says so."""
        if labels.ndim == 1:
            return torch.where(flips, self.flipped_classes[labels], labels)
        return torch.where(flips[:, None], labels[:, self.flipped_classes], labels)

    def _clip(self, video: DecodedVideo, clip: int) -> tuple[Tensor, bool]:
        """(3, T, size, size), and whether it is flipped."""
        rng = np.random.default_rng((video.seed, clip))
        size = video.crop_size_px or self.crop_size_px
        least = round(self.short_side_px[0] * size / self.crop_size_px)  # a smaller crop may show as much
        short_side = int(rng.integers(least, self.short_side_px[1] + 1))
        where, flip = rng.random(2), rng.random() < self.flip_probability
        positions = video.clips[clip].to(video.frames.device, non_blocking=True)  # as an index it would be waited for
        frames = video.frames[positions]  # (T, H, W, 3)
        with _drawing_from(rng, frames.device) if self._draws_of_torch else nullcontext():
            if self.crop_area:
                crop = RandomResizedCrop(size, scale=self.crop_area)
                frames = crop(frames.permute(0, 3, 1, 2))  # (T, 3, size, size)
            else:
                frames = _random_square(_resize(frames, short_side), size, where)
            frames = self.augment(TF.horizontal_flip(frames) if flip else frames)
            clip = self.normalize(frames)  # (3, T, size, size)
            if self.erasing:
                clip = self.erasing(clip.transpose(0, 1)).transpose(0, 1)
            return clip, flip

    @property
    def _draws_of_torch(self) -> bool:
        return bool(self.crop_area or self.augment or self.erasing)


def _random_square(frames: Tensor, size: int, where: np.ndarray) -> Tensor:
    """(T, 3, H, W) → (T, 3, size, size), at `where` in [0, 1)² of the places there are."""
    top, left = (int(u * (side - size + 1)) for u, side in zip(where, frames.shape[2:], strict=True))
    return TF.crop(frames, top, left, size, size)


@contextmanager
def _drawing_from(rng: np.random.Generator, device: torch.device) -> Iterator[None]:
    """Inside, torch's generators draw what follows from `rng`; after, what they would have drawn without."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(int(rng.integers(2**63)))
        yield


class ViewTransform(nn.Module):
    """Short side to a fixed length, then `num_crops` fixed squares of every clip, cut out only when asked for.

    Args:
        protocol: how to resize, and where the crops are.
    """

    def __init__(
        self,
        *,
        crop_size_px: int,
        short_side_px: int,
        num_crops: int,
        normalize: Normalize,
        protocol: Protocol = PROTOCOLS["videoctx"],
    ) -> None:
        super().__init__()
        check_view_crop(crop_size_px, short_side_px)
        if num_crops < 1:
            raise ValueError(f"num_crops is {num_crops}; expected 1 or more")
        self.crop_size_px = crop_size_px
        self.short_side_px = short_side_px
        self.num_crops = num_crops
        self.normalize = normalize
        self.protocol = protocol

    def forward(self, batch: DecodedBatch, *, num_clips: int) -> ClipBatch:
        videos = [video for video in batch.videos if video.failure is None]
        clips = LazyViews([], self.crop_size_px, self.normalize)
        views = []
        for video in videos:
            frames = _resize(video.frames, self.short_side_px, self.protocol)  # (U, 3, H, W), each distinct frame once
            for start, positions in zip(video.starts, video.clips, strict=True):
                for crop in range(self.num_crops):
                    corner = self.protocol.corner(*frames.shape[2:], self.crop_size_px, crop, self.num_crops)
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


def _resize(frames: Tensor, short_side_px: int, protocol: Protocol = PROTOCOLS["videoctx"]) -> Tensor:
    """(U, H, W, 3) → (U, 3, H', W'); the aspect is kept, unless the protocol says otherwise."""
    frames = frames.permute(0, 3, 1, 2)
    if protocol.size:
        size = protocol.size(*frames.shape[2:], short_side_px)
    elif min(frames.shape[2:]) == short_side_px:
        return frames
    else:
        size = [short_side_px]
    return TF.resize(frames, size, antialias=protocol.smooth)


def _labels(labels: list[int | tuple[bool, ...]]) -> Tensor:
    """(V,) int64, or (V, K) bool where a video may show several classes."""
    several = bool(labels) and isinstance(labels[0], tuple)
    return torch.tensor(labels, dtype=torch.bool if several else torch.int64)


def _bookkeeping(batch: DecodedBatch, *, views_per_video: int) -> dict:
    """The fields of ClipBatch that say whose the clips are."""
    readable = [index for index, video in enumerate(batch.videos) if video.failure is None]
    return {
        "video": torch.tensor(readable, dtype=torch.int64).repeat_interleave(views_per_video),
        "labels": _labels([video.label for video in batch.videos]),
        "paths": [video.path for video in batch.videos],
        "rows": [video.row for video in batch.videos],
        "views_expected": torch.full((len(batch.videos),), views_per_video, dtype=torch.int64),
        "failures": {index: video.failure for index, video in enumerate(batch.videos) if video.failure},
    }
