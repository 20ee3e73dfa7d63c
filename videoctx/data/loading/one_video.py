"""Decode chosen clips of one video outside of a dataset: for a prediction, an explanation or a report."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from videoctx.data.decoding.containers import VideoDecodeError
from videoctx.data.decoding.video_reader import open_video
from videoctx.data.loading.dataset import DecodedBatch, DecodedVideo, decode_clips
from videoctx.data.loading.segment import WHOLE, Segment, segment_frames
from videoctx.data.sampling.clip_samplers import NoClipError


@dataclass(frozen=True, slots=True)
class FrameTimes:
    """The frames of a segment, or of the whole video.

    Args:
        num_frames: Number of frames.
        fps: Average number of frames per second of the video; 0: not known.
        first: Number of the first frame in the video.
        seconds: (num_frames,) Time of each frame, relative to the first one of the video. None: frame k of the video
            is at k / fps.
    """

    num_frames: int
    fps: float
    first: int = 0
    seconds: np.ndarray | None = None

    def frame_at(self, seconds: float) -> int:
        """Return the number in the video of the frame that is shown at a time; after the end, one beyond the last.

        >>> FrameTimes(3, 2.0).frame_at(0.5), FrameTimes(3, 2.0, 0, np.array([0, 0.1, 1.4])).frame_at(0.5)
        (1, 1)
        """
        if self.seconds is None or not self.fps > 0 or seconds > self.seconds[-1] + 1 / self.fps:
            return int(np.floor(round(seconds * self.fps, 3)))
        return self.first + max(0, int(np.searchsorted(self.seconds, seconds + 0.0005 / self.fps, "right")) - 1)

    def seconds_of(self, indices: np.ndarray) -> np.ndarray | None:
        """Return the times of frames, given by their numbers in the video. None: they are not known."""
        if self.seconds is not None:
            return self.seconds[indices - self.first]
        return indices / self.fps if self.fps > 0 else None


class OneVideo(NamedTuple):
    """The decoded clips of one video.

    Args:
        batch: Batch of this video alone, as `ViewTransform` takes it.
        indices: (num_clips, clip_len) index of each frame in the video.
        times: The frames from which the clips were chosen.
    """

    batch: DecodedBatch
    indices: np.ndarray
    times: FrameTimes


def read_one_video(
    path: str,
    choose_clips: Callable[[FrameTimes], np.ndarray],
    *,
    fps: float | None = None,
    segment: Segment = WHOLE,
    timed: bool = False,
) -> OneVideo:
    """Decode clips of a video, each distinct frame once.

    Args:
        path: Path of a local file, or of a folder or archive of images.
        choose_clips: Returns frame indices (num_clips, clip_len), 0 for the first frame of the segment.
        fps: Frames per second of images, which state none.
        segment: Part of the video from which the clips are chosen.
        timed: Whether the time of each frame is looked up. Without it, frame k is at k / fps.

    Raises:
        VideoDecodeError: The video cannot be read, the segment has no frames, or `choose_clips` raises `NoClipError`.
    """
    with open_video(path, fps=fps) as reader:
        first, stop = segment_frames(reader, segment, path)
        seconds = reader.frame_seconds if timed else None
        times = FrameTimes(stop - first, reader.fps, first, None if seconds is None else seconds[first:stop])
        try:
            indices = first + choose_clips(times)
        except NoClipError as error:
            raise VideoDecodeError(path, str(error)) from error
        frames, clips, _ = decode_clips(reader, indices)
    video = DecodedVideo(path=path, row=0, label=-1, seed=0, frames=frames, clips=clips, starts=indices[:, 0].tolist())
    return OneVideo(DecodedBatch([video]), indices, times)
