"""Large frames are made smaller where they are decoded, if the user allows it.

A frame of 1080p takes 6.2 MB as RGB, of which training keeps a crop of 224 by 224 pixels. FFmpeg's converter (swscale)
can scale while it converts: each new pixel is the mean of the area that it covers. The pixels differ slightly from
those of a frame that is converted first and resized later, so it is off by default.
"""

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from videoctx.data.decoding.yuv_frames import image_of


def scaled_size(height: int, width: int, short_side_px: int | None) -> tuple[int, int]:
    """Return the size of a frame whose short side is at most `short_side_px`, with an even long side. None: its own.

    >>> scaled_size(1080, 1920, 320), scaled_size(240, 320, 320)
    ((320, 568), (240, 320))
    """
    short = min(height, width)
    if short_side_px is None or short <= short_side_px:
        return height, width
    long = 2 * round(max(height, width) * short_side_px / short / 2)
    return (short_side_px, long) if height <= width else (long, short_side_px)


def to_rgb(frame: av.VideoFrame, converter: VideoReformatter, short_side_px: int | None) -> np.ndarray:
    """Convert a stored frame to RGB, (H, W, 3) uint8, scaled to the short side if it is larger. Rows may be padded."""
    height, width = scaled_size(frame.height, frame.width, short_side_px)
    if (height, width) == (frame.height, frame.width):
        return image_of(converter.reformat(frame, format="rgb24", threads=1))
    return image_of(
        converter.reformat(frame, width=width, height=height, format="rgb24", interpolation="AREA", threads=1)
    )


def scaled_planes(frame: av.VideoFrame, converter: VideoReformatter, short_side_px: int | None) -> av.VideoFrame:
    """Return a frame in the format in which it is stored, scaled to the short side if it is larger."""
    height, width = scaled_size(frame.height, frame.width, short_side_px)
    if (height, width) == (frame.height, frame.width):
        return frame
    stored = frame.format.name
    return converter.reformat(frame, width=width, height=height, format=stored, interpolation="AREA", threads=1)


def scaled(frames: np.ndarray, short_side_px: int | None) -> np.ndarray:
    """Scale frames (U, H, W, 3) uint8 RGB of decoders that do not scale themselves, as `to_rgb` does."""
    height, width = frames.shape[1:3]
    if scaled_size(height, width, short_side_px) == (height, width):
        return frames
    converter = VideoReformatter()
    images = (av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24") for image in frames)
    return np.stack([to_rgb(image, converter, short_side_px) for image in images])
