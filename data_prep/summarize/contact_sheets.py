"""A few frames of a video side by side in one small JPEG."""

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from videoctx.data.decoding.containers import VideoDecodeError
from videoctx.data.decoding.video_reader import open_video
from videoctx.data.storage.local_files import LocalFiles

GAP_PX = 2
JPEG_QUALITY = 70  # of 95


@dataclass(frozen=True, slots=True)
class Stretch:
    source: str  # a file, a URL, or a member of a tar file
    start_seconds: float | None = None  # None: from the first frame
    end_seconds: float | None = None  # None: to the last


@dataclass(frozen=True, slots=True)
class ContactSheet:
    jpeg: bytes
    width: int  # pixels
    height: int
    seconds: tuple[float, ...]  # of the frames, from the start of the video


def contact_sheet(stretch: Stretch, *, num_frames: int, height_px: int, files: LocalFiles) -> ContactSheet:
    """Frames from the middles of `num_frames` equal parts of the stretch.

    Raises:
        VideoDecodeError: the file cannot be read, or ends before the stretch begins.
    """
    with files.local_copy(stretch.source) as local, open_video(local) as reader:
        first = int((stretch.start_seconds or 0.0) * reader.fps)
        end = reader.num_frames
        if stretch.end_seconds is not None:
            end = min(end, max(first + 1, round(stretch.end_seconds * reader.fps)))
        if first >= end:
            raise VideoDecodeError(
                local, f"the stretch starts at {stretch.start_seconds:g} s, and the video ends before"
            )
        places = (first + (np.arange(num_frames) + 0.5) * (end - first) / num_frames).astype(int)
        distinct = np.unique(places)
        frames = reader.read(distinct)[np.searchsorted(distinct, places)]
        seconds = tuple(float(place / reader.fps) if reader.fps else 0.0 for place in places)
    height, width = frames.shape[1:3]
    width_px = max(1, round(width * height_px / height))
    sheet = Image.new("RGB", ((width_px + GAP_PX) * num_frames - GAP_PX, height_px), "white")
    for index, frame in enumerate(frames):
        small = Image.fromarray(frame).resize((width_px, height_px), Image.Resampling.BOX)
        sheet.paste(small, (index * (width_px + GAP_PX), 0))
    file = io.BytesIO()
    sheet.save(file, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return ContactSheet(file.getvalue(), *sheet.size, seconds)
