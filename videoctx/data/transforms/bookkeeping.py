"""The fields of a `ClipBatch` that relate its clips to their videos."""

from typing import Any

import torch
from torch import Tensor

from videoctx.data.loading.dataset import DecodedBatch


def _labels(labels: list[int | tuple[bool, ...]]) -> Tensor:
    """Return labels (V,) int64, or (V, K) bool if a video may show several classes."""
    several = bool(labels) and isinstance(labels[0], tuple)
    return torch.tensor(labels, dtype=torch.bool if several else torch.int64)


def bookkeeping(batch: DecodedBatch, *, views_per_video: int) -> dict[str, Any]:
    """Return the fields of a `ClipBatch` that relate its clips to the videos of `batch`."""
    readable = [index for index, video in enumerate(batch.videos) if video.failure is None]
    return {
        "video": torch.tensor(readable, dtype=torch.int64).repeat_interleave(views_per_video),
        "labels": _labels([video.label for video in batch.videos]),
        "paths": [video.path for video in batch.videos],
        "rows": [video.row for video in batch.videos],
        "views_expected": torch.full((len(batch.videos),), views_per_video, dtype=torch.int64),
        "failures": {index: video.failure for index, video in enumerate(batch.videos) if video.failure},
    }
