"""The frames of a video with their times, one by one, each decoded once."""

from collections.abc import Iterator

import numpy as np

from videoctx.data.decoding.containers import VideoDecodeError, open_container
from videoctx.data.decoding.pyav_reader import decode, upright


def average_fps(path: str) -> float:
    """As the container says; 0 where it does not.

    Raises:
        VideoDecodeError: it is no video.
    """
    with open_container(path) as container:
        return float(container.streams.video[0].average_rate or 0)


def timed_frames(path: str, fps: float) -> Iterator[tuple[np.ndarray, float]]:
    """Upright pictures (H, W, 3) uint8 RGB, and the seconds from the first one at which each is shown.

    Args:
        fps: for frames that do not say when they are shown.

    Raises:
        VideoDecodeError: a frame is damaged, or nothing says when one is shown.
    """
    first, last = None, 0.0
    for index, frame in enumerate(decode(path)):
        if frame.time is None and not fps > 0:
            raise VideoDecodeError(path, f"neither frame {index} nor its frame rate says when it is shown")
        seconds = frame.time if frame.time is not None else index / fps
        first = seconds if first is None else first
        last = max(last, seconds - first)
        yield upright(frame), last
