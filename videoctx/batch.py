"""ClipBatch: what the data side hands to the task side.

The data side fills it on the device, and the task side reads it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from torch import Tensor


class Clips(Protocol):
    """Network input that can be sliced: a tensor, or views that are cut out when they are needed."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: slice, /) -> Tensor:
        """Return clips (b, C, T, H, W), float and normalized."""
        ...


class View(NamedTuple):
    """The place of a clip in its video."""

    start_frame: int
    crop: int  # 0 = center, or 0 / 1 / 2 = first / middle / last third of the longer side


class Failure(NamedTuple):
    """A video that could not be read."""

    path: str
    reason: str


@dataclass(slots=True)
class ClipBatch:
    """S clips of V videos. A video that could not be read has a label but no clips.

    >>> import torch
    >>> batch = ClipBatch(
    ...     clips=torch.zeros(3, 3, 8, 112, 112),
    ...     video=torch.tensor([0, 0, 1]),
    ...     labels=torch.tensor([4, 2]),
    ...     paths=["a.mp4", "b.mp4"],
    ...     rows=[0, 1],
    ...     views=[View(0, 0), View(16, 0), View(0, 0)],
    ...     views_expected=torch.tensor([2, 1]),
    ... )
    >>> batch.clip_labels
    tensor([4, 4, 2])
    """

    clips: Clips  # (S, C, T, H, W)
    video: Tensor  # (S,) int64: position of each clip's video in this batch, from 0 to V-1
    labels: Tensor  # (V,) int64 class index, -1: not given; or (V, K) bool, if a video may show several classes
    paths: list[str]  # V
    rows: list[int]  # V: row of each video in its split of the manifest, from 0
    views: list[View]  # S
    views_expected: Tensor  # (V,) int64: number of clips that each video should have
    failures: dict[int, Failure] = field(default_factory=dict)  # by position of the video in this batch
    swapped_labels: Tensor | None = None  # (S,) or (S, K): labels of clips, if flips change them

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def clip_labels(self) -> Tensor:
        """(S,) or (S, K): the label of each clip, which is that of its video unless a flip has changed it."""
        return self.labels[self.video] if self.swapped_labels is None else self.swapped_labels


def slices(length: int, size: int) -> Sequence[slice]:
    """Return consecutive slices of at most `size` that cover `length`.

    >>> slices(5, 2)
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    return [slice(start, min(start + size, length)) for start in range(0, length, size)]
