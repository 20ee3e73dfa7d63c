"""Where a training crop lies, and how it is cut out of the frames of one clip."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from torch import Tensor
from torchvision.transforms.v2 import functional as TF

from videoctx.data.loading.dataset import DecodedVideo
from videoctx.data.transforms.windows import Crop

ASPECT_RATIOS = (3 / 4, 4 / 3)
TRIES = 10
FIXED_PLACES = (  # of multi-scale crops, in quarters of what is left of the frame: rows and columns
    *((row, column) for row in (0, 2, 4) for column in (0, 2, 4)),
    *((row, column) for row in (1, 3) for column in (1, 3)),
)


class RandomCrop(NamedTuple):
    """A square crop of a clip."""

    size_px: int
    resized: tuple[int, int]  # height and width after resizing; with `area_corner`, of the area that is resized
    corner: tuple[int, int]  # top and left of the crop
    area_corner: tuple[int, int] | None  # of the area that is resized to the square. None: the frame is resized first
    flip: bool

    def cut(self, frames: Tensor) -> Tensor:
        """Cut the crop out of frames (T, H, W, 3) uint8 → (T, 3, size, size) uint8."""
        frames, size = frames.permute(0, 3, 1, 2), [self.size_px, self.size_px]
        if self.area_corner is not None:
            frames = TF.resized_crop(frames, *self.area_corner, *self.resized, size, antialias=True)
        else:
            if self.resized != tuple(frames.shape[2:]):
                frames = TF.resize(frames, list(self.resized), antialias=True)
            frames = TF.crop(frames, *self.corner, *size)
        return TF.horizontal_flip(frames) if self.flip else frames

    def window(self, video: DecodedVideo, number: int) -> Crop:
        """Return the crop of a video's clip in pixels of the frames, to be resampled with others."""
        frames, positions, (height, width) = video.frames, video.clips[number].numpy(), video.size
        if self.area_corner is not None:
            (top, left), (area_height, area_width) = self.area_corner, self.resized
            borders = (top, top + area_height, left, left + area_width)
            return Crop(frames, positions, (top, left), (area_height, area_width), borders, self.flip, video.colors)
        scales = height / self.resized[0], width / self.resized[1]
        corner = self.corner[0] * scales[0], self.corner[1] * scales[1]
        shape = self.size_px * scales[0], self.size_px * scales[1]
        return Crop(frames, positions, corner, shape, (0, height, 0, width), self.flip, video.colors)


def random_area(
    height: int, width: int, fractions: tuple[float, float], rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """Return top, left, height and width of an area with a random fraction of the frame and a random aspect ratio.

    The distribution is that of torchvision's `RandomResizedCrop` (GoogLeNet): the logarithm of the aspect ratio is
    uniform, and an area that does not fit into the frame is tried again. After ten tries it is the largest area in the
    center.
    """
    least, greatest = (math.log(ratio) for ratio in ASPECT_RATIOS)
    for _ in range(TRIES):
        area = height * width * rng.uniform(*fractions)
        ratio = math.exp(rng.uniform(least, greatest))
        area_width, area_height = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < area_width <= width and 0 < area_height <= height:
            top = int(rng.integers(height - area_height + 1))
            return top, int(rng.integers(width - area_width + 1)), area_height, area_width
    ratio = min(max(width / height, ASPECT_RATIOS[0]), ASPECT_RATIOS[1])
    area_width, area_height = min(width, round(height * ratio)), min(height, round(width / ratio))
    return (height - area_height) // 2, (width - area_width) // 2, area_height, area_width


def random_scale(
    height: int, width: int, size_px: int, scales: Sequence[float], rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """Return top, left, height and width of an area of the multi-scale crops of TSN and TSM.

    Height and width are two of the scales, the same one or neighbors, times the short side of the frame. A side within
    two pixels of `size_px` is `size_px`. The area is at one of 13 places: the corners, the middles of the borders, the
    center, and half-way between the corners and the center. All are equally probable (`GroupMultiScaleCrop` of TSM,
    `MultiScaleCrop` of mmaction2 with `max_wh_scale_gap` 1 and `num_fixed_crops` 13).
    """
    sides = [int(min(height, width) * scale) for scale in scales]
    sides = [size_px if abs(side - size_px) < 3 and size_px <= min(height, width) else side for side in sides]
    pairs = [
        (first, second)
        for place, first in enumerate(sides)
        for other, second in enumerate(sides)
        if abs(place - other) <= 1
    ]
    area_height, area_width = pairs[int(rng.integers(len(pairs)))]
    row, column = FIXED_PLACES[int(rng.integers(len(FIXED_PLACES)))]
    return row * ((height - area_height) // 4), column * ((width - area_width) // 4), area_height, area_width
