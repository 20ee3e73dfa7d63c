"""Crop, resize, flip and normalize all clips of a batch at once: a gather and two matrix products.

Resizing is linear and separable, so the rows of the output are a matrix times the rows of the input, and so are the
columns. A crop selects rows of these matrices and a flip reverses them. The matrices hold the weights of torchvision's
`resize` with `antialias=True`: a triangle as wide as two pixels of the input or the output, whichever are larger.

Differs from torchvision: the resized pixels are not rounded to bytes before they are normalized. On a GPU, where the
result is in half precision anyway, the products are too, on tensor cores: an error of less than half a gray level.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from videoctx.data.loading.dataset import packed

# A CPU works on a few clips at a time, which stay in its cache. A GPU starts a dozen kernels per group of clips.
CLIPS_AT_ONCE = {"cpu": 2, "cuda": 256}
MOST_PADDING = 4  # clips whose windows differ more in area are not resampled together
NOWHERE = 1e9  # the place of a pixel that counts for nothing


class Crop(NamedTuple):
    """Part of a clip that is resized to a square."""

    frames: Tensor  # (U, H, W, 3) uint8
    positions: np.ndarray  # (T,) int64, of the clip's frames among them
    corner: tuple[float, float]  # top and left, in pixels
    shape: tuple[float, float]  # height and width, in pixels; with the corner, what the square shows
    borders: tuple[int, int, int, int]  # first row, end of rows, first column, end of columns: others do not count
    flip: bool = False


def resample(
    crops: Sequence[Crop],
    size: int,
    *,
    mean: Sequence[float] = (0.0, 0.0, 0.0),
    std: Sequence[float] = (1 / 255, 1 / 255, 1 / 255),
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Return (S, 3, T, size, size): (x / 255 - mean) / std of the resized crops, in `torch.channels_last_3d`.

    By default the values are those of the pixels, 0 to 255, without rounding.

    Args:
        crops: S crops, at least one, all with T positions and on one device.
        size: Side of the square.
        mean: Mean of each channel, in [0, 1].
        std: Standard deviation of each channel, in [0, 1].
        dtype: Type of the result.
    """
    device, num_frames = crops[0].frames.device, len(crops[0].positions)
    clips = torch.empty(len(crops), num_frames, size, size, 3, dtype=dtype, device=device)
    levels = np.array([[255 * m for m in mean], [1 / (255 * s) for s in std]], dtype=np.float32)
    for group in _groups(crops, CLIPS_AT_ONCE.get(device.type, 1)):
        if len(group) == len(crops):
            _resample_group(crops, size, levels, clips)
        else:
            part = clips.new_empty(len(group), *clips.shape[1:])
            _resample_group([crops[index] for index in group], size, levels, part)
            for index, clip in zip(group, part, strict=True):
                clips[index] = clip
    return clips.permute(0, 4, 1, 2, 3)  # (S, 3, T, size, size)


def _groups(crops: Sequence[Crop], most: int) -> list[list[int]]:
    """Return indices of crops that are resampled together: of similar windows, as they are padded to the largest."""
    areas = [crop.shape[0] * crop.shape[1] for crop in crops]
    groups: list[list[int]] = []
    for index in sorted(range(len(crops)), key=lambda index: -areas[index]):
        if groups and len(groups[-1]) < most and areas[groups[-1][0]] <= MOST_PADDING * areas[index]:
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups


class _Axis(NamedTuple):
    """Where the output pixels of an axis lie in the input, for all crops."""

    first: np.ndarray  # (S,) int64, first input pixel that counts
    length: np.ndarray  # (S,) int64, number of input pixels that count
    centers: np.ndarray  # (S, size) float64, of the output pixels, relative to `first`
    support: np.ndarray  # (S, 1) float64, half the width of the triangle


def _axis(corner: np.ndarray, extent: np.ndarray, borders: np.ndarray, size: int) -> _Axis:
    """Return an axis of crops with corners (S,), extents (S,) and borders (S, 2)."""
    scale = extent / size
    centers = corner[:, None] + (np.arange(size) + 0.5) * scale[:, None] - 0.5  # (S, size)
    support = np.maximum(scale, 1.0)
    first = np.maximum(np.ceil(centers[:, 0] - support), borders[:, 0]).astype(np.int64)
    stop = np.minimum(np.floor(centers[:, -1] + support) + 1, borders[:, 1]).astype(np.int64)
    return _Axis(first, stop - first, centers - first[:, None], support[:, None])


