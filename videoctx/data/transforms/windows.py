"""The parts of frames that the crops of a batch show, gathered into one tensor."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from videoctx.data.decoding.yuv_frames import YuvColors, coefficients, rgb_levels
from videoctx.data.loading.dataset import packed


class Crop(NamedTuple):
    """Part of a clip that is resized to a square."""

    frames: Tensor  # (U, H, W, 3) uint8 RGB; or with `colors`, planes (U, 3 H / 2, W)
    positions: np.ndarray  # (T,) int64, of the clip's frames among them
    corner: tuple[float, float]  # top and left, in pixels
    shape: tuple[float, float]  # height and width, in pixels; with the corner, what the square shows
    borders: tuple[int, int, int, int]  # first row, end of rows, first column, end of columns: others do not count
    flip: bool = False
    colors: YuvColors | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the frames."""
        rows, width = self.frames.shape[1:3]
        return (rows if self.colors is None else rows * 2 // 3), width


class Axis(NamedTuple):
    """Where the output pixels of an axis lie in the input, for all crops."""

    first: np.ndarray  # (S,) int64, first pixel of the window
    lead: np.ndarray  # (S,) int64, pixels at its start that do not count
    length: np.ndarray  # (S,) int64, number of pixels up to the last that counts
    centers: np.ndarray  # (S, size) float64, of the output pixels, relative to `first`
    support: np.ndarray  # (S, 1) float64, half the width of the triangle

    def from_even_pixels(self) -> "Axis":
        """Return the axis with windows that start where a chroma value does."""
        lead = self.first % 2
        return self._replace(
            first=self.first - lead, lead=lead, length=self.length + lead, centers=self.centers + lead[:, None]
        )


def axis_of(corner: np.ndarray, extent: np.ndarray, borders: np.ndarray, size: int) -> Axis:
    """Return an axis of crops with corners (S,), extents (S,) and borders (S, 2)."""
    scale = extent / size
    centers = corner[:, None] + (np.arange(size) + 0.5) * scale[:, None] - 0.5  # (S, size)
    support = np.maximum(scale, 1.0)
    first = np.maximum(np.ceil(centers[:, 0] - support), borders[:, 0]).astype(np.int64)
    stop = np.minimum(np.floor(centers[:, -1] + support) + 1, borders[:, 1]).astype(np.int64)
    return Axis(first, np.zeros_like(first), stop - first, centers - first[:, None], support[:, None])


class Windows:
    """The windows of crops, which are all RGB or all planes.

    Args:
        crops: S crops, all with T positions and on one device.
        rows: Their rows.
        columns: Their columns.
    """

    def __init__(self, crops: Sequence[Crop], rows: Axis, columns: Axis) -> None:
        self.is_rgb = crops[0].colors is None
        self.rows, self.columns = (
            (rows, columns) if self.is_rgb else (rows.from_even_pixels(), columns.from_even_pixels())
        )
        self.height, self.width = int(self.rows.length.max()), int(self.columns.length.max())
        if not self.is_rgb:
            self.height, self.width = self.height + self.height % 2, self.width + self.width % 2
        self._flat, offsets = _one_buffer([crop.frames for crop in crops])
        self._sides = np.array([crop.size for crop in crops], dtype=np.int64)  # (S, 2)
        positions = np.stack([crop.positions for crop in crops])  # (S, T)
        self._frames = offsets[:, None] + positions * (self._bytes_per_frame)[:, None]  # (S, T), where each begins
        colors = [crop.colors for crop in crops if crop.colors is not None]
        self.numbers = coefficients(colors) if colors else np.empty((0, 0), np.float32)  # (S, 14), needed by planes

    @property
    def starts(self) -> np.ndarray:
        """Where the rows of all windows start in the buffer, int64: (S · height · T,), then those of chroma."""
        counted = np.minimum(np.arange(self.height), self.rows.length[:, None] - 1)  # (S, height): then the last one
        width, first = self._sides[:, 1:], self.columns.first[:, None]
        if self.is_rgb:
            of_rows = 3 * ((self.rows.first[:, None] + counted) * width + first)
            return (self._frames[:, None] + of_rows[:, :, None]).ravel()
        of_rows = (self.rows.first[:, None] + counted) * width + first
        of_chroma = (self.rows.first[:, None] + counted[:, ::2]) // 2 * (width // 2) + first // 2
        num_pixels = self._sides.prod(axis=1)[:, None]
        luma = self._frames[:, None] + of_rows[:, :, None]
        blue = (self._frames + num_pixels)[:, None] + of_chroma[:, :, None]
        return np.concatenate([plane.ravel() for plane in (luma, blue, blue + num_pixels[:, None] // 4)])

    def gather(self, starts: Tensor, numbers: Tensor, dtype: torch.dtype) -> Tensor:
        """Return the windows (S, height, T, width, 3): bytes, or values of planes that are converted to `dtype`.

        Args:
            starts: `self.starts` on the device.
            numbers: `self.numbers` on the device.
            dtype: Type that holds whole numbers up to 1,000.
        """
        num_clips, num_frames = self._frames.shape
        if self.is_rgb:
            windows = self._flat.unfold(0, 3 * self.width, 1).index_select(0, starts)
            return windows.view(num_clips, self.height, num_frames, self.width, 3)
        of_luma, of_chroma = starts.split([num_clips * self.height * num_frames, num_clips * self.height * num_frames])
        luma = self._flat.unfold(0, self.width, 1).index_select(0, of_luma)
        chroma = self._flat.unfold(0, self.width // 2, 1).index_select(0, of_chroma)
        return rgb_levels(
            luma.view(num_clips, self.height, num_frames, self.width),
            chroma.view(2, num_clips, self.height // 2, num_frames, self.width // 2),
            numbers,
            dtype,
        )

    @property
    def _bytes_per_frame(self) -> np.ndarray:
        num_pixels = self._sides.prod(axis=1)
        return 3 * num_pixels if self.is_rgb else 3 * num_pixels // 2


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
