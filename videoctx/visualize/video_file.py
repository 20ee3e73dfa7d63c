"""Pictures as an H.264 file that plays everywhere."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

# yuv420p and its index at the start: what browsers and phones ask for.
PIXEL_FORMAT = "yuv420p"
CONTAINER_OPTIONS = {"movflags": "faststart"}
ENCODER_OPTIONS = {"crf": "18", "x264-params": "log-level=none"}


def write_video(path: Path, pictures: np.ndarray, *, fps: float) -> None:
    """(T, H, W, 3) uint8 RGB → MP4. An odd side gets its last row or column twice: yuv420p knows even ones alone.

    Raises:
        ValueError: `fps` is not more than 0.
    """
    if not fps > 0:
        raise ValueError(f"fps is {fps:g}; expected more than 0")
    _, height, width, _ = pictures.shape
    pictures = np.pad(pictures, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    with av.open(str(path), "w", format="mp4", options=CONTAINER_OPTIONS) as container:
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001), options=ENCODER_OPTIONS)
        stream.height, stream.width = pictures.shape[1:3]
        stream.pix_fmt = PIXEL_FORMAT
        for picture in pictures:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
