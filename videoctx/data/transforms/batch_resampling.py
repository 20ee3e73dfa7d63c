"""Crop, resize, flip and normalize all clips of a batch at once: a gather and two matrix products.

Resizing is linear and separable, so the rows of the output are a matrix times the rows of the input, and so are the
columns. A crop selects rows of these matrices and a flip reverses them. The matrices hold the weights of torchvision's
`resize` with `antialias=True`: a triangle as wide as two pixels of the input or the output, whichever are larger.

Differs from torchvision: the resized pixels are not rounded to bytes before they are normalized. On a GPU, where the
result is in half precision anyway, the products are too, on tensor cores: an error of less than half a gray level.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from videoctx.data.transforms.windows import Axis, Crop, Windows, axis_of

# A CPU works on a few clips at a time, which stay in its cache. A GPU starts a dozen kernels per group of clips.
CLIPS_AT_ONCE = {"cpu": 2, "cuda": 256}
MOST_PADDING = 4  # clips whose windows differ more in area are not resampled together
NOWHERE = 1e9  # the place of a pixel that counts for nothing


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
    """Return indices of crops that are resampled together: of similar windows, as they are padded to the largest.

    Those of RGB frames come first, then those of planes.
    """
    areas = [crop.shape[0] * crop.shape[1] for crop in crops]
    are_planes = [crop.colors is not None for crop in crops]
    groups: list[list[int]] = []
    for index in sorted(range(len(crops)), key=lambda index: (are_planes[index], -areas[index])):
        first = groups[-1][0] if groups and len(groups[-1]) < most else None
        if first is not None and are_planes[first] == are_planes[index] and areas[first] <= MOST_PADDING * areas[index]:
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups


def _resample_group(crops: Sequence[Crop], size: int, levels: np.ndarray, clips: Tensor) -> None:
    """Write the resampled crops to `clips`, (S, T, size, size, 3)."""
    device, (num_clips, num_frames) = clips.device, clips.shape[:2]
    rows, columns = (
        axis_of(
            np.array([crop.corner[axis] for crop in crops]),
            np.array([crop.shape[axis] for crop in crops]),
            np.array([crop.borders[2 * axis : 2 * axis + 2] for crop in crops]),
            size,
        )
        for axis in (0, 1)
    )
    windows = Windows(crops, rows, columns)
    axes, height, width = (windows.rows, windows.columns), windows.height, windows.width
    flipped = np.array([crop.flip for crop in crops])
    axes[1].centers[flipped] = axes[1].centers[flipped, ::-1]
    longest = max(height, width)
    places, centers = (
        [_places(axis, longest) / axis.support for axis in axes],
        [axis.centers / axis.support for axis in axes],
    )
    values = (*places, *centers, levels, windows.numbers)
    on_device = _moved(torch.from_numpy(np.concatenate([np.ravel(part) for part in values], dtype=np.float32)), device)
    starts = _moved(torch.from_numpy(windows.starts), device)

    # From here on, each line is one kernel or two.
    num_places, num_centers = 2 * num_clips * longest, 2 * num_clips * size
    at, of, mean_and_scale, of_planes = on_device.split([num_places, num_centers, 6, windows.numbers.size])
    weights = of.view(2, num_clips, size, 1) - at.view(2, num_clips, 1, longest)
    weights = torch.rsub(weights.abs_(), 1.0).clamp_(min=0.0)
    compute = compute_type(device, clips.dtype)
    matrices = torch.empty(weights.shape, dtype=compute, device=device)
    torch.div(weights, weights.sum(dim=3, keepdim=True), out=matrices)  # (2, S, size, longest)
    pixels = windows.gather(starts, of_planes.view(windows.numbers.shape), compute)
    centered = torch.empty(pixels.shape, dtype=compute, device=device)
    torch.sub(pixels, mean_and_scale[:3], out=centered)
    resized = matrices[0, :, :, :height] @ centered.view(num_clips, height, -1)  # (S, size, T · width · 3)
    resized = resized.view(num_clips, size, num_frames, width, 3).permute(0, 3, 2, 1, 4).contiguous()
    resized = matrices[1, :, :, :width] @ resized.view(num_clips, width, -1)  # (S, size, T · size · 3)
    resized = resized.view(num_clips, size, num_frames, size, 3).permute(0, 2, 3, 1, 4)  # (S, T, rows, columns, 3)
    torch.mul(resized, mean_and_scale[3:], out=clips)


def compute_type(device: torch.device, dtype: torch.dtype) -> torch.dtype:
    """Return the type of the products for a result of type `dtype`."""
    half = device.type == "cuda" and dtype in (torch.float16, torch.bfloat16)
    return torch.float16 if half else torch.float32


def _places(axis: Axis, length: int) -> np.ndarray:
    """Return the place of each pixel of the windows, (S, length) float64."""
    pixels = np.arange(length)
    counts = (pixels >= axis.lead[:, None]) & (pixels < axis.length[:, None])
    return np.where(counts, pixels, NOWHERE)


def _moved(values: Tensor, device: torch.device) -> Tensor:
    """Copy values to the device, without waiting for it."""
    return values.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else values
