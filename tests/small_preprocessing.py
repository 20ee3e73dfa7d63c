"""The preprocessing of small clips, for tests."""

from dataclasses import fields
from typing import Any

from videoctx.data.preprocessing import Preprocessing
from videoctx.data.settings import ClipSettings, TestSettings


def small_preprocessing(**changes: Any) -> Preprocessing:
    """Return a preprocessing of 2 × 3 views, with 4 frames of 32 × 32 pixels each, with other options where given."""
    options: dict[str, Any] = {
        "clip_len": 4,
        "frame_interval": 2,
        "short_side_px": 40,
        "crop_size_px": 32,
        "views": (2, 3),
    } | changes
    of_clips = {field.name for field in fields(ClipSettings)}
    clips = ClipSettings(**{name: value for name, value in options.items() if name in of_clips})
    test = TestSettings(**{name: value for name, value in options.items() if name not in of_clips})
    return Preprocessing.from_settings(clips, test)
