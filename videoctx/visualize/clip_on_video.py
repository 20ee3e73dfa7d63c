"""One clip of a video as the network gets it, and the mapping between the network's input and the video's pixels."""

import math
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from videoctx.data.loading.one_video import FrameTimes, read_one_video
from videoctx.data.loading.segment import WHOLE, Segment
from videoctx.data.preprocessing import Preprocessing
from videoctx.data.sampling.clip_samplers import ClipShape, uniform_starts
from videoctx.visualize.grids import Grid


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A position in a video: a pixel and a time. Give `seconds` or `frame`.

    Args:
        x, y: the pixel, from the top left corner, in the video's own size.
        seconds: the time.
        frame: the number of the frame, from 0.

    Example:
        >>> Query.parse("120,64,75f")
        Query(x=120.0, y=64.0, seconds=None, frame=75)
    """

    x: float
    y: float
    seconds: float | None = None
    frame: int | None = None

    @classmethod
    def parse(cls, text: str) -> "Query":
        """Return the query that a text gives: `120,64,2.5` is at 2.5 seconds, `120,64,75f` in frame 75.

        Raises:
            ValueError: the text has another form.
        """
        try:
            x, y, when = text.split(",")
            if when.endswith("f"):
                return cls(x=_finite(x), y=_finite(y), frame=int(when[:-1]))
            return cls(x=_finite(x), y=_finite(y), seconds=_finite(when))
        except ValueError as error:
            raise ValueError(
                f"query is {text!r}; expected x,y,seconds or x,y,frame with an f, such as 120,64,2.5 or 120,64,75f"
            ) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipOnVideo:
    """T frames of a video, and the network's input that was made from them.

    Args:
        path: the path of the video.
        frames: (T, H, W, 3) uint8, in the size of the video.
        indices: (T,) the number of each frame in the video.
        times: of the frames of the video.
        input: (1, 3, T, S, S), resized, cropped and normalized.
        resized: height and width to which the frames were resized.
        corner: top and left of the crop in the resized frames.
    """

    path: str
    frames: np.ndarray
    indices: np.ndarray
    times: FrameTimes
    input: Tensor
    resized: tuple[int, int]
    corner: tuple[int, int]

    @property
    def fps(self) -> float:
        """Frames per second of the video, on average; 0 where it is not known."""
        return self.times.fps

    @property
    def seconds(self) -> np.ndarray | None:
        """(T,) the time of each frame. None: it is not known."""
        return self.times.seconds_of(self.indices)

    @property
    def box(self) -> tuple[float, float, float, float]:
        """The edges of the network's crop in pixels of the video: left, top, right, bottom."""
        (top, left), size = self.corner, self.input.shape[-1]
        x_scale, y_scale = self._scale
        return left * x_scale, top * y_scale, (left + size) * x_scale, (top + size) * y_scale

    @property
    def _scale(self) -> tuple[float, float]:
        """Pixels of the video per pixel of the resized frames, along x and along y."""
        _, height, width, _ = self.frames.shape
        return width / self.resized[1], height / self.resized[0]

    def input_position(self, query: Query) -> tuple[float, float, float]:
        """Return the position of a query in the input: frame, row and column.

        Raises:
            ValueError: the query is outside the video or outside the crop.
        """
        _, height, width, _ = self.frames.shape
        if not (0 <= query.x < width and 0 <= query.y < height):
            raise ValueError(
                f"the query is at x {query.x:g}, y {query.y:g}; expected x from 0 to less than {width} and y from 0 to"
                f" less than {height}, the size of {self.path}"
            )
        left, top, right, bottom = self.box
        if not (left <= query.x + 0.5 < right and top <= query.y + 0.5 < bottom):
            raise ValueError(
                f"the query is at x {query.x:g}, y {query.y:g}, outside the network's crop: x from {left:.0f} to"
                f" {right:.0f} and y from {top:.0f} to {bottom:.0f}"
            )
        x_scale, y_scale = self._scale
        nearest = int(np.abs(self.indices - frame_of(query, self.times)).argmin())
        row, column = (query.y + 0.5) / y_scale - 0.5, (query.x + 0.5) / x_scale - 0.5
        return nearest, row - self.corner[0], column - self.corner[1]

    def video_position(self, position: tuple[float, float, float]) -> tuple[int, float, float]:
        """Return the position on the video of a position (frame, row, column) of the input.

        Returns:
            Which of the T frames, and x and y in pixels of the video.
        """
        x_scale, y_scale = self._scale
        frame, row, column = position
        x = (column + self.corner[1] + 0.5) * x_scale - 0.5
        y = (row + self.corner[0] + 0.5) * y_scale - 0.5
        return int(np.clip(round(frame), 0, len(self.frames) - 1)), x, y

    def upsample(self, values: np.ndarray, grid: Grid) -> np.ndarray:
        """Upsample a map of the input to the frames of the video.

        Args:
            values: (T', H', W').
            grid: where the cells of the map are on the input.

        Returns:
            (T, H, W), NaN outside the crop.
        """
        num_frames, height, width, _ = self.frames.shape
        x_scale, y_scale = self._scale
        rows = (np.arange(height) + 0.5) / y_scale - 0.5 - self.corner[0]
        columns = (np.arange(width) + 0.5) / x_scale - 0.5 - self.corner[1]
        upsampled = grid.upsample(values, (np.arange(num_frames), rows, columns))
        size = self.input.shape[-1]
        upsampled[:, (rows < -0.5) | (rows >= size - 0.5)] = np.nan
        upsampled[:, :, (columns < -0.5) | (columns >= size - 0.5)] = np.nan
        return upsampled


