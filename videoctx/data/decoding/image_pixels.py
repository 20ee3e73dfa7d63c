"""The pixels of a JPEG or PNG image as 8-bit RGB, decoded by Pillow.

- An image is turned as its EXIF orientation tells. Color profiles are ignored, as FFmpeg and OpenCV do.
- Gray becomes three equal channels. An alpha channel is left out. CMYK becomes RGB by Pillow's rule.
- Of 16 bits per channel the upper eight are kept, as libpng's `png_set_strip_16` and FFmpeg's viewers do.
- A truncated image is an error.
"""

import warnings
from io import BytesIO

import numpy as np
from PIL import Image, ImageOps

LONGEST_REASON = 200  # characters of Pillow's message
MOST_PIXELS = 2**26  # 8192 × 8192; more may be a decompression bomb
FORMATS = ("JPEG", "PNG")  # whatever the file's name is


class ImageError(ValueError):
    """An image cannot be decoded. The message is the reason."""


def decode_image(content: bytes) -> np.ndarray:
    """Return the pixels of an image file, (H, W, 3) uint8 RGB, upright.

    Raises:
        ImageError: It is no JPEG or PNG image, damaged, or too large.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            opened = Image.open(BytesIO(content), formats=FORMATS)
        width, height = opened.size
        if width * height > MOST_PIXELS:
            raise ImageError(f"{width}×{height} pixels; expected at most {MOST_PIXELS}")
        image: Image.Image = ImageOps.exif_transpose(opened)
        if image.mode.startswith("I"):  # 16 bits of gray
            levels = np.asarray(image).astype(np.int64) >> 8
            return np.repeat(levels.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)
        if image.mode == "P" and "transparency" in image.info:
            image = image.convert("RGBA")  # or else Pillow warns
        return np.asarray(image.convert("RGB"))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(f"too large; expected at most {MOST_PIXELS} pixels") from error
    except Image.UnidentifiedImageError as error:
        raise ImageError("neither a JPEG nor a PNG image") from error
    except (MemoryError, ImageError):
        raise
    except Exception as error:  # Pillow raises many kinds for damaged files
        raise ImageError(f"damaged: {' '.join(str(error).split())[:LONGEST_REASON] or type(error).__name__}") from error
