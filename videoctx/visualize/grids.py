"""Where the cells of a feature map lie on the clip that they were computed from.

A 7 × 7 map of a 224 × 224 clip does not cut it into squares of 32: with the usual padding the first cell of a ResNet
is centered on pixel 0, and the last one on pixel 192. Maps that are stretched over the picture are off by half a cell.
So the center of the first cell, and the distance to the next, are followed through every convolution and pooling.
"""

from collections.abc import Sequence
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
    """Cell i is centered on place `start` + i · `step` of the clip's axis; its pixels or frames on 0, 1, 2, …"""

    start: float = 0.0
    step: float = 1.0

    def windows(self, kernel: int, stride: int, padding: int, dilation: int = 1) -> "Axis":
        """The axis of the windows of a convolution or pooling over this one."""
        return Axis(self.start + self.step * ((kernel - 1) * dilation / 2 - padding), self.step * stride)

    def resized(self, size: int, new_size: int) -> "Axis":
        """The axis of `new_size` equal parts of the `size` cells."""
        scale = size / new_size
        return Axis(self.start + self.step * (scale - 1) / 2, self.step * scale)

    def sliced(self, first: int, step: int) -> "Axis":
        return Axis(self.start + self.step * first, self.step * step)

    def nearest(self, place: float, size: int) -> int:
        """The cell, 0 … size-1, whose center is nearest to a place on the clip."""
        return int(np.clip(round((place - self.start) / self.step), 0, size - 1))

    def weights(self, places: np.ndarray, size: int) -> np.ndarray:
        """(P, size): each place's linear mixture of the two cells around it, and beyond the outer cells those alone."""
        cells = np.clip((np.asarray(places, dtype=float) - self.start) / self.step, 0, size - 1)
        return np.maximum(0, 1 - np.abs(cells[:, None] - np.arange(size)))


@dataclass(frozen=True, slots=True)
class Grid:
    """The places of a feature map's cells on the clip, along time, height and width."""

    sizes: Sizes
    axes: tuple[Axis, Axis, Axis]

    @classmethod
    def stretched(cls, sizes: Sizes, clip: Sizes) -> "Grid":
        """Cells that divide the clip equally: where nothing better is known."""
        return cls(sizes, tuple(Axis().resized(n, size) for size, n in zip(sizes, clip, strict=True)))

    def halved(self) -> "Grid":
        """What `videoctx.layers.non_local.halve_resolution` leaves."""
        kernels = (1, min(2, self.sizes[1]), min(2, self.sizes[2]))
        axes = tuple(axis.windows(k, k, 0) for axis, k in zip(self.axes, kernels, strict=True))
        return Grid(tuple(size // k for size, k in zip(self.sizes, kernels, strict=True)), axes)

    def nearest(self, place: tuple[float, float, float]) -> Sizes:
        """The cell (t, y, x) whose center is nearest to a place (frame, row, column) of the clip."""
        cells = zip(self.axes, place, self.sizes, strict=True)
        return tuple(axis.nearest(where, size) for axis, where, size in cells)

    def center(self, cell: Sizes) -> tuple[float, float, float]:
        """The place (frame, row, column) of the clip on which a cell is centered."""
        return tuple(axis.start + axis.step * index for axis, index in zip(self.axes, cell, strict=True))

    def upsample(self, values: np.ndarray, places: tuple[np.ndarray, np.ndarray, np.ndarray]) -> np.ndarray:
        """Cells' values at places of the clip, linear between the centers: (T', H', W') → (frames, rows, columns)."""
        along = [axis.weights(p, size) for axis, p, size in zip(self.axes, places, self.sizes, strict=True)]
        return np.einsum("tyx,ft,ry,cx->frc", values, *along, optimize=True)


class GridTrace(TorchDispatchMode):
    """Follows the grid of every (B, C, T, H, W) tensor that comes of a clip, whatever the network is made of.

    with GridTrace(clip) as trace:
        net(clip)
    trace.grid_of(features)

    It sees the operations that run, so it needs to know no layer. Where a grid gets lost, in an operation that turns
    the axes around, the map counts as stretched over the clip.
    """

    def __init__(self, clip: Tensor) -> None:
        super().__init__()
        self.clip_sizes: Sizes = tuple(clip.shape[2:])
        self._axes = WeakTensorKeyDictionary()  # tensor → its three axes
        self._axes[clip] = (Axis(), Axis(), Axis())

    def grid_of(self, features: Tensor) -> Grid:
        sizes = tuple(features.shape[2:])
        axes = self._axes.get(features)
        return Grid(sizes, axes) if axes else Grid.stretched(sizes, self.clip_sizes)

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
            kernel, stride, padding = [*args[1:4], *[(), 0][len(args) - 2 :]][:3]
            dilation = args[4] if name.startswith("max") and len(args) > 4 else 1
            self._axes[result] = _windows(before, kernel, stride or kernel, padding, dilation)
        elif name.startswith(("upsample", "_adaptive_avg_pool3d", "adaptive_max_pool3d")):
            sizes = zip(before, sources[0].shape[2:], result.shape[2:], strict=True)
            self._axes[result] = tuple(axis.resized(size, new_size) for axis, size, new_size in sizes)
        elif name == "slice":
            _, dim, first, _, step = (*args, *[0, None, None, 1][len(args) - 1 :])
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


def _windows(axes: tuple[Axis, ...], kernel: Any, stride: Any, padding: Any, dilation: Any) -> tuple[Axis, ...]:
    along = zip(axes, *map(_triple, (kernel, stride, padding, dilation)), strict=True)
    return tuple(axis.windows(*window) for axis, *window in along)


def _triple(value: int | Sequence[int]) -> Sequence[int]:
    """One number stands for all three axes."""
    value = [value] if isinstance(value, int) else value
    return [*value] * 3 if len(value) == 1 else value


def _flat(values: Any) -> list[Any]:
    """The values in (nested) tuples and lists."""
    if isinstance(values, tuple | list):
        return [leaf for value in values for leaf in _flat(value)]
    return [values]


def is_video(features: Any) -> bool:
    """Whether it is a feature map (B, C, T, H, W)."""
    return isinstance(features, torch.Tensor) and features.ndim == 5
