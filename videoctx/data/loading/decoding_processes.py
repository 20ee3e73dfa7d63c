"""Processes that decode, can be killed, and are replaced."""

import multiprocessing
import threading
import weakref
from concurrent.futures import CancelledError, Future
from concurrent.futures.process import BrokenProcessPool
from typing import NamedTuple

import torch
from pebble import ProcessPool

from videoctx.data.loading.dataset import SampleIndex, VideoDataset
from videoctx.data.loading.shared_frames import Sent, Slot, Slots, pack

REMEDY = "expected enough memory and processes for data.loading.num_workers of them on each device, or fewer"


class Task(NamedTuple):
    """A video that is being decoded, and where its frames will be."""

    future: Future[Sent]
    slot: Slot


class DecodingProcesses:
    """A pool from its first task to `close`; any thread may ask for tasks.

    A pool in which a process dies while it has nothing to do gives itself up: the next task gets a new one.
    """

    def __init__(self, dataset: VideoDataset, *, num_processes: int, deadline_seconds: float) -> None:
        self.dataset = dataset
        self.num_processes = num_processes
        self.deadline_seconds = deadline_seconds
        self.slots = Slots()
        self._lock = threading.RLock()  # a task's end may be told to the thread that asks for another
        self._closed = False
        self._pool: ProcessPool | None = None
        self._unfinished: set[Future[Sent]] = set()

    def decode(self, draw: SampleIndex, location: str) -> Task:
        """
        Raises:
            CancelledError: the processes have been ended.
            ChildProcessError: they cannot be started.
        """
        with self._lock:
            if self._closed:
                raise CancelledError("the loader has been closed")
            if self._pool is not None and not self._pool.active:
                self._end_pool()
                self._pool = None
            if self._pool is None:
                context = multiprocessing.get_context("forkserver")
                context.set_forkserver_preload([__name__])
                self._pool = ProcessPool(
                    self.num_processes, initializer=_begin, initargs=[self.dataset], context=context
                )
                self._end_pool = weakref.finalize(self, _end, self._pool)
            slot = self.slots.take()
            try:
                future = self._pool.schedule(_load, (draw, location, slot.name), timeout=self.deadline_seconds)
            except BrokenProcessPool as error:
                raise ChildProcessError(
                    f"decoding processes cannot be started ({error.__cause__!r}); {REMEDY}"
                ) from error
            self._unfinished.add(future)
        future.add_done_callback(self._finished)
        return Task(future, slot)

    def close(self) -> None:
        """End the processes; whoever waits for a task gets a CancelledError."""
        with self._lock:
            self._closed = True
            unfinished = list(self._unfinished)
        for future in unfinished:  # the pool leaves those that it has not begun as they are
            future.cancel()
        if self._pool is not None:
            self._end_pool()

    def _finished(self, future: Future[Sent]) -> None:
        with self._lock:
            self._unfinished.discard(future)


def _end(pool: ProcessPool) -> None:
    pool.stop()
    pool.join()


# In the processes -------------------------------------------------------------------------------------------------

_dataset: VideoDataset


def _begin(dataset: VideoDataset) -> None:
    global _dataset
    _dataset = dataset
    torch.set_num_threads(1)  # there is a process a core already


def _load(draw: SampleIndex, location: str, slot: str) -> Sent:
    return pack(_dataset.load(draw, location), slot)
