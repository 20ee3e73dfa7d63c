"""Which frames make a clip, in integers.

A clip is `clip_len` frames, `frame_interval` apart. It spans (clip_len - 1) · frame_interval + 1 frames of its video.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

ShortVideos = Literal["wrap", "repeat_last", "refuse"]


class NoClipError(ValueError):
    """A video has no clip of the requested shape."""


class ClipTooLongError(NoClipError):
    """A video has fewer frames than a clip spans, and `short_videos` is `refuse`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipShape:
    """The shape of a clip in time.

    Args:
        clip_len: Number of frames of a clip.
        frame_interval: Distance between consecutive frames of a clip, in frames of the video.
        short_videos: What fills a clip that passes the end of its video: the video again from its first frame (`wrap`,
            as in Non-local), its last frame (`repeat_last`), or an error (`refuse`).

    Raises:
        ValueError: A value is out of its range.

    >>> ClipShape(clip_len=4, frame_interval=2).frames(start=3, num_frames=8)
    array([3, 5, 7, 1])
    """

    clip_len: int
    frame_interval: int
    short_videos: ShortVideos = "wrap"

    def __post_init__(self) -> None:
        for name in ("clip_len", "frame_interval"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected 1 or more")
        if self.short_videos not in (choices := ("wrap", "repeat_last", "refuse")):
            raise ValueError(f"short_videos is {self.short_videos!r}; expected one of {', '.join(choices)}")

    @property
    def span(self) -> int:
        """Number of video frames from a clip's first frame to its last, both included."""
        return (self.clip_len - 1) * self.frame_interval + 1

    def frames(self, start: int, num_frames: int) -> np.ndarray:
        """Return the frame indices of the clip that begins at `start`, (clip_len,) int64, each in [0, num_frames).

        Raises:
            ClipTooLongError: The clip passes the end of the video and `short_videos` is `refuse`.
        """
        frames = start + self.frame_interval * np.arange(self.clip_len)
        if frames[-1] < num_frames:
            return frames
        if self.short_videos == "wrap":
            return frames % num_frames
        if self.short_videos == "repeat_last":
            return np.minimum(frames, num_frames - 1)
        raise ClipTooLongError(
            f"{num_frames} frames, but a clip of {self.clip_len}, {self.frame_interval} apart, spans {self.span};"
            f" expected short_videos 'wrap' or 'repeat_last', or a shorter clip"
        )


def random_starts(num_frames: int, shape: ClipShape, num_clips: int, rng: np.random.Generator) -> np.ndarray:
    """Sample first frames (num_clips,) of clips, uniformly among all that fit, with replacement. 0 if none fits."""
    return rng.integers(0, max(num_frames - shape.span, 0) + 1, size=num_clips)


def uniform_starts(num_frames: int, shape: ClipShape, num_clips: int) -> np.ndarray:
    """Return evenly spaced first frames (num_clips,) int64 of clips.

    The first clip is at the start of the video, the last one at its end, and a single clip is in the middle. Clip i
    starts at ⌊i · last / (num_clips - 1)⌋. All starts are 0 if no clip fits.
    """
    last = max(num_frames - shape.span, 0)
    if num_clips == 1:
        return np.array([last // 2])
    return np.arange(num_clips) * last // (num_clips - 1)


ClipGrid = Callable[[int, float, ClipShape, int], np.ndarray]  # frames, fps, shape, clips → (num_clips, clip_len)


def uniform_clips(num_frames: int, fps: float, shape: ClipShape, num_clips: int) -> np.ndarray:  # noqa: ARG001
    """Return the frame indices of the clips that begin at `uniform_starts`, (num_clips, clip_len)."""
    return np.stack([shape.frames(start, num_frames) for start in uniform_starts(num_frames, shape, num_clips)])


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomClips:
    """Clips at random positions, for training."""

    shape: ClipShape
    num_clips: int = 1

    def clips(self, num_frames: int, fps: float, rng: np.random.Generator) -> np.ndarray:  # noqa: ARG002
        """Return frame indices (num_clips, clip_len).

        Raises:
            NoClipError: The video has no such clip.
        """
        return np.stack([self.shape.frames(start, num_frames) for start in self.starts(num_frames, rng)])

    def shortened(self, clip_len: int, rng: np.random.Generator) -> "RandomClips":
        """Return a sampler of clips with fewer frames that are further apart.

        The frame interval is sampled uniformly, between the usual one and the one at which the clips cover as many
        frames of the video as the usual clips.
        """
        least = self.shape.frame_interval
        interval = int(rng.integers(least, least * self.shape.clip_len // clip_len + 1))
        return replace(self, shape=replace(self.shape, clip_len=clip_len, frame_interval=interval))

    def starts(self, num_frames: int, rng: np.random.Generator) -> np.ndarray:
        """Return the first frames of the clips, (num_clips,)."""
        return random_starts(num_frames, self.shape, self.num_clips, rng)


@dataclass(frozen=True, slots=True, kw_only=True)
class UniformClips:
    """Clips at fixed positions, for validation and test.

    Args:
        shape: Shape of a clip in time.
        num_clips: Number of clips per video.
        grid: Positions of the clips. By default those of `uniform_starts`; `videoctx.data.sampling.protocols` has those
            of other projects.
    """

    shape: ClipShape
    num_clips: int
    grid: ClipGrid = uniform_clips

    def clips(self, num_frames: int, fps: float, rng: np.random.Generator) -> np.ndarray:  # noqa: ARG002
        """Return frame indices (num_clips, clip_len).

        Raises:
            NoClipError: The video has no such clip.
        """
        return self.grid(num_frames, fps, self.shape, self.num_clips)

    def starts(self, num_frames: int, rng: np.random.Generator) -> np.ndarray:  # noqa: ARG002 - the samplers' signature
        """Return the first frames of the clips, (num_clips,)."""
        return uniform_starts(num_frames, self.shape, self.num_clips)


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


def crop_corner(height: int, width: int, size: int, crop: int, num_crops: int) -> tuple[int, int]:
    """Return top and left of test crop `crop` out of `num_crops`.

    Crops are evenly spaced along the longer side and centered on the shorter one. A single crop is the center; three
    are the left, middle and right (or top, middle and bottom) crops of Non-local's test.
    """
    rows, columns = height - size, width - size
    if num_crops == 1:
        return rows // 2, columns // 2
    if height > width:
        return rows * crop // (num_crops - 1), columns // 2
    return rows // 2, columns * crop // (num_crops - 1)
