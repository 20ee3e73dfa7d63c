"""Collects the requested frames of a video: as RGB, or as planes if all of them can be converted on the device."""

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from videoctx.data.decoding.display_matrix import display_matrix
from videoctx.data.decoding.yuv_frames import (
    DecodedFrames,
    FrameFormat,
    YuvColors,
    colors_of,
    copy_planes,
    rgb_by_decoder,
)


class FrameCollector:
    """Frames of one size.

    Args:
        num_frames: Number of frames that will be added.
        frames: Format. With `yuv`, a frame that cannot be converted on the device makes the whole video RGB.
    """

    def __init__(self, num_frames: int, frames: FrameFormat) -> None:
        self._num_frames, self._format = num_frames, frames
        self._converter = VideoReformatter()
        self._pixels: np.ndarray | None = None
        self._colors: YuvColors | None = None  # of the frames so far

    def add(self, row: int, frame: av.VideoFrame) -> None:
        """Add a frame as row `row` of the result."""
        colors = colors_of(frame) if self._format == "yuv" else None
        if self._pixels is None:
            self._colors = colors
        elif colors != self._colors:
            self._become_rgb()
        if self._colors is not None:
            if self._pixels is None:
                self._pixels = np.empty((self._num_frames, frame.height * 3 // 2, frame.width), np.uint8)
            copy_planes(frame, self._pixels[row])
            return
        image = upright(frame, self._converter)
        if self._pixels is None:
            self._pixels = np.empty((self._num_frames, *image.shape), np.uint8)
        self._pixels[row] = image

    def result(self) -> DecodedFrames:
        """Return all frames."""
        assert self._pixels is not None, "there are frames"
        return DecodedFrames(self._pixels, self._colors)

    def _become_rgb(self) -> None:
        if self._colors is not None:
            assert self._pixels is not None
            self._pixels = rgb_by_decoder(self._pixels, self._colors)
        self._colors, self._format = None, "rgb"


def upright(frame: av.VideoFrame, converter: VideoReformatter | None = None) -> np.ndarray:
    """Return a frame (H, W, 3) uint8 RGB, rotated and mirrored as the container's display matrix requires.

    Args:
        converter: Used for many frames, because a new one costs about 0.1 ms. None: a new one.
    """
    image = (converter or VideoReformatter()).reformat(frame, format="rgb24", threads=1).to_ndarray()
    (row_right, row_down), (column_right, column_down) = display_matrix(frame)
    if row_right == 0:  # stored rows are shown as columns
        image = image.swapaxes(0, 1)
    return image[:: row_down + column_down, :: row_right + column_right]
