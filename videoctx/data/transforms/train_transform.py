"""Random crops, flips and further augmentation of training clips.

Workers send uint8 frames; resizing, cropping, flipping and normalizing happen on the device that the network runs on,
in (T, C, H, W). Every clip of a batch has its own random parameters, which all of its frames share.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.transforms.v2 import RandomResizedCrop
from torchvision.transforms.v2 import functional as TF

from videoctx.batch import ClipBatch, View
from videoctx.data.loading.dataset import DecodedBatch, DecodedVideo
from videoctx.data.transforms.bookkeeping import bookkeeping
from videoctx.data.transforms.normalize import Normalize
from videoctx.data.transforms.resize import resize


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


class TrainTransform(nn.Module):
    """A random square crop and a random flip, followed by further augmentation.

    The random parameters of a clip depend on its video's seed and its number in the video alone. torchvision's
    transforms use torch's generators, which are seeded for the clip and restored after it.

    Args:
        crop_size_px: Side of the square crop.
        short_side_px: Smallest and largest short side that frames are resized to before the crop.
        flip_probability: Probability of a horizontal flip.
        normalize: Normalization of the crop.
        crop_area: Used instead of `short_side_px` if given: smallest and largest fraction of a frame's area that the
            crop covers, with an aspect ratio between 3:4 and 4:3, resized to the square (`RandomResizedCrop`, from
            GoogLeNet).
        augment: Further transforms of the crop, (T, 3, H, W) uint8, in order.
        erasing: Transform of the normalized clip, (T, 3, H, W) float, in which 0 is the mean.
        flipped_classes: K indices: the class that a flipped clip of each class is trained as. None: its own class.

    Raises:
        ValueError: A value is out of its range.
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
            raise ValueError(f"train.flip_probability is {flip_probability}; expected 0 to 1")
        self.crop_size_px = crop_size_px
        self.short_side_px = short_side_px
        self.flip_probability = flip_probability
        self.normalize = normalize
        self.crop_area = crop_area
        self.augment = nn.Sequential(*augment)
        self.erasing = erasing
        self.flipped_classes = None if flipped_classes is None else torch.tensor(flipped_classes)

    def forward(self, batch: DecodedBatch) -> ClipBatch:
        """Make network input of decoded videos."""
        videos = [video for video in batch.videos if video.failure is None]
        pairs = [self._clip(video, number) for video in videos for number in range(len(video.clips))]
        clips, flips = [clip for clip, _ in pairs], [flip for _, flip in pairs]
        views = [View(start, 0) for video in videos for start in video.starts]
        clip_batch = ClipBatch(
            clips=torch.stack(clips) if clips else torch.empty(0),  # (S, 3, T, H, W)
            views=views,
            **bookkeeping(batch, views_per_video=len(views) // max(len(videos), 1)),
        )
        if self.flipped_classes is not None:
            flipped = torch.tensor(flips, dtype=torch.bool)
            clip_batch.swapped_labels = _swapped(clip_batch.clip_labels, flipped, self.flipped_classes)
        return clip_batch

    def _clip(self, video: DecodedVideo, number: int) -> tuple[Tensor, bool]:
        """Return a clip (3, T, size, size), and whether it is flipped."""
        rng = np.random.default_rng((video.seed, number))
        size = video.crop_size_px or self.crop_size_px
        least = round(self.short_side_px[0] * size / self.crop_size_px)  # a smaller crop shows as much of the frame
        short_side = int(rng.integers(least, self.short_side_px[1] + 1))
        where, flip = rng.random(2), bool(rng.random() < self.flip_probability)
        # Indexing with a tensor on the CPU would wait for the device.
        positions = video.clips[number].to(video.frames.device, non_blocking=True)
        frames = video.frames[positions]  # (T, H, W, 3)
        with _seeded_from(rng, frames.device) if self._uses_torch_generators else nullcontext():
            if self.crop_area:
                crop = RandomResizedCrop(size, scale=self.crop_area)
                frames = crop(frames.permute(0, 3, 1, 2))  # (T, 3, size, size)
            else:
                frames = _random_square(resize(frames, short_side), size, where)
            frames = self.augment(TF.horizontal_flip(frames) if flip else frames)
            clip = self.normalize(frames)  # (3, T, size, size)
            if self.erasing:
                clip = self.erasing(clip.transpose(0, 1)).transpose(0, 1)
            return clip, flip

    @property
    def _uses_torch_generators(self) -> bool:
        return bool(self.crop_area or self.augment or self.erasing)


def _random_square(frames: Tensor, size: int, where: np.ndarray) -> Tensor:
    """Crop (T, 3, H, W) → (T, 3, size, size), at `where` in [0, 1)² of the possible positions."""
    top, left = (int(u * (side - size + 1)) for u, side in zip(where, frames.shape[2:], strict=True))
    return TF.crop(frames, top, left, size, size)


def _swapped(labels: Tensor, flips: Tensor, flipped_classes: Tensor) -> Tensor:
    """Return labels (S,) or (S, K) of clips, with the classes exchanged if `flips` (S,) is true."""
    if labels.ndim == 1:
        return torch.where(flips, flipped_classes[labels], labels)
    return torch.where(flips[:, None], labels[:, flipped_classes], labels)


@contextmanager
def _seeded_from(rng: np.random.Generator, device: torch.device) -> Iterator[None]:
    """Seed torch's generators from `rng` inside the `with` block, and restore them after it."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(int(rng.integers(2**63)))
        yield
