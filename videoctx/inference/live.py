"""What is happening now: one thread takes the frames of a source, another asks the network about the newest clip.

The source's thread keeps what the network sees of the last T frames that belong to a clip, which are as far apart as in
the test. Each such frame ends a clip. The rule where the network cannot keep up: the newest clip wins. The clips that
are overtaken while it is busy are dropped, and counted; their frames are still part of the next. So memory holds T
small frames and one clip, and a result is late by no more than one clip takes.
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

LATENCIES_KEPT = 10_000  # the last ones
FIRST_WAIT_SECONDS = 0.5  # before a stream is opened again; twice as long before each next attempt, up to
LONGEST_WAIT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class LiveResult:
    """The probabilities (K,) of a clip, and the seconds since its last frame came."""

    probabilities: np.ndarray
    latency_seconds: float


@dataclass(slots=True)
class LiveCounts:
    """What has happened so far."""

    frames: int = 0  # that came
    damaged: int = 0  # pieces of the stream that are no frames: they are passed over
    clips: int = 0  # that were full
    dropped: int = 0  # of them, overtaken by a newer one while the network was busy
    results: int = 0
    reconnects: int = 0  # attempts
    latencies: deque[float] = field(default_factory=lambda: deque(maxlen=LATENCIES_KEPT))  # seconds

    def latency_seconds(self, percent: float) -> float | None:
        return float(np.percentile(self.latencies, percent)) if self.latencies else None


class LiveClassifier:
    """Iterate over it for results; it ends with a file, or with a stream that is lost.

    Args:
        reconnects: how often in a row a stream that has died is opened again.
        say: is told when a stream dies and is back.

    Attributes:
        counts: of what has happened.
        lost: why there is no more; none at the end of a file.
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
        self._newest: tuple[list[Tensor], float] | None = None  # a clip that waits for the network, and when it came
        self._ended = False
        self._stopped = threading.Event()
        self._error: Exception | None = None

    def __iter__(self) -> Iterator[LiveResult]:
        """
        Raises:
            NoClipError: the protocol of the test counts frames by time, and the source does not say how fast it is.
        """
        thread = threading.Thread(target=self._capture, name="capture", daemon=True)
        thread.start()
        try:
            while (clip := self._take()) is not None:
                seen, captured = clip
                logits = self._net(self._transform.clip(seen, self._net.device))
                probabilities = self.trained.probabilities(logits)[0].cpu().numpy()
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
        """The newest clip, once there is one; none at the end."""
        with self._changed:
            while self._newest is None and not self._ended:
                self._changed.wait(timeout=0.5)  # and not for ever, which Ctrl-C does not interrupt everywhere
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
            seen.append(self._transform.see(frame.picture()))
            if len(seen) == seen.maxlen:
                self._offer(list(seen), frame.captured)

    def _shape_of_clips(self, frame: LiveFrame) -> tuple[deque[Tensor], float]:
        """An empty clip, and how many frames of the source its frames are apart."""
        offsets = frame_offsets(self.trained.preprocessing, frame.fps)
        step = offsets[-1] / (len(offsets) - 1) if len(offsets) > 1 else self.trained.preprocessing.frame_interval
        return deque(maxlen=len(offsets)), max(1.0, float(step))

    def _offer(self, seen: list[Tensor], captured: float) -> None:
        with self._changed:
            self.counts.clips += 1
            self.counts.dropped += self._newest is not None
            self._newest = seen, captured
            self._changed.notify()
