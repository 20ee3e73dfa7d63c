"""Frames in YUV 4:2:0 of 8 bits, as most codecs store them: 1.5 bytes per pixel, where RGB takes 3.

A decoder that hands over such frames saves a conversion and half of the memory on the way to the device, where they are
converted. The pixels are those of the readers' RGB, because this is the arithmetic of FFmpeg's converter (swscale): it
repeats each chroma value for two by two pixels and computes in integers that are rounded down. It does so for frames of
even size that are not interlaced. All others are converted by the decoder.
"""

from functools import lru_cache
from typing import Literal, NamedTuple, get_args

import av
import numpy as np
import torch
from av.video.reformatter import VideoReformatter
from torch import Tensor

from videoctx.data.decoding.display_matrix import is_upright

FrameFormat = Literal["yuv", "rgb"]
FRAME_FORMATS = get_args(FrameFormat)

# (red of V, blue of U, green of U, green of V) in units of 2^-16 at limited range, by FFmpeg's number of the matrix
BT601 = (104597, 132201, -25675, -53279)
MATRICES = {
    1: (117489, 138438, -13975, -34925),  # bt709
    2: BT601,  # not stated
    4: (104448, 132798, -24759, -53109),  # fcc
    5: BT601,  # bt470bg
    6: BT601,  # smpte170m
    7: (117579, 136230, -16907, -35559),  # smpte240m
    9: (110013, 140363, -12277, -42626),  # bt2020nc
}
FORMATS = ("yuv420p", "yuvj420p")
FULL_RANGE = 2  # FFmpeg's number
SCALE = 2**13  # of the coefficients
MAX_DIFFERENCE, MAX_MEAN_DIFFERENCE = 1.0, 0.3  # to the decoder's RGB, in levels
CHECKED_ROWS = 16


class YuvColors(NamedTuple):
    """How the planes of a video become RGB."""

    matrix: int  # FFmpeg's number, one of `MATRICES`
    full_range: bool  # luma from 0 to 255, not from 16 to 235


class DecodedFrames(NamedTuple):
    """Decoded frames of a video."""

    pixels: np.ndarray  # (U, H, W, 3) uint8 RGB; or with `colors` (U, 3 H / 2, W): the planes Y, U and V
    colors: YuvColors | None = None  # None: RGB


def check_frame_format(name: str, frames: str) -> None:
    """Raise a ValueError if frames of this format cannot be decoded. `name` is the option's."""
    if frames not in FRAME_FORMATS:
        raise ValueError(f"{name} is {frames!r}; expected one of {', '.join(FRAME_FORMATS)}")


def colors_of(frame: av.VideoFrame) -> YuvColors | None:
    """Return how the planes of a frame become RGB. None: only the decoder's own RGB of this frame is exact."""
    if (
        frame.format.name not in FORMATS
        or frame.width % 2
        or frame.height % 2
        or frame.interlaced_frame
        or int(frame.colorspace) not in MATRICES
        or not is_upright(frame)
    ):
        return None
    full_range = frame.format.name == "yuvj420p" or int(frame.color_range) == FULL_RANGE
    colors = YuvColors(int(frame.colorspace), full_range)
    return colors if is_converted_alike(colors, frame.width) else None


def copy_planes(frame: av.VideoFrame, out: np.ndarray) -> None:
    """Copy the planes of a frame to `out`, (3 H / 2, W) uint8."""
    start, flat = 0, out.reshape(-1)
    for stored in _planes(frame):
        flat[start : start + stored.size].reshape(stored.shape)[:] = stored
        start += stored.size


def rgb_by_decoder(planes: np.ndarray, colors: YuvColors) -> np.ndarray:
    """Convert planes (U, 3 H / 2, W) as the decoder does: (U, H, W, 3) uint8 RGB. It is the fastest way on a CPU."""
    height, width = planes.shape[1] * 2 // 3, planes.shape[2]
    out, converter = np.empty((len(planes), height, width, 3), np.uint8), VideoReformatter()
    frame = av.VideoFrame(width, height, "yuv420p")
    frame.colorspace = colors.matrix
    frame.color_range = FULL_RANGE if colors.full_range else 1
    for image, rgb in zip(planes, out, strict=True):
        start, flat = 0, image.reshape(-1)
        for plane in _planes(frame):
            plane[:] = flat[start : start + plane.size].reshape(plane.shape)
            start += plane.size
        rgb[:] = image_of(converter.reformat(frame, format="rgb24", threads=1))
    return out


