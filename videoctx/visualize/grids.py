"""The positions of a feature map's cells on the clip that the map was computed from.

A 7 × 7 map of a 224 × 224 clip does not divide the clip into squares of 32: with the usual padding the first cell of a
ResNet is centered on pixel 0, and the last one on pixel 192. A map that is resized to the clip is off by half a cell.
Therefore the center of the first cell and the distance of the cells are followed through every convolution and pooling.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

Sizes = tuple[int, int, int]  # T, H, W


@dataclass(frozen=True, slots=True)
class Axis:
    """The cells along one axis. Cell i is centered at `start` + i · `step` on the clip, in pixels or frames from 0.

    Example:
        >>> Axis().windows(kernel=7, stride=2, padding=3).windows(kernel=3, stride=2, padding=1)
        Axis(start=0.0, step=4.0)
    """

    start: float = 0.0
    step: float = 1.0

    def windows(self, kernel: int, stride: int, padding: int, dilation: int = 1) -> "Axis":
        """Return the axis of the output of a convolution or pooling over this one."""
        return Axis(self.start + self.step * ((kernel - 1) * dilation / 2 - padding), self.step * stride)

    def resized(self, size: int, new_size: int) -> "Axis":
        """Return the axis of `new_size` equal parts of the `size` cells."""
        scale = size / new_size
        return Axis(self.start + self.step * (scale - 1) / 2, self.step * scale)

    def sliced(self, first: int, step: int) -> "Axis":
        """Return the axis of every `step`-th cell from cell `first` on."""
        return Axis(self.start + self.step * first, self.step * step)

    def nearest(self, position: float, size: int) -> int:
        """Return the cell, 0 … size-1, whose center is nearest to a position on the clip."""
        return int(np.clip(round((position - self.start) / self.step), 0, size - 1))

    def weights(self, positions: np.ndarray, size: int) -> np.ndarray:
        """Return the weights of linear interpolation between cells.

        Args:
            positions: (P,) on the clip. Beyond the outer cells, the value is that of the outer cell.
            size: the number of cells.

        Returns:
            (P, size).
        """
        cells = np.clip((np.asarray(positions, dtype=float) - self.start) / self.step, 0, size - 1)
        return np.maximum(0, 1 - np.abs(cells[:, None] - np.arange(size)))


Axes = tuple[Axis, Axis, Axis]


@dataclass(frozen=True, slots=True)
class Grid:
    """The positions of a feature map's cells on the clip.

    Args:
        sizes: the numbers of cells along time, height and width.
        axes: along time, height and width.
    """

    sizes: Sizes
    axes: Axes

    @classmethod
    def uniform(cls, sizes: Sizes, clip: Sizes) -> "Grid":
        """Return the grid of cells that divide a clip into equal parts."""
        return cls(sizes, _axes(Axis().resized(n, size) for size, n in zip(sizes, clip, strict=True)))

    def halved(self) -> "Grid":
        """Return the grid after `videoctx.layers.non_local.halve_resolution`."""
        kernels = (1, min(2, self.sizes[1]), min(2, self.sizes[2]))
        axes = _axes(axis.windows(k, k, 0) for axis, k in zip(self.axes, kernels, strict=True))
        return Grid(_sizes(size // k for size, k in zip(self.sizes, kernels, strict=True)), axes)

    def nearest(self, position: tuple[float, float, float]) -> Sizes:
        """Return the cell (t, y, x) whose center is nearest to a position (frame, row, column) on the clip."""
        along = zip(self.axes, position, self.sizes, strict=True)
        return _sizes(axis.nearest(coordinate, size) for axis, coordinate, size in along)

    def center(self, cell: Sizes) -> tuple[float, float, float]:
        """Return the position (frame, row, column) on the clip at which a cell is centered."""
        frame, row, column = (axis.start + axis.step * index for axis, index in zip(self.axes, cell, strict=True))
        return frame, row, column

    def upsample(self, values: np.ndarray, positions: tuple[np.ndarray, np.ndarray, np.ndarray]) -> np.ndarray:
        """Interpolate the values of the cells linearly at positions on the clip.

        Args:
            values: (T', H', W').
            positions: the frames (T,), rows (H,) and columns (W,).

        Returns:
            (T, H, W).
        """
        along = [axis.weights(p, size) for axis, p, size in zip(self.axes, positions, self.sizes, strict=True)]
        return np.einsum("tyx,ft,ry,cx->frc", values, *along, optimize=True)


class GridTrace(TorchDispatchMode):
    """Follows the grid of every tensor (B, C, T, H, W) that is computed from a clip, in any network.

    It follows the operations that run and not the layers. Where a grid is lost, as in an operation that permutes the
    axes, `Grid.uniform` takes its place.

    Example:
        >>> clip = torch.zeros(1, 3, 8, 32, 32)
        >>> with GridTrace(clip) as trace:
        ...     features = torch.nn.Conv3d(3, 1, kernel_size=3, stride=2, padding=1)(clip)
        >>> trace.grid_of(features).center((0, 0, 1))
        (0.0, 0.0, 2.0)
    """

    def __init__(self, clip: Tensor) -> None:
        super().__init__()
        self.clip_sizes = _sizes(clip.shape[2:])
        self._axes = WeakTensorKeyDictionary()  # tensor → its three axes
        self._axes[clip] = (Axis(), Axis(), Axis())

    def grid_of(self, features: Tensor) -> Grid:
        """Return the grid of a tensor (B, C, T', H', W')."""
        sizes = _sizes(features.shape[2:])
        axes = self._axes.get(features)
        return Grid(sizes, axes) if axes else Grid.uniform(sizes, self.clip_sizes)

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        out = func(*args, **(kwargs or {}))
        sources = [arg for arg in _flat(args) if isinstance(arg, Tensor) and arg.ndim == 5 and arg in self._axes]
        if sources:
            for result in _flat(out):
                if isinstance(result, Tensor) and result.ndim == 5:
                    self._follow(func.overloadpacket.__name__, args, sources, result)
        return out

    def _follow(self, name: str, args: tuple, sources: list[Tensor], result: Tensor) -> None:
        before = self._axes[sources[0]]
        if name == "convolution":
            _, weight, _, stride, padding, dilation, transposed = args[:7]
            if not transposed:
                self._axes[result] = _windows(before, weight.shape[2:], stride, padding, dilation)
        elif name.startswith(("max_pool3d", "avg_pool3d")):
            pool_defaults: list[Any] = [(), 0]
            kernel, stride, padding = [*args[1:4], *pool_defaults[len(args) - 2 :]][:3]
            dilation = args[4] if name.startswith("max") and len(args) > 4 else 1
            self._axes[result] = _windows(before, kernel, stride or kernel, padding, dilation)
        elif name.startswith(("upsample", "_adaptive_avg_pool3d", "adaptive_max_pool3d")):
            sizes = zip(before, sources[0].shape[2:], result.shape[2:], strict=True)
            self._axes[result] = tuple(axis.resized(size, new_size) for axis, size, new_size in sizes)
        elif name == "slice":
            slice_defaults: list[Any] = [0, None, None, 1]
            _, dim, first, _, step = [*args, *slice_defaults[len(args) - 1 :]]
            axes = list(before)
            if dim >= 2:
                first = first or 0
                axes[dim - 2] = axes[dim - 2].sliced(first if first >= 0 else first + sources[0].shape[dim], step)
            self._axes[result] = tuple(axes)
        elif name == "constant_pad_nd":
            left = [*args[1][::2], 0, 0, 0][:3]  # of W, H, T
            self._axes[result] = tuple(a.sliced(-pad, 1) for a, pad in zip(before, reversed(left), strict=True))
        else:
            same = [s for s in sources if s.shape[2:] == result.shape[2:] and s.shape[0] == result.shape[0]]
            if same:
                self._axes[result] = self._axes[same[0]]


def _sizes(values: Iterable[int]) -> Sizes:
    t, h, w = values
    return t, h, w


def _axes(values: Iterable[Axis]) -> Axes:
    t, h, w = values
    return t, h, w


def _windows(axes: tuple[Axis, ...], kernel: Any, stride: Any, padding: Any, dilation: Any) -> tuple[Axis, ...]:
    along = zip(axes, *map(_triple, (kernel, stride, padding, dilation)), strict=True)
    return tuple(axis.windows(*window) for axis, *window in along)


def _triple(value: int | Sequence[int]) -> Sequence[int]:
    """Return three numbers; a single number is that of all axes."""
    value = [value] if isinstance(value, int) else value
    return [*value] * 3 if len(value) == 1 else value


def _flat(values: Any) -> list[Any]:
    """Return the values in nested tuples and lists."""
    if isinstance(values, tuple | list):
        return [leaf for value in values for leaf in _flat(value)]
    return [values]


def is_video(features: Any) -> bool:
    """Return whether an output is a feature map (B, C, T, H, W)."""
    return isinstance(features, torch.Tensor) and features.ndim == 5
