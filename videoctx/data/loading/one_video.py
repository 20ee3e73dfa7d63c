"""Decode chosen clips of one video outside of a dataset: for a prediction, an explanation or a report."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from videoctx.data.decoding.containers import VideoDecodeError
from videoctx.data.decoding.video_reader import open_video
from videoctx.data.loading.dataset import DecodedBatch, DecodedVideo, decode_clips
from videoctx.data.sampling.clip_samplers import NoClipError


class OneVideo(NamedTuple):
    """The decoded clips of one video.

    Args:
        batch: Batch of this video alone, as `ViewTransform` takes it.
        indices: (num_clips, clip_len) index of each frame in the video.
        fps: Average number of frames per second of the video.
    """

    batch: DecodedBatch
    indices: np.ndarray
    fps: float


def read_one_video(
    path: str, choose_clips: Callable[[int, float], np.ndarray], *, fps: float | None = None
) -> OneVideo:
    """Decode clips of a video, each distinct frame once.

    Args:
        path: Path of a local file, or of a folder or archive of images.
        choose_clips: Returns frame indices (num_clips, clip_len), given the number of frames and the frames per second
            of the video.
        fps: Frames per second of images, which state none.

    Raises:
        VideoDecodeError: The video cannot be read, or `choose_clips` raises `NoClipError`.
    """
    with open_video(path, fps=fps) as reader:
        try:
            indices = choose_clips(reader.num_frames, reader.fps)
        except NoClipError as error:
            raise VideoDecodeError(path, str(error)) from error
        frames, clips, _ = decode_clips(reader, indices)
        video_fps = reader.fps
    video = DecodedVideo(path=path, row=0, label=-1, seed=0, frames=frames, clips=clips, starts=indices[:, 0].tolist())
    return OneVideo(DecodedBatch([video]), indices, video_fps)
