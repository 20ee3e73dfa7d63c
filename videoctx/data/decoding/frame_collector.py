"""Collects the requested frames of a video: as RGB, or as planes if all of them can be converted on the device."""

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from videoctx.data.decoding.area_scaling import scaled_planes, scaled_size, to_rgb
from videoctx.data.decoding.display_matrix import UPRIGHT, display_matrix
from videoctx.data.decoding.yuv_frames import (
    DecodedFrames,
    FrameFormat,
    YuvColors,
    colors_of,
    copy_planes,
    is_converted_alike,
    rgb_by_decoder,
)


class FrameCollector:
    """Frames of one size.

    Args:
        num_frames: Number of frames that will be added.
        frames: Format. With `yuv`, a frame that cannot be converted on the device makes the whole video RGB.
        short_side_px: Scale larger frames to this short side. None: not.
    """

    def __init__(self, num_frames: int, frames: FrameFormat, short_side_px: int | None = None) -> None:
        self._num_frames, self._format, self._short_side_px = num_frames, frames, short_side_px
        self._converter = VideoReformatter()
        self._pixels: np.ndarray | None = None
        self._colors: YuvColors | None = None  # of the frames so far

    def add(self, row: int, frame: av.VideoFrame) -> None:
        """Add a frame as row `row` of the result."""
        colors = self._colors_of(frame) if self._format == "yuv" else None
        if self._pixels is None:
            self._colors = colors
        elif colors != self._colors:
            self._become_rgb()
        if self._colors is not None:
            planes = scaled_planes(frame, self._converter, self._short_side_px)
            if self._pixels is None:
                self._pixels = np.empty((self._num_frames, planes.height * 3 // 2, planes.width), np.uint8)
            copy_planes(planes, self._pixels[row])
            return
        image = upright(frame, self._converter, self._short_side_px)
        if self._pixels is None:
            self._pixels = np.empty((self._num_frames, *image.shape), np.uint8)
        self._pixels[row] = image

    def result(self) -> DecodedFrames:
        """Return all frames."""
        assert self._pixels is not None, "there are frames"
        return DecodedFrames(self._pixels, self._colors)

    def _colors_of(self, frame: av.VideoFrame) -> YuvColors | None:
        """Return how the planes of a frame, which may be scaled, become RGB on the device. None: they cannot."""
        height, width = scaled_size(frame.height, frame.width, self._short_side_px)
        colors = colors_of(frame)
        if colors is None or height % 2 or width % 2 or not is_converted_alike(colors, width):
            return None
        return colors

    def _become_rgb(self) -> None:
        if self._colors is not None:
            assert self._pixels is not None
            self._pixels = rgb_by_decoder(self._pixels, self._colors)
        self._colors, self._format = None, "rgb"


def upright(
    frame: av.VideoFrame, converter: VideoReformatter | None = None, short_side_px: int | None = None
) -> np.ndarray:
    """Return a frame (H, W, 3) uint8 RGB, rotated and mirrored as the container's display matrix requires.

    Args:
        converter: Used for many frames, because a new one costs about 0.1 ms. None: a new one.
        short_side_px: Scale a larger frame to this short side. None: not.
    """
    image = to_rgb(frame, converter or VideoReformatter(), short_side_px)
    matrix = display_matrix(frame)
    if matrix is UPRIGHT:
        return image
    (row_right, row_down), (column_right, column_down) = matrix
    if row_right == 0:  # stored rows are shown as columns
        image = image.swapaxes(0, 1)
    return image[:: row_down + column_down, :: row_right + column_right]
