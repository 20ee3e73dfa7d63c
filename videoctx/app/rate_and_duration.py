"""The frame rate and the length of a video, or of images that stand for one."""

from videoctx.data.decoding.containers import probe
from videoctx.data.decoding.frame_folder import open_frame_folder
from videoctx.data.storage.locations import holds_images


def rate_and_duration(file: str, fps: float | None) -> tuple[float, float]:
    """Return frames per second, 0 where they are not known, and seconds.

    Args:
        fps: of images, which state none.

    Raises:
        VideoDecodeError: the video cannot be read, or images have no frame rate.
    """
    if holds_images(file):
        with open_frame_folder(file, fps) as images:
            return images.fps, images.num_frames / images.fps
    container = probe(file)
    return container.fps, container.duration_seconds
