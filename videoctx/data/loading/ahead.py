"""The next batch is transferred to the device and transformed while the current one is trained on.

A thread does it, on a GPU on a stream of its own, so the thread that trains only takes the batch and lets its own
stream wait. The thread waits until the frames have left the host's memory, which is then free for other videos.
"""

import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from videoctx.batch import ClipBatch
from videoctx.data.loading.dataset import DecodedBatch

Prepare = Callable[[DecodedBatch], ClipBatch | DecodedBatch]  # of a batch on the device

PATIENCE_SECONDS = 5  # for the thread, at the end of an epoch that is not read to its end


class ReadyBatch:
    """A batch on the device, which may still be computed there.

    It is no dataclass, in which Lightning would look for tensors.
    """

    def __init__(self, content: ClipBatch | DecodedBatch, tensors: list[Tensor], done: torch.cuda.Event | None) -> None:
        self._content = content
        self._tensors = tensors
        self._done = done

    def __len__(self) -> int:
        return len(self._content.videos) if isinstance(self._content, DecodedBatch) else len(self._content)

    def take(self) -> ClipBatch | DecodedBatch:
        """Return the batch. What is computed next on this thread's stream waits for it; this thread does not."""
        if self._done is not None:
            stream = torch.cuda.current_stream(self._tensors[0].device)
            stream.wait_event(self._done)
            for tensor in self._tensors:
                tensor.record_stream(stream)  # or its memory could be used again too early
        return self._content


class Ahead:
    """Prepares the batches of a loader one ahead.

    Args:
        device: where the batches go.
        prepare: what is done with a batch there.
    """

    def __init__(self, device: torch.device, prepare: Prepare) -> None:
        self.device = device
        self.prepare = prepare
        self._stream: torch.cuda.Stream | None = None
        self._stopped = threading.Event()  # of the last pass

    def stop(self) -> None:
        """End the thread. Whoever reads the next batch gets a CancelledError."""
        self._stopped.set()

    def batches(self, decoded: Iterator[DecodedBatch]) -> Iterator[ReadyBatch]:
        """Yield batches in order. What decoding or preparing raises is raised here."""
        found: queue.Queue[tuple[str, Any]] = queue.Queue(maxsize=1)
        stopped = self._stopped = threading.Event()

        def put(kind: str, value: Any) -> bool:
            while not stopped.is_set():
                try:
                    found.put((kind, value), timeout=0.1)
                except queue.Full:
                    continue
                return True
            return False

        def work() -> None:
            try:
                while batches := list(islice(decoded, 1)):
                    if not put("batch", self._ready(batches.pop())):
                        return
                put("end", None)
            except BaseException as error:
                put("error", error)

        thread = threading.Thread(target=work, name="prepare batches", daemon=True)
        thread.start()
        try:
            while True:
                try:
                    kind, value = found.get(timeout=0.1)
                except queue.Empty:
                    if stopped.is_set():
                        raise CancelledError("the loader has been closed") from None
                    continue
                if kind == "error":
                    raise value
                if kind == "end":
                    return
                taken = [value]
                del value  # the last batch need not stay until the next one comes
                yield taken.pop()
        finally:
            stopped.set()
            thread.join(PATIENCE_SECONDS)

    def _ready(self, batch: DecodedBatch) -> ReadyBatch:
        with self._on_stream():
            moved = batch.to(self.device, non_blocking=True)
            copied = self._event()
            content = self.prepare(moved)
            done = self._event()
        if copied is not None:
            copied.synchronize()  # in this thread; until then the host's memory is read
        tensors = _tensors(content) if done is not None else []
        return ReadyBatch(content, tensors, done if tensors else None)

    def _on_stream(self) -> AbstractContextManager[Any]:
        if self.device.type != "cuda":
            return nullcontext()
        if self._stream is None:
            self._stream = torch.cuda.Stream(self.device)
        return torch.cuda.stream(self._stream)

    def _event(self) -> torch.cuda.Event | None:
        if self._stream is None:
            return None
        event = torch.cuda.Event()
        event.record(self._stream)
        return event


def _tensors(content: ClipBatch | DecodedBatch) -> list[Tensor]:
    """Return the tensors of a batch that are on a GPU."""
    if isinstance(content, DecodedBatch):
        found = [video.frames for video in content.videos]
    elif isinstance(content.clips, Tensor):
        found = [content.clips]
    else:
        found = [
            tensor for view in getattr(content.clips, "views", ()) for tensor in view if isinstance(tensor, Tensor)
        ]
    return [tensor for tensor in found if tensor.is_cuda]
