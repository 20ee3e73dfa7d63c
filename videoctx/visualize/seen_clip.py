"""The clip of a video that a network sees, and where its pixels and frames lie on the video."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from videoctx.data.clips import DecodedBatch, DecodedVideo
from videoctx.data.containers import VideoDecodeError
from videoctx.data.decode import open_video
from videoctx.data.preprocessing import Preprocessing
from videoctx.data.sampling import ClipShape, NoClipError, uniform_starts
from videoctx.visualize.grids import Grid


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A place in a video: pixel (x, y), from the top left corner, at a time.

    Args:
        seconds: when; or else
        frame: which frame, from 0.
    """

    x: float
    y: float
    seconds: float | None = None
    frame: int | None = None

    @classmethod
    def parse(cls, text: str) -> "Query":
        """`120,64,2.5` is at 2.5 seconds, `120,64,75f` in frame 75.

        Raises:
            ValueError: it is neither.
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
class SeenClip:
    """T frames of a video, and the network's input that was made of them.

    Args:
        path: of the video.
        frames: (T, H, W, 3) uint8, as in the video.
        indices: (T,) their numbers in the video.
        fps: frames per second of the video, on average.
        input: (1, 3, T, S, S), resized, cropped and normalized.
        resized: height and width that the frames were resized to.
        corner: top and left of the crop in them.
    """

    path: str
    frames: np.ndarray
    indices: np.ndarray
    fps: float
    input: Tensor
    resized: tuple[int, int]
    corner: tuple[int, int]

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom edge of what the network sees, in the video's pixels."""
        (top, left), size = self.corner, self.input.shape[-1]
        across, down = self._scale
        return left * across, top * down, (left + size) * across, (top + size) * down

    @property
    def _scale(self) -> tuple[float, float]:
        """The video's pixels in one resized pixel, across and down."""
        _, height, width, _ = self.frames.shape
        return width / self.resized[1], height / self.resized[0]

    def place(self, query: Query) -> tuple[float, float, float]:
        """Frame, row and column of the input at which a query lies.

        Raises:
            ValueError: it lies outside the video, or outside the crop.
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
                f"the query is at x {query.x:g}, y {query.y:g}, which the network does not see: it is given x from"
                f" {left:.0f} to {right:.0f} and y from {top:.0f} to {bottom:.0f}"
            )
        across, down = self._scale
        frame = frame_of(query, self.fps)
        nearest = int(np.abs(self.indices - frame).argmin())
        row, column = (query.y + 0.5) / down - 0.5, (query.x + 0.5) / across - 0.5
        return nearest, row - self.corner[0], column - self.corner[1]

    def on_video(self, place: tuple[float, float, float]) -> tuple[int, float, float]:
        """Which of the T frames, and its pixel x, y, a place (frame, row, column) of the input comes from."""
        across, down = self._scale
        frame, row, column = place
        x = (column + self.corner[1] + 0.5) * across - 0.5
        y = (row + self.corner[0] + 0.5) * down - 0.5
        return int(np.clip(round(frame), 0, len(self.frames) - 1)), x, y

    def upsample(self, values: np.ndarray, grid: Grid) -> np.ndarray:
        """A map of the input's `grid` laid over the frames: (T', H', W') → (T, H, W), NaN outside the crop."""
        num_frames, height, width, _ = self.frames.shape
        across, down = self._scale
        rows = (np.arange(height) + 0.5) / down - 0.5 - self.corner[0]
        columns = (np.arange(width) + 0.5) / across - 0.5 - self.corner[1]
        upsampled = grid.upsample(values, (np.arange(num_frames), rows, columns))
        size = self.input.shape[-1]
        upsampled[:, (rows < -0.5) | (rows >= size - 0.5)] = np.nan
        upsampled[:, :, (columns < -0.5) | (columns >= size - 0.5)] = np.nan
        return upsampled


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text} is no place")
    return number


def frame_of(query: Query, fps: float) -> int:
    """The frame that is shown at the query's time: frame k from k / fps on."""
    return query.frame if query.frame is not None else int(np.floor(round(query.seconds * fps, 3)))


def see_clip(path: str, preprocessing: Preprocessing, *, query: Query | None = None) -> SeenClip:
    """The center crop of one clip: with a query's frame in its middle as far as the video goes, or the middle one.

    Its frames are `frame_interval` apart, also where the protocol of the test would spread them otherwise.

    Raises:
        VideoDecodeError: the video cannot be read, or gives no clip.
        ValueError: the query is outside of the video.
    """
    shape = preprocessing.shape
    with open_video(path) as reader:
        num_frames, fps = reader.num_frames, reader.fps
        if query is None:
            start = int(uniform_starts(num_frames, shape, 1)[0])
        else:
            start = _start_around(_checked_frame(query, num_frames, fps, path), num_frames, shape)
        try:
            indices = shape.frames(start, num_frames)
        except NoClipError as error:
            raise VideoDecodeError(path, str(error)) from error
        distinct, positions = np.unique(indices, return_inverse=True)
        decoded = reader.read(distinct)  # (U, H, W, 3)
    video = DecodedVideo(
        path=path,
        row=0,
        label=-1,
        seed=0,
        frames=torch.from_numpy(decoded),
        clips=torch.from_numpy(positions)[None],
        starts=[start],
    )
    views = preprocessing.transform(num_crops=1)(DecodedBatch([video]), num_clips=1).clips
    resized, _, corner = views.views[0]
    clip = SeenClip(
        path=path,
        frames=decoded[positions],
        indices=indices,
        fps=fps,
        input=views[:],
        resized=tuple(resized.shape[2:]),
        corner=corner,
    )
    if query is not None:
        clip.place(query)
    return clip


def _start_around(frame: int, num_frames: int, shape: ClipShape) -> int:
    """Where the clip starts that has `frame` as its middle one, or as near to the middle as the video's ends allow."""
    last = max(num_frames - shape.span, 0)
    positions = sorted(range(shape.clip_len), key=lambda position: abs(position - shape.clip_len // 2))
    starts = [frame - position * shape.frame_interval for position in positions]
    return next((start for start in starts if 0 <= start <= last), min(frame, last))


def _checked_frame(query: Query, num_frames: int, fps: float, path: str) -> int:
    if query.frame is None and not fps > 0:
        raise ValueError(f"{path}: its frame rate is not known; expected the query's time as a frame, such as 75f")
    frame = frame_of(query, fps)
    if not 0 <= frame < num_frames:
        when = f"frame {frame}" if query.frame is not None else f"{query.seconds:g} s"
        seconds = f", or 0 to less than {num_frames / fps:.2f} s" if fps > 0 else ""
        raise ValueError(f"the query is at {when}; expected frame 0 to {num_frames - 1}{seconds}: {path} has no more")
    return frame
