"""The frames of a video with their times, one by one, each decoded once."""

from collections.abc import Iterator

import numpy as np

from videoctx.data.decoding.containers import VideoDecodeError, probe
from videoctx.data.decoding.frame_collector import upright
from videoctx.data.decoding.frame_folder import open_frame_folder
from videoctx.data.decoding.pyav_reader import decode
from videoctx.data.storage.locations import holds_images


def average_fps(path: str, given: float | None = None) -> float:
    """Return the average frame rate, or 0 if it is unknown.

    Args:
        given: The frame rate of images, which state none.

    Raises:
        VideoDecodeError: The file is no video.
    """
    if holds_images(path):
        with open_frame_folder(path, given) as images:
            return images.fps
    return probe(path).fps


def timed_frames(path: str, fps: float) -> Iterator[tuple[np.ndarray, float]]:
    """Yield upright images (H, W, 3) uint8 RGB, each with its time in seconds after the first one.

    Args:
        fps: Frame rate for frames without a time.

    Raises:
        VideoDecodeError: A frame is damaged, or has no time while `fps` is 0.
    """
    if holds_images(path):
        with open_frame_folder(path, fps) as images:
            for index in range(images.num_frames):
                yield images.image(index)[1].copy(), index / fps  # torch wants to be able to write
        return
    first, last = None, 0.0
    for index, frame in enumerate(decode(path)):
        if frame.time is None and not fps > 0:
            raise VideoDecodeError(path, f"frame {index} has no time, and the video has no frame rate")
        seconds = frame.time if frame.time is not None else index / fps
        first = seconds if first is None else first
        last = max(last, seconds - first)
        yield upright(frame), last