def read_clip(
    path: str,
    preprocessing: Preprocessing,
    *,
    query: Query | None = None,
    around_seconds: float | None = None,
    images_fps: float | None = None,
    segment: Segment = WHOLE,
) -> ClipOnVideo:
    """Read one clip of a video and its center crop.

    With a query, the frame of the query is in the middle of the clip, as far as the ends of the video allow. With
    `around_seconds`, the frame of that time is, or the last frame of a shorter video. Otherwise, or where the frame
    rate is not known, the clip is in the middle of the video. The frames are `frame_interval` apart, whatever the grid
    of the test. Where the clips of the test cover the whole video, the clip is that of a test with one clip.
    `images_fps` is the frame rate of images, which state none. Of a segment, nothing else of the video is used.

    Raises:
        VideoDecodeError: the video cannot be read, or is too short for a clip.
        ValueError: the query is outside the video or outside the crop.
    """
    shape = preprocessing.shape

    def choose_clips(video: FrameTimes) -> np.ndarray:
        num_frames, fps = video.num_frames, video.fps
        if query is not None:
            frame = _query_frame(query, video, path)
        elif around_seconds is not None and fps > 0:
            frame = min(max(0, video.frame_at(around_seconds) - video.first), num_frames - 1)
        else:
            frame = None
        if preprocessing.sampling != "dense":
            return preprocessing.sampler(num_clips=1).clips(num_frames, fps, np.random.default_rng(0))
        if frame is None:
            start = int(uniform_starts(num_frames, shape, 1, fps)[0])
        else:
            start = _start_around(frame, num_frames, shape, fps)
        return shape.frames(start, num_frames, fps)[None]

    batch, indices, times = read_one_video(path, choose_clips, fps=images_fps, segment=segment, timed=True)
    views = preprocessing.transform(num_crops=1)(batch, num_clips=1).clips
    resized, _, crop = views.views[0]  # (U, 3, h, w)
    (video,) = batch.videos
    clip = ClipOnVideo(
        path=path,
        frames=video.frames[video.clips[0]].numpy(),
        indices=indices[0],
        times=times,
        input=views[:],
        resized=(resized.shape[2], resized.shape[3]),
        corner=(crop.top, crop.left),
    )
    if query is not None:
        clip.input_position(query)  # raises where the query is outside
    return clip


def _start_around(frame: int, num_frames: int, shape: ClipShape, fps: float) -> int:
    """Return the start of the clip that has `frame` as near to its middle as the ends of the video allow."""
    last = max(num_frames - shape.span(fps), 0)
    offsets = shape.offsets(fps).tolist()
    positions = sorted(range(shape.clip_len), key=lambda position: abs(position - shape.clip_len // 2))
    starts = [frame - offsets[position] for position in positions]
    return next((start for start in starts if 0 <= start <= last), min(frame, last))


def frame_of(query: Query, times: FrameTimes) -> int:
    """Return the number of the frame that is shown at the query's time."""
    if query.frame is not None:
        return query.frame
    if query.seconds is None:
        raise ValueError(f"{query} has no time; expected seconds or frame")
    return times.frame_at(query.seconds)


def _query_frame(query: Query, video: FrameTimes, path: str) -> int:
    """Return the frame of a query, 0 for the first one of the segment."""
    if query.frame is None and not video.fps > 0:
        raise ValueError(f"{path}: its frame rate is not known; expected the query's time as a frame, such as 75f")
    frame = frame_of(query, video)
    first, last = video.first, video.first + video.num_frames - 1
    if not first <= frame <= last:
        when = f"frame {frame}" if query.frame is not None else f"{query.seconds:g} s"
        times = f", or {first / video.fps:g} to less than {(last + 1) / video.fps:.2f} s" if video.fps > 0 else ""
        raise ValueError(f"the query is at {when}; expected frame {first} to {last}{times}: {path} has no more")
    return frame - first


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text} is not finite")
    return number
