"""A video as a folder, a zip file or a tar file of JPEG or PNG images, one per frame.

Jester and Something-Something v1 are published so, and the raw frames of 3D-ResNets, TSM and mmaction2 are. The images
state no frame rate, so it is given. Only the requested images are read.

`videoctx.data.decoding.image_names` tells which images are the frames, `image_files` reads them, and `image_pixels`
decodes them.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from videoctx.data.annotations.video_record import FRAMES, ProbeResult
from videoctx.data.decoding.containers import VideoDecodeError, decoder_errors
from videoctx.data.decoding.image_files import ImageFiles, images_status, open_images, reason_of
from videoctx.data.decoding.image_pixels import decode_image
from videoctx.data.decoding.yuv_frames import DecodedFrames

DECODER = FRAMES  # in the manifest's column `decoders`
NO_RATE = "images state no frame rate; expected it in the manifest's column fps, or as --fps or fps="


class FrameFolder:
    """The frames of a video that are stored as images.

    Args:
        path: Path of the folder or archive, for errors.
        images: The images.
        fps: Frames per second.
    """

    def __init__(self, path: str, images: ImageFiles, *, fps: float) -> None:
        self._path, self._images = path, images
        self.num_frames = len(images.names)
        self.fps = fps
        self._first: tuple[str, tuple[int, ...]] | None = None  # name and shape of the first image that was read

    @property
    def frame_seconds(self) -> np.ndarray | None:
        """The frames are at even distances."""
        return None

    def read(self, indices: np.ndarray) -> np.ndarray:
        """Decode the images at sorted, distinct indices (U,). Returns (U, H, W, 3) uint8 RGB, upright.

        Raises:
            VideoDecodeError: An image is missing, damaged, or of another size.
        """
        frames: np.ndarray | None = None
        for row, index in enumerate(indices.tolist()):
            image = self.image(index)[1]
            if frames is None:
                frames = np.empty((len(indices), *image.shape), np.uint8)
            frames[row] = image
        assert frames is not None, "frames are requested"
        return frames

    def read_yuv(self, indices: np.ndarray) -> DecodedFrames:
        """Decode the same images, which are RGB."""
        return DecodedFrames(self.read(indices))

    def image(self, index: int) -> tuple[bytes, np.ndarray]:
        """Return the bytes of an image and its pixels (H, W, 3) uint8 RGB, upright."""
        name = self._images.names[index]
        with decoder_errors(self._path, lambda error: f"{name}: {reason_of(error)}"):
            content = self._images.read(index)
            pixels = decode_image(content)
        self._first = self._first or (name, pixels.shape)
        first, shape = self._first
        if pixels.shape != shape:
            (height, width, _), (other_height, other_width, _) = shape, pixels.shape
            sizes = f"{first} has {width}×{height} pixels and {name} {other_width}×{other_height}"
            raise VideoDecodeError(self._path, f"images of several sizes: {sizes}")
        return content, pixels


@contextmanager
def open_frame_folder(path: str, fps: float | None) -> Iterator[FrameFolder]:
    """Open a folder or an archive of images for reading.

    Args:
        fps: Frames per second. None: not given.

    Raises:
        VideoDecodeError: It does not hold the frames of one video, or the frame rate is missing.
    """
    with open_images(path) as images:
        if not fps:
            raise VideoDecodeError(path, NO_RATE)
        yield FrameFolder(path, images, fps=fps)


def check_images_unchanged(path: str, probe_result: ProbeResult) -> None:
    """Raise a `VideoDecodeError` if images are not those that were inspected."""
    num_images, size_bytes, _ = images_status(path)
    expected = probe_result.num_frames if num_images is not None else None
    if (num_images, size_bytes) != (expected, probe_result.size_bytes):
        found, before = f"{size_bytes} bytes", f"{probe_result.size_bytes}"
        if num_images is not None:
            found, before = f"{num_images} images of {found}", f"{expected} of {before}"
        raise VideoDecodeError(
            path, f"{found}, but {before} in the manifest: not those that were inspected; run inspect_videos again"
        )
