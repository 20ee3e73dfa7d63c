"""Live classification: one thread reads the frames of a source, another runs the network on the newest clip.

The source's thread keeps the last T frames of a clip, resized and cropped. They are as far apart as in the test, and
each new one completes a clip. Where the network cannot keep up, the newest clip is used. The clips that arrive while it
is busy are dropped and counted; their frames are part of later clips. So memory holds T small frames and one clip, and
a result is delayed by the time of one clip at most.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from videoctx.inference.classifier import Classifier
from videoctx.inference.frame_clips import FrameTransform, frame_offsets
from videoctx.inference.live_source import LiveFrame, LiveSource, SourceError
from videoctx.models.inference import InferenceNetwork, for_inference

LATENCIES_KEPT = 10_000  # the latest ones
FIRST_WAIT_SECONDS = 0.5  # before a stream is opened again; twice as long before each next attempt, up to
LONGEST_WAIT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class LiveResult:
    """The probabilities (K,) of a clip, and the seconds since its last frame arrived."""

    probabilities: np.ndarray
    latency_seconds: float


@dataclass(slots=True)
class LiveCounts:
    """Counts of a live classification.

    Attributes:
        frames: Frames that arrived.
        damaged: Frames that could not be decoded, and were skipped.
        clips: Complete clips.
        dropped: Clips that a newer one replaced while the network was busy.
        results: Clips that were classified.
        reconnects: Attempts to open the source again.
        latencies: Seconds from the last frame of a clip to its result, for the latest results.
    """

    frames: int = 0
    damaged: int = 0
    clips: int = 0
    dropped: int = 0
    results: int = 0
    reconnects: int = 0
    latencies: deque[float] = field(default_factory=lambda: deque(maxlen=LATENCIES_KEPT))

    def latency_seconds(self, percent: float) -> float | None:
        """Return a percentile of the latencies. None: there is no result."""
        return float(np.percentile(self.latencies, percent)) if self.latencies else None


class LiveClassifier:
    """A classifier of a live source. Iterating over it gives results until a file ends or a stream is lost.

    Args:
        trained: The classifier, on the device that runs it.
        source: Where the frames come from.
        reconnects: Number of attempts in a row to open a lost stream again.
        say: Called with a message when a stream is lost.

    Attributes:
        counts: Counts of frames, clips and results so far.
        lost: Why the source gives no more frames. None: it is not lost.
    """

    def __init__(self, trained: Classifier, source: LiveSource, *, reconnects: int, say: Callable[[str], None]) -> None:
        self.trained = trained
        self.source = source
        self.reconnects = reconnects
        self.say = say
        self.counts = LiveCounts()
        self.lost: str | None = None
        self._net: InferenceNetwork = for_inference(trained.net, next(trained.net.parameters()).device)
        self._transform = FrameTransform(trained.preprocessing)
        self._changed = threading.Condition()
        self._newest: tuple[list[Tensor], float] | None = None  # a clip that waits for the network, and its arrival
        self._ended = False
        self._stopped = threading.Event()
        self._error: Exception | None = None

    def __iter__(self) -> Iterator[LiveResult]:
        """Yield a result per clip.

        Raises:
            NoClipError: The test counts frames by time, and the source has no frame rate.
            NotFiniteError: The network gives NaN or infinity for a clip.
        """
        thread = threading.Thread(target=self._capture, name="capture", daemon=True)
        thread.start()
        try:
            while (clip := self._take()) is not None:
                seen, captured = clip
                logits = self._net(self._transform.clip(seen, self._net.device))
                probabilities = self.trained.clip_probabilities(logits, f"clip {self.counts.results + 1}")
                latency = time.monotonic() - captured
                self.counts.results += 1
                self.counts.latencies.append(latency)
                yield LiveResult(probabilities, latency)
        finally:
            self._stopped.set()
            thread.join(timeout=1.0)  # a camera that is silent cannot be waited for
        if self._error:
            raise self._error

    def _take(self) -> tuple[list[Tensor], float] | None:
        """Wait for the newest clip and return it. None: the source has ended."""
        with self._changed:
            while self._newest is None and not self._ended:
                self._changed.wait(timeout=0.5)  # a wait without end cannot be interrupted by Ctrl-C everywhere
            clip, self._newest = self._newest, None
            return clip

    # In the thread of the source ----------------------------------------------------------------------------------

    def _capture(self) -> None:
        try:
            self._capture_and_reconnect()
        except Exception as error:  # of whatever kind: it is raised in the thread that iterates
            self._error = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify()

    def _capture_and_reconnect(self) -> None:
        attempts = 0
        while not self._stopped.is_set():
            before = self.counts.frames
            try:
                self._capture_until_it_ends()
                return
            except SourceError as error:
                if self.counts.frames > before:
                    attempts = 0
                if self.source.is_file or self.counts.frames == 0 or attempts >= self.reconnects:
                    tried = f", {attempts} attempts to open it again" if attempts else ""
                    self.lost = f"{error}{tried}"
                    return
                attempts += 1
                self.counts.reconnects += 1
                wait = min(FIRST_WAIT_SECONDS * 2 ** (attempts - 1), LONGEST_WAIT_SECONDS)
                self.say(f"{error}; attempt {attempts} of {self.reconnects} to open it again in {wait:g} s")
            self._stopped.wait(wait)

    def _capture_until_it_ends(self) -> None:
        seen: deque[Tensor] | None = None
        index = -1
        for frame in self.source.frames():
            if self._stopped.is_set():
                return
            if frame.frame is None:
                self.counts.damaged += 1
                continue
            index += 1
            self.counts.frames += 1
            if seen is None:
                seen, step = self._shape_of_clips(frame)
            if int(index / step) == int((index - 1) / step) and index:
                continue
            seen.append(self._transform.see(frame.image()))
            if len(seen) == seen.maxlen:
                self._offer(list(seen), frame.captured)

    def _shape_of_clips(self, frame: LiveFrame) -> tuple[deque[Tensor], float]:
        """Return an empty clip, and the distance of its frames in frames of the source."""
        offsets = frame_offsets(self.trained.preprocessing, frame.fps)
        step = offsets[-1] / (len(offsets) - 1) if len(offsets) > 1 else self.trained.preprocessing.frame_interval
        return deque(maxlen=len(offsets)), max(1.0, float(step))

    def _offer(self, seen: list[Tensor], captured: float) -> None:
        with self._changed:
            self.counts.clips += 1
            self.counts.dropped += self._newest is not None
            self._newest = seen, captured
            self._changed.notify()
