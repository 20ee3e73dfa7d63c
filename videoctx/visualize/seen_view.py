"""A view as its network saw it: a few of its frames, resized and cropped, as one picture."""

from dataclasses import dataclass
from io import BytesIO

import numpy as np
import torch
from matplotlib.image import imsave
from torch import Tensor
from torch.nn import functional as F

from videoctx.data.clips import DecodedBatch, DecodedVideo
from videoctx.data.containers import VideoDecodeError
from videoctx.data.decode import open_video
from videoctx.data.preprocessing import Preprocessing
from videoctx.data.sampling import NoClipError
from videoctx.visualize.contact_sheet import chosen_frames

COLUMNS = 4
FRAME_PX = 128  # side of a frame in the picture, where the network saw it larger
GAP_PX = 2
JPEG = {"quality": 82}


@dataclass(frozen=True, slots=True)
class ViewSheet:
    """
    Args:
        jpeg: at most eight frames, from left to right and down.
        frames: their numbers in the video.
    """

    jpeg: bytes
    width: int
    height: int
    frames: list[int]


def view_sheet(path: str, preprocessing: Preprocessing, *, start_frame: int, crop: int) -> ViewSheet:
    """
    Args:
        path: of a file.
        start_frame: of the view's clip.
        crop: which of the test's crops.

    Raises:
        VideoDecodeError: the video cannot be read, or has no such clip.
        ValueError: the test had no such crop.
    """
    num_crops = preprocessing.views[1]
    if not 0 <= crop < num_crops:
        raise ValueError(f"crop is {crop}; expected less than {num_crops}, the test's crops")
    with open_video(path) as reader:
        if start_frame >= reader.num_frames:
            raise VideoDecodeError(path, f"{reader.num_frames} frames, but the clip started at {start_frame}")
        try:
            clip = _clip_frames(preprocessing, start_frame, reader.num_frames, reader.fps)
        except NoClipError as error:
            raise VideoDecodeError(path, str(error)) from error
        clip = clip[chosen_frames(len(clip))]
        distinct, positions = np.unique(clip, return_inverse=True)
        decoded = reader.read(distinct)  # (U, H, W, 3)
    video = DecodedVideo(
        path=path,
        row=0,
        label=-1,
        seed=0,
        frames=torch.from_numpy(decoded),
        clips=torch.from_numpy(positions)[None],
        starts=[start_frame],
    )
    views = preprocessing.transform()(DecodedBatch([video]), num_clips=1).clips
    resized, positions, (top, left) = views.views[crop]
    size = views.crop_size_px
    picture = _tiled(resized[positions, :, top : top + size, left : left + size])
    file = BytesIO()
    imsave(file, picture, format="jpeg", pil_kwargs=JPEG)
    height, width, _ = picture.shape
    return ViewSheet(file.getvalue(), width, height, clip.tolist())


def _clip_frames(preprocessing: Preprocessing, start: int, num_frames: int, fps: float) -> np.ndarray:
    """The frames of the protocol's clip that starts there, (clip_len,).

    Where there is none, as in a stretch of a longer video, frames `frame_interval` apart.
    """
    grid = preprocessing.sampler().clips(num_frames, fps, np.random.default_rng(0))
    found = grid[grid[:, 0] == start]
    return found[0] if len(found) else preprocessing.shape.frames(start, num_frames)


def _tiled(frames: Tensor) -> np.ndarray:
    """(T, 3, S, S) uint8 → (H, W, 3) uint8, `COLUMNS` in a row."""
    if frames.shape[-1] > FRAME_PX:
        small = F.interpolate(frames.float(), size=(FRAME_PX, FRAME_PX), mode="bilinear", antialias=True)
        frames = small.round().clamp(0, 255).byte()
    size = frames.shape[-1]
    pitch = size + GAP_PX
    columns = min(COLUMNS, len(frames))
    rows = -(-len(frames) // columns)
    picture = np.full((rows * pitch - GAP_PX, columns * pitch - GAP_PX, 3), 255, dtype=np.uint8)
    for index, frame in enumerate(frames.permute(0, 2, 3, 1).numpy()):
        top, left = index // columns * pitch, index % columns * pitch
        picture[top : top + size, left : left + size] = frame
    return picture
