"""The sizes of all measurements: those of a GPU, and tiny ones with which every line can run on a CPU in a minute."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """The sizes of all measurements."""

    clip_len: int = 8
    size: int = 224  # of a training clip, in pixels
    short_side_px: tuple[int, int] = (256, 320)
    test_size: int = 256
    num_classes: int = 400
    batch_size: int = 64
    rounds: int = 10
    network: dict[str, Any] = field(default_factory=dict)  # arguments of the networks, instead of their configs'
    compiled: bool = True
    copied_bytes: int = 2**30
    positions: tuple[int, ...] = (784, 6_272, 25_088)
    inner_channels: int = 256
    num_videos: int = 32
    num_frames: int = 300
    num_clips: int = 1_024  # that the loader reads per round
    data_rounds: int = 3
    fit_steps: int = 60
    logged_steps: int = 10
    test_videos: int = 64
    views: tuple[int, int] = (10, 3)
    views_per_forward: int = 30


FULL = Sizes()
TINY = Sizes(
    size=32,
    short_side_px=(36, 40),
    test_size=32,
    num_classes=5,
    batch_size=2,
    rounds=1,
    network={"width": 4},
    compiled=False,
    copied_bytes=2**20,
    positions=(16,),
    inner_channels=4,
    num_videos=2,
    num_frames=20,
    num_clips=4,
    data_rounds=1,
    fit_steps=2,
    logged_steps=1,
    test_videos=3,
    views=(2, 2),
    views_per_forward=3,
)


class Setting(NamedTuple):
    """Where a step runs."""

    device: str
    sizes: Sizes
    folder: Path  # for videos, runs and results

    @property
    def num_workers(self) -> int:
        """All cores but one, which starts the work of the GPU."""
        return max(len(os.sched_getaffinity(0)) - 1, 1) if hasattr(os, "sched_getaffinity") else 1
