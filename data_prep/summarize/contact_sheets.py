"""A few frames of a video side by side in one small JPEG."""

import io
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from PIL import Image

from data_prep.scheduling.run_each import Failure, run_each
from videoctx.data.decoding.containers import VideoDecodeError
from videoctx.data.decoding.video_reader import open_video
from videoctx.data.storage.local_files import LocalFiles

GAP_PX = 2
JPEG_QUALITY = 70  # of 95


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a video, or all of it."""

    source: str  # a file, a URL, or a member of a tar file
    start_seconds: float | None = None  # None: from the first frame
    end_seconds: float | None = None  # None: to the last frame
    fps: float | None = None  # of images, which state none


@dataclass(frozen=True, slots=True)
class ContactSheet:
    """An image of several frames."""

    jpeg: bytes
    width: int  # pixels
    height: int
    seconds: tuple[float, ...]  # of the frames, from the start of the video


def contact_sheets(
    segments: Sequence[Segment],
    make_sheet: Callable[[Segment], ContactSheet],
    *,
    workers: int | None,
    scheduler: str | None,
) -> dict[Segment, ContactSheet | Failure]:
    """Make the contact sheets of many segments in other processes."""
    if not segments:
        return {}
    with closing(
        run_each(make_sheet, segments, description="Contact sheets", workers=workers, scheduler=scheduler)
    ) as outcomes:
        return dict(outcomes)


def contact_sheet(segment: Segment, *, num_frames: int, height_px: int, files: LocalFiles) -> ContactSheet:
    """Return the frames from the middles of `num_frames` equal parts of the segment.

    Raises:
        VideoDecodeError: the file cannot be read, or ends before the segment starts.
    """
    with files.local_copy(segment.source) as local, open_video(local, fps=segment.fps) as reader:
        first = int((segment.start_seconds or 0.0) * reader.fps)
        end = reader.num_frames
        if segment.end_seconds is not None:
            end = min(end, max(first + 1, round(segment.end_seconds * reader.fps)))
        if first >= end:
            raise VideoDecodeError(
                local, f"the segment starts at {segment.start_seconds or 0:g} s, and the video ends before"
            )
        indices = (first + (np.arange(num_frames) + 0.5) * (end - first) / num_frames).astype(int)
        distinct = np.unique(indices)
        frames = reader.read(distinct)[np.searchsorted(distinct, indices)]
        seconds = tuple(float(index / reader.fps) if reader.fps else 0.0 for index in indices)
    height, width = frames.shape[1:3]
    width_px = max(1, round(width * height_px / height))
    sheet = Image.new("RGB", ((width_px + GAP_PX) * num_frames - GAP_PX, height_px), "white")
    for index, frame in enumerate(frames):
        small = Image.fromarray(frame).resize((width_px, height_px), Image.Resampling.BOX)
        sheet.paste(small, (index * (width_px + GAP_PX), 0))
    file = io.BytesIO()
    sheet.save(file, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return ContactSheet(file.getvalue(), *sheet.size, seconds)
