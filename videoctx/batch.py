"""ClipBatch: the one contract between data and tasks.

The data side fills it, on the device; the task side only reads it. Neither needs to know how the other works.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from torch import Tensor


class Clips(Protocol):
    """Network input that can be taken in slices: a tensor, or views that are cut out only when they are needed."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: slice, /) -> Tensor:
        """(b, C, T, H, W) float, normalized."""
        ...


class View(NamedTuple):
    """Where in its video a clip was taken."""

    start_frame: int
    crop: int  # 0 = center, or 0 / 1 / 2 = first / middle / last third of the longer side


class Failure(NamedTuple):
    """A video that could not be read."""

    path: str
    reason: str


@dataclass(slots=True)
class ClipBatch:
    """S clips of V videos. A video that could not be read has a label but no clips."""

    clips: Clips  # S of (C, T, H, W)
    video: Tensor  # (S,) int64: the position, 0 … V-1, of each clip's video in this batch
    labels: Tensor  # (V,) int64 class index, -1: not given; or (V, K) bool, where a video may show several classes
    paths: list[str]  # V
    rows: list[int]  # V: each video's row in its split of the manifest, from 0
    views: list[View]  # S
    views_expected: Tensor  # (V,) int64: how many clips each video should have given
    failures: dict[int, Failure] = field(default_factory=dict)  # by position of the video
    swapped_labels: Tensor | None = None  # (S,) or (S, K), as `labels`, where flips change those of clips

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def clip_labels(self) -> Tensor:
        """(S,) or (S, K): the label of each clip, its video's unless a flip has changed it."""
        return self.labels[self.video] if self.swapped_labels is None else self.swapped_labels


def slices(length: int, size: int) -> Sequence[slice]:
    """Consecutive slices of at most `size`: micro-batches of a batch."""
    return [slice(start, min(start + size, length)) for start in range(0, length, size)]
