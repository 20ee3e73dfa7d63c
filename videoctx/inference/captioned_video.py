"""A video with a caption on every frame, written frame by frame, H.264 that plays everywhere."""

from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import av
import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from videoctx.visualize.video_file import CONTAINER_OPTIONS, ENCODER_OPTIONS, PIXEL_FORMAT

SHORT_SIDE_PX = 480  # at most
TICKS = 90_000  # a second
FONT = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
TEXT_SHARE = 1 / 16  # of the frame's height
DARKENED = 0.35  # brightness of the frame under the text


class CaptionedVideo:
    """An MP4 that is written while its `with` lasts; frames keep their times."""

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

    def write(self, picture: np.ndarray, seconds: float, caption: str) -> None:
        """A picture of `shown_size`, later than the one before, under a caption."""
        if self._last_tick < 0:
            self._stream.height, self._stream.width = picture.shape[:2]
        frame = av.VideoFrame.from_ndarray(captioned(picture, caption), format="rgb24")
        self._last_tick = max(self._last_tick + 1, round(seconds * TICKS))
        frame.pts, frame.time_base = self._last_tick, Fraction(1, TICKS)
        self._container.mux(self._stream.encode(frame))


def shrunk(picture: np.ndarray) -> np.ndarray:
    """(H, W, 3) → with a short side of at most `SHORT_SIDE_PX`, and even sides, as yuv420p wants."""
    height, width, _ = picture.shape
    scale = min(1.0, SHORT_SIDE_PX / min(height, width))
    new = [max(2, 2 * round(side * scale / 2)) for side in (width, height)]
    if new == [width, height]:
        return picture
    return np.asarray(Image.fromarray(picture).resize(new, Image.Resampling.BILINEAR))


def captioned(picture: np.ndarray, caption: str) -> np.ndarray:
    """A copy with the caption at its top, in white on what is darkened of the picture."""
    picture = picture.copy()
    text = _text(caption, *picture.shape[:2])[..., None]  # (h, W, 1), 0 to 1
    top = picture[: len(text)]
    top[:] = (DARKENED * (1 - text) * top + 255 * text).round()
    return picture


@lru_cache(maxsize=4)  # the caption stays for many frames
def _text(caption: str, height: int, width: int) -> np.ndarray:
    """(h, W) float, 1 where the letters are; letters that have no room are left out, with a sign of it."""
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
