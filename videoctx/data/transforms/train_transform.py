"""Random crops, flips and further augmentation of training clips.

Workers send uint8 frames; resizing, cropping, flipping and normalizing happen on the device that the network runs on,
in (T, C, H, W). Every clip of a batch has its own random parameters, which all of its frames share.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import numpy as np
import torch
from torch import Tensor, nn

from videoctx.batch import ClipBatch, View
from videoctx.data.loading.dataset import DecodedBatch, DecodedVideo
from videoctx.data.transforms.batch_resampling import resample
from videoctx.data.transforms.bookkeeping import bookkeeping
from videoctx.data.transforms.normalize import Normalize
from videoctx.data.transforms.random_crop import RandomCrop, random_area, random_scale
from videoctx.data.transforms.rgb_frames import rgb_frames


def check_train_crop(
    crop_size_px: int,
    short_side_px: tuple[int, int],
    crop_area: tuple[float, float] | None = None,
    fixed_size_px: tuple[int, int] | None = None,
    crop_scales: Sequence[float] | None = None,
) -> None:
    """Raise a ValueError if training crops of this size cannot be taken."""
    least, greatest = short_side_px
    given = {"fixed_size_px": fixed_size_px, "crop_area": crop_area, "crop_scales": crop_scales}
    given = {name: value for name, value in given.items() if value}
    if len(given) > 1:
        described = " and ".join(f"train.{name} is {list(value or ())}" for name, value in given.items())
        raise ValueError(f"{described}; expected one of them")
    if crop_scales and not (crop_size_px >= 1 and all(0 < scale <= 1 for scale in crop_scales)):
        raise ValueError(
            f"train.crop_scales are {list(crop_scales)} with crop_size_px {crop_size_px};"
            " expected each above 0 and up to 1, and a side of 1 or more"
        )
    if crop_area:
        if not (crop_size_px >= 1 and 0 < crop_area[0] <= crop_area[1] <= 1):
            raise ValueError(
                f"train.crop_area is {list(crop_area)} with crop_size_px {crop_size_px};"
                " expected 0 < least <= greatest <= 1, and a side of 1 or more"
            )
    elif fixed_size_px:
        if not 1 <= crop_size_px <= min(fixed_size_px):
            raise ValueError(
                f"train.fixed_size_px is {list(fixed_size_px)} with crop_size_px {crop_size_px};"
                " expected height and width, each at least crop_size_px"
            )
    elif not crop_scales and not 1 <= crop_size_px <= least <= greatest:
        raise ValueError(
            f"train.short_side_px is {least} to {greatest} with crop_size_px {crop_size_px};"
            " expected crop_size_px <= least <= greatest"
        )


class TrainTransform(nn.Module):
    """A random square crop and a random flip, followed by further augmentation.

    The random parameters of a clip depend on its video's seed and its number in the video alone. Further augmentation
    uses torch's generators, which are seeded for the clip and restored after it.

    Args:
        crop_size_px: Side of the square crop.
        short_side_px: Smallest and largest short side that frames are resized to before the crop.
        flip_probability: Probability of a horizontal flip.
        normalize: Normalization of the crop.
        crop_area: Used instead of `short_side_px` if given: smallest and largest fraction of a frame's area that the
            crop covers, with an aspect ratio between 3:4 and 4:3, resized to the square (`RandomResizedCrop`, from
            GoogLeNet).
        fixed_size_px: Used instead of `short_side_px` if given: height and width that frames are resized to before the
            crop, whatever their aspect ratio.
        crop_scales: Used instead of `short_side_px` if given: height and width of the crop, relative to the short side
            of the frame, of TSN's multi-scale crops (`random_scale`), resized to the square.
        augment: Further transforms of the crop, (T, 3, H, W) uint8, in order.
        erasing: Transform of the normalized clip, (T, 3, H, W) float, in which 0 is the mean.
        flipped_classes: K indices: the class that a flipped clip of each class is trained as. None: its own class.
        dtype: Type of the clips: float32, or that of autocast, to which the network would bring them.
        together: Whether all clips of a batch are resampled together. None: on a GPU. On a CPU, torchvision's kernels
            for one clip take half the time.

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
        fixed_size_px: tuple[int, int] | None = None,
        crop_scales: Sequence[float] | None = None,
        augment: Sequence[nn.Module] = (),
        erasing: nn.Module | None = None,
        flipped_classes: Sequence[int] | None = None,
        dtype: torch.dtype = torch.float32,
        together: bool | None = None,
    ) -> None:
        super().__init__()
        check_train_crop(crop_size_px, short_side_px, crop_area, fixed_size_px, crop_scales)
        if not 0 <= flip_probability <= 1:
            raise ValueError(f"train.flip_probability is {flip_probability}; expected 0 to 1")
        self.crop_size_px = crop_size_px
        self.short_side_px = short_side_px
        self.flip_probability = flip_probability
        self.normalize = normalize
        self.crop_area = crop_area
        self.fixed_size_px = fixed_size_px
        self.crop_scales = crop_scales
        self.augment = nn.Sequential(*augment)
        self.erasing = erasing
        self.dtype = dtype
        self.together = together
        self.flipped_classes = None if flipped_classes is None else torch.tensor(flipped_classes)

    def forward(self, batch: DecodedBatch) -> ClipBatch:
        """Make network input of decoded videos. On a GPU, all clips are resampled together."""
        videos = [video for video in batch.videos if video.failure is None]
        pairs = [(video, number) for video in videos for number in range(len(video.clips))]
        rngs = [np.random.default_rng((video.seed, number)) for video, number in pairs]
        crops = [self._random_crop(video, rng) for (video, _), rng in zip(pairs, rngs, strict=True)]
        views = [View(start, 0) for video in videos for start in video.starts]
        clip_batch = ClipBatch(
            clips=self._clips(pairs, crops, rngs) if pairs else torch.empty(0),  # (S, 3, T, H, W)
            views=views,
            **bookkeeping(batch, views_per_video=len(views) // max(len(videos), 1)),
        )
        if self.flipped_classes is not None:
            flipped = torch.tensor([crop.flip for crop in crops], dtype=torch.bool)
            clip_batch.swapped_labels = _swapped(clip_batch.clip_labels, flipped, self.flipped_classes)
        return clip_batch

    def _random_crop(self, video: DecodedVideo, rng: np.random.Generator) -> RandomCrop:
        """Return the place of the crop of a clip."""
        size = video.crop_size_px or self.crop_size_px
        least = round(self.short_side_px[0] * size / self.crop_size_px)  # a smaller crop shows as much of the frame
        short_side = int(rng.integers(least, self.short_side_px[1] + 1))
        where, flip = rng.random(2), bool(rng.random() < self.flip_probability)
        height, width = video.size
        if self.crop_area or self.crop_scales:
            if self.crop_area:
                top, left, crop_height, crop_width = random_area(height, width, self.crop_area, rng)
            else:
                top, left, crop_height, crop_width = random_scale(height, width, size, self.crop_scales or (), rng)
            return RandomCrop(size, (crop_height, crop_width), (top, left), (top, left), flip)
        if self.fixed_size_px:
            sides = [round(side * size / self.crop_size_px) for side in self.fixed_size_px]
            resized = sides[0], sides[1]
        elif height <= width:
            resized = (short_side, int(short_side * width / height))
        else:
            resized = (int(short_side * height / width), short_side)
        top, left = (int(u * (side - size + 1)) for u, side in zip(where, resized, strict=True))
        return RandomCrop(size, resized, (top, left), None, flip)

    def _clips(
        self,
        pairs: Sequence[tuple[DecodedVideo, int]],
        crops: Sequence[RandomCrop],
        rngs: Sequence[np.random.Generator],
    ) -> Tensor:
        """Return the clips (S, 3, T, size, size)."""
        on_gpu = pairs[0][0].frames.device.type == "cuda"
        if on_gpu if self.together is None else self.together:
            return self._together(pairs, crops, rngs)
        clips = []
        for (video, number), crop, rng in zip(pairs, crops, rngs, strict=True):
            if number == 0:
                all_frames = rgb_frames(video)
            # Indexing with a tensor on the CPU would wait for the device.
            positions = video.clips[number].to(video.frames.device, non_blocking=True)
            with self._seeded_from(rng, video.frames.device):
                frames = self.augment(crop.cut(all_frames[positions]))
                clips.append(self._erased(self.normalize(frames)))  # (3, T, size, size)
        return torch.stack(clips).to(self.dtype)

    def _together(
        self,
        pairs: Sequence[tuple[DecodedVideo, int]],
        crops: Sequence[RandomCrop],
        rngs: Sequence[np.random.Generator],
    ) -> Tensor:
        """Return the clips, resampled together. Further augmentation remains one clip after the other."""
        size, device = crops[0].size_px, pairs[0][0].frames.device
        windows = [crop.window(video, number) for (video, number), crop in zip(pairs, crops, strict=True)]
        mean, std = self.normalize.mean, self.normalize.std
        if not self._uses_torch_generators:
            return resample(windows, size, mean=mean, std=std, dtype=self.dtype)
        if not self.augment:
            clips = list(resample(windows, size, mean=mean, std=std))
        else:
            levels = resample(windows, size).round_().clamp_(0, 255).to(torch.uint8)
            clips = [clip.transpose(0, 1) for clip in levels]  # (T, 3, size, size)
        made = []
        for clip, rng in zip(clips, rngs, strict=True):
            with self._seeded_from(rng, device):
                made.append(self._erased(self.normalize(self.augment(clip)) if self.augment else clip))
        return torch.stack(made).to(self.dtype)

    def _erased(self, clip: Tensor) -> Tensor:
        """Return the clip (3, T, size, size) with parts of it erased."""
        return self.erasing(clip.transpose(0, 1)).transpose(0, 1) if self.erasing else clip

    def prepare(self, batch: DecodedBatch) -> ClipBatch | DecodedBatch:
        """Make network input in another thread than the one that trains, unless both would seed torch's generators."""
        return batch if self._uses_torch_generators else self(batch)

    @property
    def _uses_torch_generators(self) -> bool:
        return bool(self.augment or self.erasing)

    def _seeded_from(self, rng: np.random.Generator, device: torch.device) -> AbstractContextManager[None]:
        return _seeded_from(rng, device) if self._uses_torch_generators else nullcontext()


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
