"""Which frames of a source are wanted, at which rate, and in which size.

Frame n of the result stands for the time n / fps after the first frame of the source, and shows the source's frame that
is nearest to it; the last of them if several are nearest, and the previous one again if none is. At the source's own
rate, every frame is shown once. A trim to [start, end) takes those frames n that training would have taken from the
untrimmed result (`videoctx.data.sampling.clip_samplers.frame_range`), so it does not matter whether a video is trimmed
before or after transcoding.
"""

import math
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np

from videoctx.data.decoding.containers import VideoDecodeError, open_container, probe_whole
from videoctx.data.decoding.display_matrix import display_matrix
from videoctx.data.decoding.frame_folder import open_frame_folder
from videoctx.data.decoding.pyav_versions import as_fraction
from videoctx.data.sampling.clip_samplers import frame_range
from videoctx.data.storage.locations import holds_images

MAX_GAP_SECONDS = 60  # between two frames; a longer gap is an incorrect timestamp, and filling it would fill the disk
SEEK_MARGIN_SECONDS = 2
FORMATS_WITHOUT_TIMES = ("avi",)  # frame k is shown at k / fps, whatever times FFmpeg makes up for it
TRANSPOSE = ("transpose", "cclock_flip")  # rows become columns, and nothing else
SEEKABLE_FORMATS = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm")


@dataclass(frozen=True, slots=True)
class Segment:
    """The frames of a source's constant-rate grid that are wanted."""

    path: str
    stream_index: int  # of the video, among all streams of the file
    stamped: bool  # frames have timestamps; otherwise frame k is shown at k / own_rate
    own_rate: Fraction
    rate: Fraction  # of the grid
    first: int
    stop: int
    stop_is_exact: bool  # otherwise the container may promise more frames than can be decoded
    first_pts: int  # of the first frame shown, if stamped
    time_base: Fraction
    seekable: bool
    turns: tuple[tuple[str, str], ...]  # FFmpeg's filters and their arguments that turn the stored frame upright
    width: int  # of the result
    height: int
    is_of_images: bool = False  # of `own_rate` frames per second

    def slot(self, index: int, pts: int | None, previous: int | None) -> int:
        """Return the slot in the grid of the frame `index`, counted from the first decoded frame."""
        if not self.stamped:
            return _nearest(Fraction(index) / self.own_rate * self.rate)
        if pts is None:
            return 0 if previous is None else previous + 1
        return _nearest((pts - self.first_pts) * self.time_base * self.rate)

    @property
    def seek_seconds(self) -> float | None:
        """Where to start decoding, in the source's own time. None: at its start."""
        seconds = self.first / self.rate - SEEK_MARGIN_SECONDS
        if not self.seekable or seconds <= SEEK_MARGIN_SECONDS:
            return None
        return float(self.first_pts * self.time_base + seconds)


def plan_segment(
    path: str,
    *,
    short_side_px: int,
    fps: float | None,
    start_seconds: float | None,
    end_seconds: float | None,
    images_fps: float | None = None,
) -> Segment:
    """Read the source's timestamps and size, and determine which of its frames are wanted.

    Args:
        short_side_px: pixels of the result's shorter side, unless the source is smaller.
        fps: frames per second of the result. None: the source's own rate, on average.
        start_seconds, end_seconds: the segment. None: from the first frame, to the last.
        images_fps: frames per second of a source that is stored as images.

    Raises:
        VideoDecodeError: the source cannot be read, or has no frame in the segment.
    """
    if holds_images(path):
        return _plan_images(path, short_side_px, fps, start_seconds, end_seconds, images_fps)
    content = probe_whole(path)  # refuses what is not a video, or only part of one
    with open_container(path) as container:
        stream = container.streams[content.stream_index]
        assert isinstance(stream, av.VideoStream)
        stream.codec_context.thread_count = 1
        first_frame = _first_frame(path, container, stream)
        ratio, time_base = as_fraction(stream.sample_aspect_ratio) or Fraction(1), as_fraction(stream.time_base)
    turns = _turns(first_frame)
    width, height = _result_size(first_frame.width, first_frame.height, ratio, turns, short_side_px)
    stamped = content.has_timestamps and first_frame.pts is not None and content.format not in FORMATS_WITHOUT_TIMES
    times = content.frame_seconds  # (num_frames,)
    gap = float(np.diff(times).max(initial=0.0))
    if stamped and gap > MAX_GAP_SECONDS:
        raise VideoDecodeError(path, f"its timestamps leap by {gap:g} s")
    times_are_known = stamped and not content.num_empty
    own_rate = _constant_rate(times, content.rate) if times_are_known else content.rate
    if not own_rate or not time_base:
        raise VideoDecodeError(path, "it has no frame rate")
    rate = own_rate if fps is None else Fraction(str(fps))
    if times_are_known:
        num_slots = _num_slots(times, content.duration_seconds, own_rate, rate)
    else:  # at most
        counted_seconds = (content.num_packets - content.num_discarded) / own_rate
        num_slots = _nearest(max(counted_seconds, Fraction(content.duration_seconds)) * rate)
    first, stop = _slots_of(path, num_slots, rate, start_seconds, end_seconds)
    return Segment(
        path=path,
        stream_index=content.stream_index,
        stamped=stamped,
        own_rate=own_rate,
        rate=rate,
        first=first,
        stop=stop,
        stop_is_exact=content.num_frames is not None,
        first_pts=(first_frame.pts or 0) if stamped else 0,
        time_base=time_base,
        seekable=stamped and content.format in SEEKABLE_FORMATS and not content.num_discarded,
        turns=turns,
        width=width,
        height=height,
    )


