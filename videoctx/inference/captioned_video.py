"""A writer of videos with a caption on every frame: H.264 in MP4, which every player takes."""

from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import av
import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from videoctx.visualize.video_file import CONTAINER_OPTIONS, ENCODER_OPTIONS, PIXEL_FORMAT

SHORT_SIDE_PX = 480  # at most
TICKS = 90_000  # per second
FONT = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
TEXT_SHARE = 1 / 16  # of the frame's height
DARKENED = 0.35  # brightness of the frame under the text


class CaptionedVideo:
    """A writer of an MP4 file. It is used in a `with`; frames keep their times."""

    def __init__(self, path: Path, *, fps: float) -> None:
        self._container = av.open(str(path), "w", format="mp4", options=CONTAINER_OPTIONS)
        rate = Fraction(fps or 30).limit_denominator(1001)  # a hint for the encoder: the times are the frames' own
        self._stream = self._container.add_stream("libx264", rate=rate, options=ENCODER_OPTIONS)
        self._stream.pix_fmt = PIXEL_FORMAT
        self._stream.time_base = self._stream.codec_context.time_base = Fraction(1, TICKS)
        self._last_tick = -1

    def __enter__(self) -> "CaptionedVideo":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._container.mux(self._stream.encode())
        self._container.close()

    def write(self, image: np.ndarray, seconds: float, caption: str) -> None:
        """Write an image of `shrunk` under a caption. It must be later than the one before."""
        if self._last_tick < 0:
            self._stream.height, self._stream.width = image.shape[:2]
        frame = av.VideoFrame.from_ndarray(captioned(image, caption), format="rgb24")
        self._last_tick = max(self._last_tick + 1, round(seconds * TICKS))
        frame.pts, frame.time_base = self._last_tick, Fraction(1, TICKS)
        self._container.mux(self._stream.encode(frame))


def shrunk(image: np.ndarray) -> np.ndarray:
    """Return the image (H, W, 3) with a short side of at most `SHORT_SIDE_PX`, and even sides, as yuv420p requires."""
    height, width, _ = image.shape
    scale = min(1.0, SHORT_SIDE_PX / min(height, width))
    new = [max(2, 2 * round(side * scale / 2)) for side in (width, height)]
    if new == [width, height]:
        return image
    return np.asarray(Image.fromarray(image).resize(new, Image.Resampling.BILINEAR))


def captioned(image: np.ndarray, caption: str) -> np.ndarray:
    """Return a copy with the caption at its top, in white on a darkened part of the image."""
    image = image.copy()
    text = _text(caption, *image.shape[:2])[..., None]  # (h, W, 1), 0 to 1
    top = image[: len(text)]
    top[:] = (DARKENED * (1 - text) * top + 255 * text).round()
    return image


@lru_cache(maxsize=4)  # the caption stays for many frames
def _text(caption: str, height: int, width: int) -> np.ndarray:
    """Return (h, W) float, 1 where the letters are. A caption that does not fit ends with an ellipsis."""
    size = max(9, round(height * TEXT_SHARE))
    font = ImageFont.truetype(str(FONT), size)
    room = width - size
    if font.getlength(caption) > room:
        while caption and font.getlength(f"{caption}…") > room:
            caption = caption[:-1]
        caption = f"{caption}…"
    strip = Image.new("L", (width, min(height, round(1.6 * size))))
    ImageDraw.Draw(strip).text((size // 2, strip.height // 2), caption, fill=255, font=font, anchor="lm")
    return np.asarray(strip, dtype=np.float32) / 255
