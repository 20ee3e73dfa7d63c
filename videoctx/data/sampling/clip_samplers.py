"""Which frames make a clip, in integers.

A dense clip is `clip_len` frames, `frame_interval` apart, counted at the video's own frame rate or at `target_fps`.
`videoctx.data.sampling.grids` lists how else the frames of a clip are chosen.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import ClassVar, Literal

import numpy as np

from videoctx.data.sampling.frame_order import FrameOrder

ShortVideos = Literal["wrap", "repeat_last", "refuse"]


class NoClipError(ValueError):
    """A video has no clip of the requested shape."""


class ClipTooLongError(NoClipError):
    """A video has fewer frames than a clip spans, and `short_videos` is `refuse`."""


class UnknownFrameRateError(NoClipError):
    """Frames are counted by time, and the video has no frame rate."""


def exact_rate(fps: float) -> Fraction:
    """Return frames per second as a fraction: 29.97… is 30000 / 1001.

    Raises:
        UnknownFrameRateError: The rate is 0, that is unknown.
    """
    if not fps > 0:
        raise UnknownFrameRateError(f"its frame rate is not known ({fps:g}), and the frames are counted by time")
    return Fraction(fps).limit_denominator(1001)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipShape:
    """The shape of a clip in time.

    Args:
        clip_len: Number of frames of a clip.
        frame_interval: Distance between consecutive frames of a clip, in frames of the video, or in frames at
            `target_fps`.
        short_videos: What fills a clip that passes the end of its video: the video again from its first frame (`wrap`,
            as in Non-local), its last frame (`repeat_last`), or an error (`refuse`).
        target_fps: Frames per second at which `frame_interval` counts. A frame between two frames of the video is the
            earlier one. None: frames of the video.
        sample_range: With the grids `mmaction2_dense` and `tsm`, clips start where so many frames of the video are
            left, counted as `frame_interval` is. None: clip_len · frame_interval.

    Raises:
        ValueError: A value is out of its range.

    >>> ClipShape(clip_len=4, frame_interval=2).frames(start=3, num_frames=8)
    array([3, 5, 7, 1])
    >>> ClipShape(clip_len=4, frame_interval=2, target_fps=12).frames(start=0, num_frames=50, fps=30)
    array([ 0,  5, 10, 15])
    """

    clip_len: int
    frame_interval: int
    short_videos: ShortVideos = "wrap"
    target_fps: float | None = None
    sample_range: int | None = None

    def __post_init__(self) -> None:
        for name in ("clip_len", "frame_interval"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected 1 or more")
        if self.short_videos not in (choices := ("wrap", "repeat_last", "refuse")):
            raise ValueError(f"short_videos is {self.short_videos!r}; expected one of {', '.join(choices)}")
        if self.target_fps is not None and not 0.001 <= self.target_fps <= 1000:
            raise ValueError(f"target_fps is {self.target_fps:g}; expected 0.001 to 1000")
        if self.sample_range is not None and self.sample_range < 1:
            raise ValueError(f"sample_range is {self.sample_range}; expected 1 or more")

    def step(self, fps: float = 0.0) -> Fraction:
        """Return the distance between consecutive frames, in frames of a video with `fps` frames per second.

        Raises:
            UnknownFrameRateError: There is a `target_fps`, and `fps` is 0.
        """
        if self.target_fps is None:
            return Fraction(self.frame_interval)
        return self.frame_interval * exact_rate(fps) / exact_rate(self.target_fps)

    def offsets(self, fps: float = 0.0) -> np.ndarray:
        """Return the frames of a clip that begins at frame 0, (clip_len,) int64."""
        step = self.step(fps)
        return np.arange(self.clip_len) * step.numerator // step.denominator

    def span(self, fps: float = 0.0) -> int:
        """Return the number of video frames from a clip's first frame to its last, both included."""
        return int(self.offsets(fps)[-1]) + 1

    def frames(self, start: int, num_frames: int, fps: float = 0.0) -> np.ndarray:
        """Return the frame indices of the clip that begins at `start`, (clip_len,) int64, each in [0, num_frames).

        Raises:
            NoClipError: The clip passes the end of the video and `short_videos` is `refuse`; or frames are counted by
                time and `fps` is 0.
        """
        frames = start + self.offsets(fps)
        if frames[-1] < num_frames:
            return frames
        if self.short_videos == "wrap":
            return frames % num_frames
        if self.short_videos == "repeat_last":
            return np.minimum(frames, num_frames - 1)
        apart = f"{self.frame_interval} apart" + (f" at {self.target_fps:g} fps" if self.target_fps else "")
        raise ClipTooLongError(
            f"{num_frames} frames, but a clip of {self.clip_len}, {apart}, spans {self.span(fps)};"
            f" expected short_videos 'wrap' or 'repeat_last', or a shorter clip"
        )


def random_starts(
    num_frames: int, shape: ClipShape, num_clips: int, rng: np.random.Generator, fps: float = 0.0
) -> np.ndarray:
    """Sample first frames (num_clips,) of clips, uniformly among all that fit, with replacement. 0 if none fits."""
    return rng.integers(0, max(num_frames - shape.span(fps), 0) + 1, size=num_clips)


