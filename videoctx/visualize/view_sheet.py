"""A contact sheet of one view: a few of its frames as the network got them, resized and cropped, in one JPEG image."""

from dataclasses import dataclass
from io import BytesIO

import numpy as np
from matplotlib.image import imsave
from torch import Tensor
from torch.nn import functional as F

from videoctx.data.decoding.containers import VideoDecodeError
from videoctx.data.loading.one_video import FrameTimes, read_one_video
from videoctx.data.preprocessing import Preprocessing
from videoctx.visualize.contact_sheet import chosen_frames

NUM_COLUMNS = 4
MAX_FRAME_PX = 128  # larger frames are made smaller
GAP_PX = 2
JPEG = {"quality": 82}


@dataclass(frozen=True, slots=True)
class ViewSheet:
    """An image of at most eight frames of a view, row by row.

    Args:
        jpeg: the image file.
        width, height: in pixels.
        frames: the number of each frame in the video.
    """

    jpeg: bytes
    width: int
    height: int
    frames: list[int]


def view_sheet(
    path: str, preprocessing: Preprocessing, *, start_frame: int, crop: int, images_fps: float | None = None
) -> ViewSheet:
    """Read a view of a test again and return its contact sheet.

    Args:
        path: of a file.
        start_frame: the first frame of the view's clip.
        crop: the number of the view's crop, from 0.
        images_fps: frame rate of images, which state none.

    Raises:
        VideoDecodeError: the video cannot be read, or has no such clip.
        ValueError: the test had no such crop.
    """
    num_crops = preprocessing.views[1]
    if not 0 <= crop < num_crops:
        raise ValueError(f"crop is {crop}; expected less than {num_crops}, the test's crops")

    def choose_clips(video: FrameTimes) -> np.ndarray:
        if start_frame >= video.num_frames:
            raise VideoDecodeError(path, f"{video.num_frames} frames, but the clip started at {start_frame}")
        clip = _clip_frames(preprocessing, start_frame, video.num_frames, video.fps)
        return clip[None, chosen_frames(len(clip))]

    batch, indices, _ = read_one_video(path, choose_clips, fps=images_fps)
    views = preprocessing.transform()(batch, num_clips=1).clips
    resized, positions, square = views.views[crop]
    image = _tile(square.cut(resized[positions], views.crop_size_px))
    file = BytesIO()
    imsave(file, image, format="jpeg", pil_kwargs=JPEG)
    height, width, _ = image.shape
    return ViewSheet(file.getvalue(), width, height, indices[0].tolist())


def _clip_frames(preprocessing: Preprocessing, start: int, num_frames: int, fps: float) -> np.ndarray:
    """Return the frame numbers (clip_len,) of the test's clip that starts at `start`.

    Where the test has no such clip, as in a segment of a longer video, the frames are `frame_interval` apart.
    """
    clips = preprocessing.sampler().clips(num_frames, fps, np.random.default_rng(0))
    found = clips[clips[:, 0] == start]
    return found[0] if len(found) else preprocessing.shape.frames(start, num_frames, fps)


def _tile(frames: Tensor) -> np.ndarray:
    """Put frames (T, 3, S, S), as resized, into one image (H, W, 3) uint8, `NUM_COLUMNS` per row."""
    if frames.is_floating_point():
        frames = (255 * frames).round().byte()
    if frames.shape[-1] > MAX_FRAME_PX:
        small = F.interpolate(frames.float(), size=(MAX_FRAME_PX, MAX_FRAME_PX), mode="bilinear", antialias=True)
        frames = small.round().clamp(0, 255).byte()
    size = frames.shape[-1]
    pitch = size + GAP_PX
    columns = min(NUM_COLUMNS, len(frames))
    rows = -(-len(frames) // columns)
    image = np.full((rows * pitch - GAP_PX, columns * pitch - GAP_PX, 3), 255, dtype=np.uint8)
    for index, frame in enumerate(frames.permute(0, 2, 3, 1).numpy()):
        top, left = index // columns * pitch, index % columns * pitch
        image[top : top + size, left : left + size] = frame
    return image
