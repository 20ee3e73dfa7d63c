"""The fixed views of validation and test: every clip in a number of square crops."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from videoctx.batch import ClipBatch, View
from videoctx.data.loading.dataset import DecodedBatch
from videoctx.data.transforms.bookkeeping import bookkeeping
from videoctx.data.transforms.crop_corners import Crop, CropsName, find_crop
from videoctx.data.transforms.normalize import Normalize
from videoctx.data.transforms.resize import Resizing
from videoctx.data.transforms.rgb_frames import rgb_frames


def check_view_crop(crop_size_px: int, short_side_px: int, fixed_size_px: tuple[int, int] | None = None) -> None:
    """Raise a ValueError if the crops of validation and test are larger than the resized frames."""
    if fixed_size_px:
        if not 1 <= crop_size_px <= min(fixed_size_px):
            raise ValueError(
                f"test.fixed_size_px is {list(fixed_size_px)} with crop_size_px {crop_size_px};"
                " expected height and width, each at least crop_size_px"
            )
    elif not 1 <= crop_size_px <= short_side_px:
        raise ValueError(
            f"test.short_side_px is {short_side_px} with crop_size_px {crop_size_px};"
            " expected 1 <= crop_size_px <= short_side_px"
        )


class ViewTransform(nn.Module):
    """Resizing, then a number of fixed square crops per clip, which are cut out when needed.

    Args:
        crop_size_px: Side of the square crops.
        resizing: Resizing before the crops.
        num_crops: Number of crops per clip.
        normalize: Normalization of the crops.
        crops: Positions of the crops.

    Raises:
        ValueError: A value is out of its range.
    """

    def __init__(
        self,
        *,
        crop_size_px: int,
        resizing: Resizing,
        num_crops: int,
        normalize: Normalize,
        crops: CropsName = "even",
    ) -> None:
        super().__init__()
        check_view_crop(crop_size_px, resizing.short_side_px, resizing.fixed_size_px)
        if num_crops < 1:
            raise ValueError(f"num_crops is {num_crops}; expected 1 or more")
        self.crop_size_px = crop_size_px
        self.resizing = resizing
        self.num_crops = num_crops
        self.normalize = normalize
        self.crops = crops

    def forward(self, batch: DecodedBatch, *, num_clips: int) -> ClipBatch:
        """Make network input of decoded videos with `num_clips` clips each."""
        videos = [video for video in batch.videos if video.failure is None]
        clips = LazyViews([], self.crop_size_px, self.normalize)
        views = []
        for video in videos:
            frames = self.resizing.resize(rgb_frames(video))  # (U, 3, H, W), each distinct frame once
            height, width = frames.shape[2:]
            for start, positions in zip(video.starts, video.clips, strict=True):
                for crop in range(self.num_crops):
                    square = find_crop(self.crops, height, width, self.crop_size_px, crop, self.num_crops)
                    clips.views.append((frames, positions.to(frames.device), square))
                    views.append(View(start, crop))
        return ClipBatch(
            clips=clips,
            views=views,
            **bookkeeping(batch, views_per_video=num_clips * self.num_crops),
        )


@dataclass(slots=True)
class LazyViews:
    """Views that share the frames of their videos. Slicing cuts out the views of the slice."""

    views: list[tuple[Tensor, Tensor, Crop]]  # frames (U, 3, H, W) as resized, positions (T,)
    crop_size_px: int
    normalize: Normalize

    def __len__(self) -> int:
        return len(self.views)

    def __getitem__(self, index: slice) -> Tensor:
        clips = [
            self.normalize(crop.cut(frames, self.crop_size_px)[positions])
            for frames, positions, crop in self.views[index]
        ]
        return torch.stack(clips)  # (b, 3, T, H, W)
