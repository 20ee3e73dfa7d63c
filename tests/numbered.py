"""Videos whose frames show their own number, so that tests notice a frame that is off by one.

An image is 4 × 3 cells. The upper eight are the bits of the number, black or white, the lowest bit first; the bottom
four are red, green, blue and white, which a turned, mirrored or BGR image does not show.
"""

from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

COLUMNS, ROWS = 4, 3
NUM_BITS = 8
MARKS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255))

# x264 with three B-frames between two others, and a key frame, which nothing before it needs, every 24 frames
CLOSED_GOP = {
    "g": "24",
    "bf": "3",
    "sc_threshold": "0",
    "x264-params": "open-gop=0:b-adapt=0:threads=1:log-level=none",
}


@dataclass(frozen=True, slots=True)
class NumberedVideo:
    """A file whose frame k shows the number k."""

    path: Path
    num_frames: int
    fps: float
    width: int  # upright
    height: int


def paint(number: int, *, width: int, height: int) -> np.ndarray:
    """Return the image of a number from 0 to 255, (height, width, 3) uint8."""
    if not 0 <= number < 2**NUM_BITS:
        raise ValueError(f"number is {number}; expected 0 to {2**NUM_BITS - 1}")
    cells = np.zeros((ROWS, COLUMNS, 3), np.uint8)
    for bit in range(NUM_BITS):
        cells[divmod(bit, COLUMNS)] = 255 * (number >> bit & 1)
    cells[-1] = MARKS
    return cells[np.arange(height) * ROWS // height][:, np.arange(width) * COLUMNS // width]


def read_number(image: np.ndarray) -> int:
    """Return the number that an upright RGB image of any size shows.

    Raises:
        ValueError: The image shows no number, because it is rotated, mirrored, BGR or a mixture of two.
    """
    height, width, _ = image.shape
    cells = np.empty((ROWS, COLUMNS, 3))
    for row in range(ROWS):
        for column in range(COLUMNS):  # the middle of each cell
            top, bottom = (round((row + part) * height / ROWS) for part in (0.25, 0.75))
            left, right = (round((column + part) * width / COLUMNS) for part in (0.25, 0.75))
            cells[row, column] = image[top:bottom, left:right].mean((0, 1))
    if np.abs(cells - 255 * (cells > 127)).max() > 64 or np.abs(cells[-1] - MARKS).max() > 64:
        raise ValueError(f"not a numbered image; its cells are\n{cells.round()}")
    return sum(int(cells[divmod(bit, COLUMNS)].mean() > 127) << bit for bit in range(NUM_BITS))


def write_uneven_video(path: Path) -> None:
    """Encode frames 0 to 11, of which ten lie in the first second and two in the next."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"x264-params": "threads=1:log-level=none"})
        stream.width, stream.height, stream.pix_fmt = 112, 80, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 10)
        for number, tenths in enumerate([*range(10), 10, 15]):
            frame = av.VideoFrame.from_ndarray(paint(number, width=112, height=80), format="rgb24")
            frame.pts, frame.time_base = tenths, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def write_video(
    path: Path,
    *,
    num_frames: int,
    width: int = 112,
    height: int = 80,
    fps: int | Fraction = 30,
    codec: str = "libx264",
    options: dict[str, str] = CLOSED_GOP,
    container_options: dict[str, str] | None = None,
    rotation: int = 0,
    pixel_format: str = "yuv420p",
) -> NumberedVideo:
    """Encode frames 0, 1, 2, … into a file. Its suffix decides the container.

    Args:
        width: Width of the upright image.
        height: Height of the upright image.
        rotation: Counterclockwise rotation of the stored image by a player, in degrees, a multiple of 90.
    """
    stored_width, stored_height = (height, width) if rotation % 180 else (width, height)
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=fps, options=options)
        stream.width, stream.height, stream.pix_fmt = stored_width, stored_height, pixel_format
        if rotation:
            if not hasattr(stream, "set_display_rotation"):
                pytest.skip("PyAV before 17.1 cannot write a display matrix")
            stream.set_display_rotation(rotation)
        for number in range(num_frames):
            image = np.rot90(paint(number, width=width, height=height), -rotation // 90)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return NumberedVideo(path, num_frames, float(fps), width, height)


def image_types(path: Path) -> Counter[str]:
    """Return the numbers of I, P and B frames of a file."""
    with av.open(str(path)) as container:
        return Counter(av.video.frame.PictureType(frame.pict_type).name for frame in container.decode(video=0))


def num_key_frames(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(packet.is_keyframe for packet in container.demux(video=0) if packet.size)