def _resample_group(crops: Sequence[Crop], size: int, levels: np.ndarray, clips: Tensor) -> None:
    """Write the resampled crops to `clips`, (S, T, size, size, 3)."""
    device, (num_clips, num_frames) = clips.device, clips.shape[:2]
    rows, columns = (
        _axis(
            np.array([crop.corner[axis] for crop in crops]),
            np.array([crop.shape[axis] for crop in crops]),
            np.array([crop.borders[2 * axis : 2 * axis + 2] for crop in crops]),
            size,
        )
        for axis in (0, 1)
    )
    height, width = int(rows.length.max()), int(columns.length.max())
    flipped = np.array([crop.flip for crop in crops])
    columns.centers[flipped] = columns.centers[flipped, ::-1]
    longest = max(height, width)
    pixels = np.arange(longest)
    places = [np.where(pixels < axis.length[:, None], pixels, NOWHERE) / axis.support for axis in (rows, columns)]
    centers = [axis.centers / axis.support for axis in (rows, columns)]
    numbers = np.concatenate([np.ravel(values) for values in (*places, *centers, levels)], dtype=np.float32)
    flat, starts = _row_starts(crops, rows, columns, height)
    on_device = _moved(torch.from_numpy(numbers), device)
    index = _moved(torch.from_numpy(starts), device)

    # From here on, each line is one kernel or two.
    num_places, num_centers = 2 * num_clips * longest, 2 * num_clips * size
    at, of, mean_and_scale = on_device.split([num_places, num_centers, 6])
    weights = of.view(2, num_clips, size, 1) - at.view(2, num_clips, 1, longest)
    weights = torch.rsub(weights.abs_(), 1.0).clamp_(min=0.0)
    compute = compute_type(device, clips.dtype)
    matrices = torch.empty(weights.shape, dtype=compute, device=device)
    torch.div(weights, weights.sum(dim=3, keepdim=True), out=matrices)  # (2, S, size, longest)
    num_bytes = 3 * width
    windows = flat.unfold(0, num_bytes, 1).index_select(0, index).view(num_clips, height, num_frames, width, 3)
    centered = torch.empty(windows.shape, dtype=compute, device=device)
    torch.sub(windows, mean_and_scale[:3], out=centered)
    resized = matrices[0, :, :, :height] @ centered.view(num_clips, height, -1)  # (S, size, T · width · 3)
    resized = resized.view(num_clips, size, num_frames, width, 3).permute(0, 3, 2, 1, 4).contiguous()
    resized = matrices[1, :, :, :width] @ resized.view(num_clips, width, -1)  # (S, size, T · size · 3)
    resized = resized.view(num_clips, size, num_frames, size, 3).permute(0, 2, 3, 1, 4)  # (S, T, rows, columns, 3)
    torch.mul(resized, mean_and_scale[3:], out=clips)


def compute_type(device: torch.device, dtype: torch.dtype) -> torch.dtype:
    """Return the type of the products for a result of type `dtype`."""
    half = device.type == "cuda" and dtype in (torch.float16, torch.bfloat16)
    return torch.float16 if half else torch.float32


def _row_starts(crops: Sequence[Crop], rows: _Axis, columns: _Axis, height: int) -> tuple[Tensor, np.ndarray]:
    """Return a buffer that holds all frames, and where in it the rows of all windows start, (S · height · T,) int64."""
    flat, offsets = _one_buffer([crop.frames for crop in crops])
    sides = np.array([crop.frames.shape[1:3] for crop in crops], dtype=np.int64)  # (S, 2)
    positions = np.stack([crop.positions for crop in crops])  # (S, T)
    of_frames = offsets[:, None] + positions * (3 * sides.prod(axis=1))[:, None]  # (S, T)
    counted = np.minimum(np.arange(height), rows.length[:, None] - 1)  # (S, height): beyond the last, that one
    of_rows = (rows.first[:, None] + counted) * sides[:, 1:] + columns.first[:, None]
    return flat, (of_frames[:, None] + 3 * of_rows[:, :, None]).ravel()


def _one_buffer(frames: Sequence[Tensor]) -> tuple[Tensor, np.ndarray]:
    """Return a buffer that holds all frames, and where each begins. Frames that share one already are not copied."""
    storage = frames[0].untyped_storage()
    spare = 3 * max(video.shape[2] for video in frames)  # the last row of a window may be read beyond its end
    end = max(video.storage_offset() + video.numel() for video in frames)
    if any(video.untyped_storage().data_ptr() != storage.data_ptr() for video in frames) or (
        storage.nbytes() < end + spare
    ):
        distinct = {video.data_ptr(): video for video in frames}
        copies = dict(zip(distinct, packed(list(distinct.values()), frames[0].device), strict=True))
        frames = [copies[video.data_ptr()] for video in frames]
        storage = frames[0].untyped_storage()
    flat = torch.empty(0, dtype=torch.uint8, device=frames[0].device).set_(storage)
    return flat, np.array([video.storage_offset() for video in frames], dtype=np.int64)


def _moved(values: Tensor, device: torch.device) -> Tensor:
    """Copy values to the device, without waiting for it."""
    return values.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else values
