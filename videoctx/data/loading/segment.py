"""A segment of a video, as a row of the manifest gives it, and its frames."""

from typing import NamedTuple, Protocol

import numpy as np

from videoctx.data.decoding.containers import VideoDecodeError
from videoctx.data.sampling.clip_samplers import frame_range


class Segment(NamedTuple):
    """The part of a video from one time to another.

    Args:
        start_seconds: None: it begins with the video.
        end_seconds: None: it ends with the video.

    >>> str(Segment(3, 5.5)), str(Segment(3)), str(Segment(None, 5.5))
    ('3 s to 5.5 s', 'from 3 s', 'to 5.5 s')
    """

    start_seconds: float | None = None
    end_seconds: float | None = None

    def __str__(self) -> str:
        start, end = ("" if seconds is None else f"{seconds:g} s" for seconds in self)
        return " to ".join((start, end)) if start and end else f"from {start}" if start else f"to {end}" if end else ""


WHOLE = Segment()


class TimedReader(Protocol):
    """An open video."""

    @property
    def num_frames(self) -> int: ...

    @property
    def fps(self) -> float: ...

    @property
    def frame_seconds(self) -> np.ndarray | None: ...


def segment_frames(reader: TimedReader, segment: Segment, path: str) -> tuple[int, int]:
    """Return the frames of a segment, as (first, stop).

    Args:
        path: Of the video, for the error.

    Raises:
        VideoDecodeError: The segment has no frames.
    """
    start, end = segment
    times = reader.frame_seconds if segment != WHOLE else None
    first, stop = frame_range(reader.num_frames, reader.fps, start, end, frame_seconds=times)
    if stop <= first:
        seconds = reader.num_frames / reader.fps if reader.fps else 0.0
        wanted = f"from {start or 0:g} s to {seconds if end is None else end:g} s"
        raise VideoDecodeError(path, f"no frame {wanted}: the video lasts {seconds:.2f} s")
    return first, stop
