"""Frames as small JPEG images inside JSON."""

import base64
from io import BytesIO

import numpy as np
from PIL import Image


def shrunk_to(image: np.ndarray, short_side_px: int) -> np.ndarray:
    """Return an image (H, W, 3) uint8 with a short side of at most so many pixels."""
    height, width, _ = image.shape
    scale = short_side_px / min(height, width)
    if scale >= 1:
        return image
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))


def jpeg_of(image: np.ndarray, quality: int = 85) -> bytes:
    """Return an image (H, W, 3) uint8 as a JPEG file."""
    file = BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return file.getvalue()


def data_url(image: np.ndarray) -> str:
    """Return an image (H, W, 3) uint8 as the address of a JPEG image."""
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg_of(image)).decode()}"
