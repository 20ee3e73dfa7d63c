"""The classes of every moment of a long video: a clip starts every `stride_seconds`, and each is classified.

Frames arrive one by one. Memory holds only the resized and cropped frames of the clips that have begun.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from videoctx.data.sampling.clip_samplers import NoClipError
from videoctx.inference.classifier import Classifier
from videoctx.inference.frame_clips import FrameTransform, frame_offsets


@dataclass(frozen=True, slots=True)
class Moment:
    """The classification of one clip: the times of its first and last frame, and the probabilities (K,)."""

    start_seconds: float
    end_seconds: float
    probabilities: np.ndarray


@dataclass(slots=True)
class _Window:
    """A clip that has begun."""

    start: int  # the number of its first frame
    start_seconds: float
    seen: list[Tensor] = field(default_factory=list)  # so far


class Timeline:
    """A classifier of consecutive frames. It gives a moment as soon as the last frame of its clip has arrived.

    Args:
        trained: The classifier.
        fps: Average frame rate of the video; 0: not known.
        stride_seconds: Seconds between the starts of two clips. At most one starts with each frame.

    Raises:
        NoClipError: The test counts frames by time, and `fps` is 0.
    """

    def __init__(self, trained: Classifier, *, fps: float, stride_seconds: float) -> None:
        self.trained = trained
        self.fps = fps
        self.stride_seconds = stride_seconds
        self.device = next(trained.net.parameters()).device
        self.transform = FrameTransform(trained.preprocessing)
        self.offsets = frame_offsets(trained.preprocessing, fps)  # (T,)
        self.num_frames = 0
        self._last_seconds = 0.0
        self._num_starts = 0  # number of multiples of the stride so far
        self._windows: list[_Window] = []
        self._opening: list[Tensor] = []  # the first frames, until a clip is complete

    def add(self, image: np.ndarray, seconds: float) -> Iterator[Moment]:
        """Yield the moments that end with this frame, (H, W, 3) uint8, shown `seconds` after the first one.

        Raises:
            NotFiniteError: The network gives NaN or infinity for a clip.
        """
        if seconds >= self._num_starts * self.stride_seconds - 1e-6:
            self._windows.append(_Window(self.num_frames, seconds))
            self._num_starts = int((seconds + 1e-6) // self.stride_seconds) + 1
        wanting = [window for window in self._windows if self._wants(window)]
        is_opening = self.num_frames <= self.offsets[-1]
        if wanting or is_opening:
            seen = self.transform.see(image)
            if is_opening:
                self._opening.append(seen)
            for window in wanting:
                while self._wants(window):  # a clip may show a frame more than once
                    window.seen.append(seen)
        for window in [window for window in wanting if len(window.seen) == len(self.offsets)]:
            self._windows.remove(window)
            yield self._moment(window.seen, window.start_seconds, seconds)
        self.num_frames += 1
        self._last_seconds = seconds
        if self.num_frames > self.offsets[-1]:
            self._opening.clear()

    def finish(self) -> Iterator[Moment]:
        """Yield, after the last frame, the only moment of a video that is shorter than a clip.

        Raises:
            NoClipError: The test has no clip of so short a video.
        """
        if 0 < self.num_frames <= self.offsets[-1]:
            sampler = self.trained.preprocessing.sampler(num_clips=1)
            (frames,) = sampler.clips(self.num_frames, self.fps, np.random.default_rng(0))
            yield self._moment([self._opening[frame] for frame in frames], 0.0, self._last_seconds)
        elif self.num_frames == 0:
            raise NoClipError("the video has no frames")

    def _wants(self, window: _Window) -> bool:
        """Whether the current frame is the next of the window's clip."""
        taken = len(window.seen)
        return taken < len(self.offsets) and window.start + self.offsets[taken] == self.num_frames

    @torch.inference_mode()
    def _moment(self, seen: list[Tensor], start_seconds: float, end_seconds: float) -> Moment:
        logits = self.trained.net(self.transform.clip(seen, self.device))  # (1, K)
        probabilities = self.trained.clip_probabilities(logits, f"the clip from {start_seconds:.2f} s")
        return Moment(start_seconds, end_seconds, probabilities)
