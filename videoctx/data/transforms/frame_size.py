"""The height and width that a frame is resized to: how the long side follows from the short one.

| `data.test.long_side` | project                   | long side for a short side s of a frame of h × w, h < w     |
|-----------------------|---------------------------|-------------------------------------------------------------|
| `down`                | videoctx, TSM             | s · w / h, rounded down                                     |
| `down_ratio`          | PySlowFast, PyTorchVideo  | (w / h) · s, rounded down in floating point                 |
| `down_single`         | Non-local                 | the same in single precision                                |
| `nearest`             | mmaction2                 | w · (s / h), rounded                                        |
| `four_thirds`         | torchvision               | 4/3 · s is the width, whatever the shape of the frame       |
"""

import math
from collections.abc import Callable
from typing import Literal

import numpy as np

LongSide = Literal["down", "down_ratio", "down_single", "nearest", "four_thirds"]


def down_size(height: int, width: int, short_side_px: int) -> tuple[int, int]:
    """`Resize` of torchvision."""
    short = min(height, width)
    return short_side_px * height // short, short_side_px * width // short


def down_ratio_size(height: int, width: int, short_side_px: int) -> tuple[int, int]:
    """`random_short_side_scale_jitter` of PySlowFast, `short_side_scale` of PyTorchVideo."""
    if min(height, width) == short_side_px:
        return height, width
    if width < height:
        return math.floor(height / width * short_side_px), short_side_px
    return short_side_px, math.floor(width / height * short_side_px)


def down_single_size(height: int, width: int, short_side_px: int) -> tuple[int, int]:
    """`ScaleTransform` of video-nonlocal-net, which may make a side one pixel shorter than requested; this does not."""
    ratio = np.float32(short_side_px) / np.float32(min(height, width))
    long_side = max(int(np.float32(max(height, width)) * ratio), short_side_px)
    return (long_side, short_side_px) if height > width else (short_side_px, long_side)


def nearest_size(height: int, width: int, short_side_px: int) -> tuple[int, int]:
    """`Resize` of mmaction2, which is mmcv's `rescale_size`."""
    scale = short_side_px / min(height, width)
    return int(height * scale + 0.5), int(width * scale + 0.5)


def four_thirds_size(height: int, width: int, short_side_px: int) -> tuple[int, int]:  # noqa: ARG001
    """`VideoClassificationPresetEval` of torchvision: 128 × 171, whatever the aspect ratio."""
    return short_side_px, round(short_side_px * 4 / 3)


SIZES: dict[LongSide, Callable[[int, int, int], tuple[int, int]]] = {
    "down": down_size,
    "down_ratio": down_ratio_size,
    "down_single": down_single_size,
    "nearest": nearest_size,
    "four_thirds": four_thirds_size,
}