def uniform_starts(num_frames: int, shape: ClipShape, num_clips: int, fps: float = 0.0) -> np.ndarray:
    """Return evenly spaced first frames (num_clips,) int64 of clips.

    The first clip is at the start of the video, the last one at its end, and a single clip is in the middle. Clip i
    starts at ⌊i · last / (num_clips - 1)⌋. All starts are 0 if no clip fits.
    """
    last = max(num_frames - shape.span(fps), 0)
    if num_clips == 1:
        return np.array([last // 2])
    return np.arange(num_clips) * last // (num_clips - 1)


# frames, fps, shape, clips → (num_clips, clip_len) int64
ClipGrid = Callable[[int, float, ClipShape, int], np.ndarray]
RandomGrid = Callable[[int, float, ClipShape, int, np.random.Generator], np.ndarray]


def uniform_clips(num_frames: int, fps: float, shape: ClipShape, num_clips: int) -> np.ndarray:
    """Return the frame indices of the clips that begin at `uniform_starts`, (num_clips, clip_len)."""
    starts = uniform_starts(num_frames, shape, num_clips, fps)
    return np.stack([shape.frames(start, num_frames, fps) for start in starts])


def random_clips(num_frames: int, fps: float, shape: ClipShape, num_clips: int, rng: np.random.Generator) -> np.ndarray:
    """Return the frame indices of the clips that begin at `random_starts`, (num_clips, clip_len)."""
    starts = random_starts(num_frames, shape, num_clips, rng, fps)
    return np.stack([shape.frames(start, num_frames, fps) for start in starts])


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomClips:
    """Random clips, for training.

    Args:
        shape: Shape of a clip in time.
        num_clips: Number of clips per video.
        grid: Samples the frames of clips. By default the starts are those of `random_starts`;
            `videoctx.data.sampling.grids` has others.
    """

    shape: ClipShape
    num_clips: int = 1
    grid: RandomGrid = random_clips
    frame_order: ClassVar[FrameOrder] = "recorded"

    def clips(self, num_frames: int, fps: float, rng: np.random.Generator) -> np.ndarray:
        """Return frame indices (num_clips, clip_len).

        Raises:
            NoClipError: The video has no such clip.
        """
        return self.grid(num_frames, fps, self.shape, self.num_clips, rng)

    def shortened(self, clip_len: int, rng: np.random.Generator) -> "RandomClips":
        """Return a sampler of clips with fewer frames that are further apart.

        The frame interval is sampled uniformly, between the usual one and the one at which the clips cover as many
        frames of the video as the usual clips. Clips that cover the whole video have no interval.
        """
        least = self.shape.frame_interval
        interval = int(rng.integers(least, least * self.shape.clip_len // clip_len + 1))
        return replace(self, shape=replace(self.shape, clip_len=clip_len, frame_interval=interval))


@dataclass(frozen=True, slots=True, kw_only=True)
class UniformClips:
    """Clips at fixed positions, for validation and test.

    Args:
        shape: Shape of a clip in time.
        num_clips: Number of clips per video.
        grid: Returns the frames of the clips. By default they begin at `uniform_starts`;
            `videoctx.data.sampling.grids` has others.
        frame_order: Order in which the network sees the frames of a clip. `clips` returns them as recorded.
    """

    shape: ClipShape
    num_clips: int
    grid: ClipGrid = uniform_clips
    frame_order: FrameOrder = "recorded"

    def clips(self, num_frames: int, fps: float, rng: np.random.Generator) -> np.ndarray:  # noqa: ARG002
        """Return frame indices (num_clips, clip_len).

        Raises:
            NoClipError: The video has no such clip.
        """
        return self.grid(num_frames, fps, self.shape, self.num_clips)


ClipSampler = RandomClips | UniformClips


def frame_range(
    num_frames: int,
    fps: float,
    start_seconds: float | None,
    end_seconds: float | None,
    *,
    frame_seconds: np.ndarray | None = None,
) -> tuple[int, int]:
    """Return the frames whose display begins in [start, end), as (first, stop).

    Seconds are rounded to a thousandth of a frame, so that at 30 fps 1.1 s is frame 33 and not 34.

    Args:
        start_seconds: Start of the segment. None: start of the video.
        end_seconds: End of the segment. None: end of the video.
        frame_seconds: (num_frames,) time of each frame. By default frame k is at k / fps.

    >>> frame_range(300, 30.0, 1.1, 2.0)
    (33, 60)
    """

    def frame_at(seconds: float) -> int:
        if frame_seconds is not None:
            return int(np.searchsorted(frame_seconds, seconds - 0.0005 / fps))
        return int(np.ceil(round(seconds * fps, 3)))

    first = 0 if start_seconds is None else frame_at(start_seconds)
    stop = num_frames if end_seconds is None else frame_at(end_seconds)
    return min(first, num_frames), min(stop, num_frames)