def rgb_by_torch(planes: Tensor, colors: YuvColors) -> Tensor:
    """Convert planes (U, 3 H / 2, W) on their device: (U, H, W, 3) uint8 RGB."""
    num_frames, rows, width = planes.shape
    height = rows * 2 // 3
    luma = planes[:, :height, None]  # (U, H, 1, W)
    chroma = planes[:, height:].reshape(num_frames, 2, height // 2, 1, width // 2).transpose(0, 1)
    numbers = torch.from_numpy(coefficients([colors])).to(planes.device, non_blocking=True)
    return rgb_levels(luma, chroma, numbers).to(torch.uint8)[:, :, 0]


def coefficients(colors: list[YuvColors]) -> np.ndarray:
    """Return the numbers of `rgb_levels` for videos (S,) as float32 (S, 14), all of which are exact."""
    return np.array([_coefficients(*video) for video in colors], dtype=np.float32)


def rgb_levels(luma: Tensor, chroma: Tensor, numbers: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Convert planes to RGB, (S, H, T, W, 3) of type `dtype`, which are whole numbers from 0 to 255.

    Each product of a byte and a coefficient is exact in float32, so that rounding it down is too.

    Args:
        luma: (S, H, T, W) uint8, of even height and width.
        chroma: (2, S, H / 2, T, W / 2) uint8.
        numbers: (S, 14) or (1, 14) coefficients (`coefficients`).
    """
    num_clips, height, num_frames, width = luma.shape
    scale, offset, of_chroma = numbers[:, :1], numbers[:, 1:2], numbers[:, 2:].view(-1, 2, 2, 3).permute(1, 2, 0, 3)
    levels = (luma * scale[:, :, None, None]).sub_(offset[:, :, None, None]).floor_().to(dtype)
    of_colors, offsets = (part[:, :, None, None, None] for part in of_chroma)  # (2, S, 1, 1, 1, 3)
    shifts = (chroma[..., None] * of_colors).sub_(offsets).floor_().to(dtype)
    shift = shifts[0] + shifts[1]  # (S, H / 2, T, W / 2, 3)
    pixels = levels.view(num_clips, height // 2, 2, num_frames, width // 2, 2, 1) + shift[:, :, None, :, :, None]
    return pixels.clamp_(0, 255).view(num_clips, height, num_frames, width, 3)


@lru_cache(maxsize=4096)
def is_converted_alike(colors: YuvColors, width: int) -> bool:
    """Return whether the decoder converts frames of this width as `rgb_levels` does, which is tried on noise.

    It does with the versions of FFmpeg that PyAV 17 to 19 brings, on x86-64. Others may compute in another way.
    """
    noise = np.random.default_rng(0).integers(0, 256, (1, CHECKED_ROWS * 3 // 2, width), dtype=np.uint8)
    try:
        expected = rgb_by_decoder(noise, colors)
    except (av.FFmpegError, ValueError):
        return False
    difference = np.abs(expected.astype(int) - rgb_by_torch(torch.from_numpy(noise), colors).numpy())
    return bool(difference.max() <= MAX_DIFFERENCE and difference.mean() <= MAX_MEAN_DIFFERENCE)


def image_of(frame: av.VideoFrame) -> np.ndarray:
    """Return the image of an RGB frame, (H, W, 3) uint8, which shares its memory."""
    (plane,) = frame.planes
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(frame.height, plane.line_size)
    return rows[:, : 3 * frame.width].reshape(frame.height, frame.width, 3)


def _planes(frame: av.VideoFrame) -> list[np.ndarray]:
    """Return the planes of a frame as arrays that share its memory."""
    return [
        np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]
        for plane in frame.planes
    ]


def _coefficients(matrix: int, full_range: bool) -> list[float]:
    """Return scale and offset of luma, then scales and offsets of (U, V) for (red, green, blue), as swscale rounds."""
    luma, black = (2**16, 0) if full_range else (2**16 * 255 // 219, 16)
    chroma = [int(number * 224 / 255) if full_range else number for number in MATRICES[matrix]]
    scale, red, blue, green_u, green_v = (float(number + 4 >> 3) / SCALE for number in (luma, *chroma))
    scales = [0.0, green_u, blue, red, green_v, 0.0]
    return [scale, scale * black, *scales, *(128 * number for number in scales)]
