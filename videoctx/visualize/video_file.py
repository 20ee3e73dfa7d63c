"""Writes frames as an H.264 file that browsers and phones play."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

# Browsers and phones need yuv420p, and the index at the start of the file.
PIXEL_FORMAT = "yuv420p"
CONTAINER_OPTIONS = {"movflags": "faststart"}
ENCODER_OPTIONS = {"crf": "18", "x264-params": "log-level=none"}


def write_video(path: Path, frames: np.ndarray, *, fps: float) -> None:
    """Write frames as an MP4 file.

    The last row or column of frames with an odd size is repeated, because yuv420p has even sizes only.

    Args:
        path: the file to write.
        frames: (T, H, W, 3) uint8 RGB.
        fps: frames per second.

    Raises:
        ValueError: `fps` is not more than 0.
    """
    if not fps > 0:
        raise ValueError(f"fps is {fps:g}; expected more than 0")
    _, height, width, _ = frames.shape
    frames = np.pad(frames, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    with av.open(str(path), "w", format="mp4", options=CONTAINER_OPTIONS) as container:
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001), options=ENCODER_OPTIONS)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = PIXEL_FORMAT
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        container.mux(stream.encode())
