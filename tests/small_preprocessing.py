"""The preprocessing of small clips, for tests."""

from typing import Any

from videoctx.data.preprocessing import Preprocessing
from videoctx.data.transforms.normalize import IMAGENET_MEAN, IMAGENET_STD


def small_preprocessing(**changes: Any) -> Preprocessing:
    """Return a preprocessing of 2 × 3 views, with 4 frames of 32 × 32 pixels each, in which some fields are changed."""
    fields: dict[str, Any] = {
        "clip_len": 4,
        "frame_interval": 2,
        "short_videos": "wrap",
        "protocol": "videoctx",
        "short_side_px": 40,
        "crop_size_px": 32,
        "views": (2, 3),
        "mean": IMAGENET_MEAN,
        "std": IMAGENET_STD,
    }
    return Preprocessing(**fields | changes)
