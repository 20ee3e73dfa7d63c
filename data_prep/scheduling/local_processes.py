"""Worker processes of this machine, managed by Pebble (https://pebble.readthedocs.io).

A worker that dies takes only its own item with it. Each worker also holds one end of a pipe and kills itself, with the
programs that it has started, when the other end is closed: at the end of the work, or because this process has died.
"""

import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Future
from multiprocessing import get_context
from multiprocessing.connection import Connection
from types import TracebackType
from typing import TypeVar

from pebble import ProcessExpired, ProcessPool

from videoctx.interrupts import without_interrupts

Result = TypeVar("Result")


class LocalProcesses:
    """The `Workers` of this machine; leaving the context kills them.

    Args:
        num_processes: at least one.
    """

    worker_deaths: tuple[type[Exception], ...] = (ProcessExpired, BrokenExecutor)

    def __init__(self, num_processes: int) -> None:
        self.max_in_flight = num_processes

    def __enter__(self) -> "LocalProcesses":
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop()

    def submit(self, function: Callable[[], Result], /) -> "Future[Result]":
        try:
            return self._pool.schedule(function)
        except RuntimeError:  # the pool is broken: a process died while it had no item
            self._stop()
            self._start()
            return self._pool.schedule(function)

    def _start(self) -> None:
        context = get_context("spawn")  # a fork would copy the locks of threads and the state of decoders
        self._reader, self._writer = context.Pipe(duplex=False)
        self._pool = ProcessPool(
            self.max_in_flight, context=context, initializer=_leave_when_closed, initargs=(self._reader,)
        )
        with without_interrupts():
            assert self._pool.active  # this starts the processes

    def _stop(self) -> None:
        self._pool.stop()
        self._writer.close()  # kills the workers
        self._pool.join()
        self._reader.close()


def num_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _leave_when_closed(pipe: Connection) -> None:
    """Kill this worker and the programs that it has started when the other end of the pipe is closed."""
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)  # a process group of its own

    def wait_and_leave() -> None:
        try:
            pipe.recv()
        except (EOFError, OSError):
            if hasattr(os, "killpg"):
                os.killpg(0, signal.SIGKILL)
            os._exit(1)

    threading.Thread(target=wait_and_leave, daemon=True).start()
