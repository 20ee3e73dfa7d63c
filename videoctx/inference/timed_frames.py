"""The frames of a video with their times, one by one, each decoded once."""

from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from typing import NamedTuple

import numpy as np

from videoctx.data.decoding.containers import VideoDecodeError, probe
from videoctx.data.decoding.frame_collector import upright
from videoctx.data.decoding.frame_folder import open_frame_folder
from videoctx.data.decoding.pyav_reader import decode
from videoctx.data.loading.segment import WHOLE, Segment, segment_frames
from videoctx.data.storage.locations import holds_images


class TimedFrames(NamedTuple):
    """A video that is read from its first frame to its last.

    Args:
        fps: its average frame rate, or 0 if it is unknown.
        duration_seconds: as its file states it.
        frames: upright images (H, W, 3) uint8 RGB, each with its time in seconds after the first one.
    """

    fps: float
    duration_seconds: float
    frames: Iterator[tuple[np.ndarray, float]]


@contextmanager
def open_timed_frames(path: str, given_fps: float | None = None, *, segment: Segment = WHOLE) -> Iterator[TimedFrames]:
    """Open a video, or images that stand for one.

    Args:
        given_fps: The frame rate of images, which state none.
        segment: The part of the video whose frames are yielded, with their times in the video.

    Raises:
        VideoDecodeError: The file is no video, or images have no frame rate. Inside the `with` block: a frame is
            damaged, or has no time while the frame rate is unknown.
    """
    if holds_images(path):
        with open_frame_folder(path, given_fps) as images:
            fps = images.fps
            numbers = range(*segment_frames(images, segment, path))
            frames = ((images.image(index)[1].copy(), index / fps) for index in numbers)
            yield TimedFrames(fps, images.num_frames / fps, frames)  # a copy, as torch wants to be able to write
        return
    container = probe(path)
    yield TimedFrames(container.fps, container.duration_seconds, _timed(path, container.fps, segment))


def _timed(path: str, fps: float, segment: Segment) -> Iterator[tuple[np.ndarray, float]]:
    first, last = None, 0.0
    slack = 0.0005 / fps if fps > 0 else 0.0  # as `frame_range` rounds
    start = -inf if segment.start_seconds is None else segment.start_seconds - slack
    end = inf if segment.end_seconds is None else segment.end_seconds - slack
    for index, frame in enumerate(decode(path)):
        if frame.time is None and not fps > 0:
            raise VideoDecodeError(path, f"frame {index} has no time, and the video has no frame rate")
        seconds = frame.time if frame.time is not None else index / fps
        first = seconds if first is None else first
        last = max(last, seconds - first)
        if last >= end:
            return
        if last >= start:
            yield upright(frame), last
