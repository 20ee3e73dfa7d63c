"""Processes that decode videos, can be killed, and are replaced."""

import multiprocessing
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import nullcontext
from typing import NamedTuple

import torch
from pebble import ProcessPool

from videoctx.data.annotations.video_record import VideoRecord
from videoctx.data.decoding.video_reader import LIBRARIES, is_installed
from videoctx.data.loading.arena import Place, Slot, Slots
from videoctx.data.loading.dataset import ClipDecoder, SampleIndex
from videoctx.data.loading.shared_frames import Sent, pack
from videoctx.interrupts import without_interrupts

LOOK_EVERY_SECONDS = 1.0  # at the processes, while a task is waited for
REMEDY = (
    "expected enough memory and processes for data.loading.num_workers of them on each device, or fewer; and in a"
    ' script of your own, `if __name__ == "__main__":` before what it runs'
)


class Task(NamedTuple):
    """A video that is being decoded, and the memory for its frames."""

    future: Future[Sent]
    slot: Slot
    pool: ProcessPool


class DecodingProcesses:
    """A pool of decoding processes, from its first task to `close`. It may be used by several threads.

    A pool breaks if one of its processes dies while it is idle. The next task then starts a new pool.

    Args:
        clip_decoder: Decodes the videos. Each process gets a copy.
        num_processes: Number of processes.
        deadline_seconds: Time limit for decoding one video.
    """

    def __init__(self, clip_decoder: ClipDecoder, *, num_processes: int, deadline_seconds: float) -> None:
        self.clip_decoder = clip_decoder
        self.num_processes = num_processes
        self.deadline_seconds = deadline_seconds
        self.slots = Slots()
        self._lock = threading.RLock()  # a task's callback may run in the thread that requests another task
        self._closed = False
        self._pool: ProcessPool | None = None
        self._end_pool: Callable[[], object] = _no_pool
        self._unfinished: dict[Future[Sent], Slot] = {}  # a process may still write to the slots

    def decode(self, index: SampleIndex, record: VideoRecord, location: str) -> Task:
        """Start decoding the video of a record from the local file at `location`.

        Raises:
            CancelledError: The processes have been ended.
            ChildProcessError: The processes cannot be started.
        """
        with self._lock:
            if self._closed:
                raise CancelledError("the loader has been closed")
            if self._pool is not None and not self._pool.active:
                self._end_pool()
                self._pool = None
            if starts := self._pool is None:
                context = multiprocessing.get_context("forkserver")
                context.set_forkserver_preload([f"{__package__}.fork_server", __name__])
                self._pool = ProcessPool(
                    self.num_processes, initializer=_begin, initargs=[self.clip_decoder], context=context
                )
                self._end_pool = weakref.finalize(self, _end, self._pool)
            slot = self.slots.take()
            try:
                with without_interrupts() if starts else nullcontext():  # the first task starts the processes
                    sent = (index, record, location, slot.place)
                    future = self._pool.schedule(_load, sent, timeout=self.deadline_seconds)
            except BrokenProcessPool as error:
                raise ChildProcessError(
                    f"decoding processes cannot be started ({error.__cause__!r}); {REMEDY}"
                ) from error
            self._unfinished[future] = slot
        future.add_done_callback(self._finished)
        return Task(future, slot, self._pool)

    def result(self, task: Task) -> Sent:
        """Wait for the result of a task.

        Raises:
            BrokenProcessPool: A process of another task, or an idle one, died.
            ProcessExpired: The process of this task died.
            TimeoutError: The deadline has passed.
        """
        while not _is_done(task):
            # Pebble forgets a task that is requested at the moment when an idle process is found dead.
            if not task.pool.active and not _is_done(task):
                raise BrokenProcessPool("the decoding processes have ended")
        return task.future.result()

    def close(self) -> None:
        """End the processes. Threads that wait for a task get a CancelledError."""
        with self._lock:
            self._closed = True
            unfinished = list(self._unfinished)
        for future in unfinished:  # the pool does not cancel the tasks that it has not begun
            future.cancel()
        if self._pool is not None:
            self._end_pool()

    def _finished(self, future: Future[Sent]) -> None:
        with self._lock:
            self._unfinished.pop(future, None)


def _is_done(task: Task) -> bool:
    """Wait a moment for a task, and return whether it is done."""
    try:
        task.future.exception(timeout=LOOK_EVERY_SECONDS)
    except TimeoutError:  # an error of the task is returned and not raised
        return False
    return True


def _no_pool() -> None:
    """There is no pool to end."""


def _end(pool: ProcessPool) -> None:
    pool.stop()
    pool.join()


# Inside the processes -------------------------------------------------------------------------------------------------

_clip_decoder: ClipDecoder


def _begin(clip_decoder: ClipDecoder) -> None:
    global _clip_decoder
    _clip_decoder = clip_decoder
    torch.set_num_threads(1)  # there is one process per core already
    next(filter(is_installed, LIBRARIES), None)  # imports the fastest decoder before the first deadline begins


def _load(index: SampleIndex, record: VideoRecord, location: str, place: Place) -> Sent:
    return pack(_clip_decoder.load(index, record, location), place)
