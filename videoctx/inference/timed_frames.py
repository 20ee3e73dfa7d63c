"""The frames of a video with their times, one by one, each decoded once."""

from collections.abc import Iterator

import numpy as np

from videoctx.data.decoding.containers import VideoDecodeError, probe
from videoctx.data.decoding.frame_collector import upright
from videoctx.data.decoding.pyav_reader import decode


def average_fps(path: str) -> float:
    """Return the average frame rate, or 0 if it is unknown.

    Raises:
        VideoDecodeError: The file is no video.
    """
    return probe(path).fps


def timed_frames(path: str, fps: float) -> Iterator[tuple[np.ndarray, float]]:
    """Yield upright images (H, W, 3) uint8 RGB, each with its time in seconds after the first one.

    Args:
        fps: Frame rate for frames without a time.

    Raises:
        VideoDecodeError: A frame is damaged, or has no time while `fps` is 0.
    """
    first, last = None, 0.0
    for index, frame in enumerate(decode(path)):
        if frame.time is None and not fps > 0:
            raise VideoDecodeError(path, f"frame {index} has no time, and the video has no frame rate")
        seconds = frame.time if frame.time is not None else index / fps
        first = seconds if first is None else first
        last = max(last, seconds - first)
        yield upright(frame), last