def _plan_images(
    path: str,
    short_side_px: int,
    fps: float | None,
    start_seconds: float | None,
    end_seconds: float | None,
    images_fps: float | None,
) -> Segment:
    with open_frame_folder(path, images_fps) as images:
        height, width, _ = images.image(0)[1].shape
        num_frames, own_rate = images.num_frames, Fraction(images.fps).limit_denominator(1001)
    rate = own_rate if fps is None else Fraction(str(fps))
    num_slots = _num_slots(np.arange(num_frames) / float(own_rate), num_frames / float(own_rate), own_rate, rate)
    first, stop = _slots_of(path, num_slots, rate, start_seconds, end_seconds)
    width, height = _result_size(width, height, Fraction(1), (), short_side_px)
    return Segment(
        path=path,
        stream_index=0,
        stamped=False,
        own_rate=own_rate,
        rate=rate,
        first=first,
        stop=stop,
        stop_is_exact=True,
        first_pts=0,
        time_base=1 / own_rate,
        seekable=False,
        turns=(),
        width=width,
        height=height,
        is_of_images=True,
    )


def _slots_of(
    path: str, num_slots: int, rate: Fraction, start_seconds: float | None, end_seconds: float | None
) -> tuple[int, int]:
    """Return the slots of the segment, as (first, stop)."""
    first, stop = frame_range(num_slots, float(rate), start_seconds, end_seconds)
    if stop <= first:
        lasts = float(num_slots / rate)
        end = lasts if end_seconds is None else end_seconds
        raise VideoDecodeError(
            path, f"no frame from {start_seconds or 0:g} s to {end:g} s: the video lasts {lasts:.2f} s"
        )
    return first, stop


def _first_frame(path: str, container: av.container.InputContainer, stream: av.VideoStream) -> av.VideoFrame:
    try:
        return next(container.decode(stream))
    except StopIteration:
        raise VideoDecodeError(path, "no frame can be decoded") from None
    except av.FFmpegError as error:
        raise VideoDecodeError(path, f"damaged: {error.strerror}") from error


def _turns(frame: av.VideoFrame) -> tuple[tuple[str, str], ...]:
    (row_right, row_down), (column_right, column_down) = display_matrix(frame)
    turns = [TRANSPOSE] if row_right == 0 else []  # stored rows are shown as columns
    turns += [("vflip", "")] if row_down + column_down < 0 else []
    turns += [("hflip", "")] if row_right + column_right < 0 else []
    return tuple(turns)


def _result_size(
    width: int, height: int, ratio: Fraction, turns: tuple[tuple[str, str], ...], short_side_px: int
) -> tuple[int, int]:
    """Return the upright width and height, even, with square pixels, no side longer than that of the stored frame.

    Args:
        width, height: as stored.
        ratio: width of a stored pixel over its height.
    """
    shown = np.array([float(width * min(ratio, Fraction(1))), float(height / max(ratio, Fraction(1)))])
    if TRANSPOSE in turns:
        shown = shown[::-1]
    scale = min(1.0, short_side_px / shown.min())
    even = 2 * (shown * scale / 2 + (0.5 if scale < 1 else 0.0)).astype(int)  # rounds down if nothing is scaled
    result_width, result_height = np.maximum(even, 2).tolist()
    return result_width, result_height


def _constant_rate(times: np.ndarray, rate: Fraction) -> Fraction:
    """Return the rate if consecutive frames have consecutive slots at it; otherwise the average rate."""
    if len(times) < 2 or (rate and (_slots(times, rate) == np.arange(len(times))).all()):
        return rate
    return Fraction((len(times) - 1) / float(times[-1] - times[0])).limit_denominator(1001)


def _slots(times: np.ndarray, rate: Fraction) -> np.ndarray:
    """Return the slots in the grid of frames that are shown at these seconds."""
    return np.floor(np.round(times * float(rate), 6) + 0.5).astype(int)


def _num_slots(times: np.ndarray, duration_seconds: float, own_rate: Fraction, rate: Fraction) -> int:
    """Return the number of slots up to that of the last frame, without those that begin after the end of the video."""
    slots = _slots(times, rate)
    last = int(slots[-1])
    if last + 1 == len(times) == len(np.unique(slots)):  # a slot for each frame, whatever the last one's duration
        return last + 1
    end = duration_seconds if duration_seconds > times[-1] else times[-1] + 1 / float(own_rate)
    return max(1, min(last + 1, math.ceil(round(end * float(rate), 6))))


def _nearest(number: Fraction) -> int:
    """Return the nearest integer; halves are rounded up, as in FFmpeg."""
    return (2 * number.numerator + number.denominator) // (2 * number.denominator)
