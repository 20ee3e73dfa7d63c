"""Random crops, flips and further augmentation of training clips.

Workers send uint8 frames; resizing, cropping, flipping and normalizing happen on the device that the network runs on, in
(T, C, H, W). Every clip of a batch has its own random parameters, which all of its frames share.
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
            **bookkeeping(batch, views_per_video=len(views) // max(len(videos), 1)),
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
                frames = _random_square(resize(frames, short_side), size, where)
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
