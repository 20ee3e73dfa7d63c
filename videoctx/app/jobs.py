"""A queue of jobs: one runs at a time, the others wait for it, and each can be cancelled.

A job is cancelled too when its page is closed, or asks for it no more because the browser has crashed.
"""

import itertools
import logging
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from videoctx.app.returned_memory import return_free_memory
from videoctx.user_error import UserError, error_line, is_out_of_memory

ABANDONED_SECONDS = 30.0  # after the last look at a job
KEPT_SECONDS = 60.0  # a finished job, for a page whose connection was lost
NOT_UNDERSTOOD = "the server failed; its terminal shows the error"

State = Literal["waiting", "running", "done", "failed", "cancelled"]
logger = logging.getLogger(__name__)


class Cancelled(BaseException):
    """The job was cancelled. No `Exception`, so that nothing in between takes it for the failure of a video."""


class QueueFullError(UserError):
    """More jobs wait than the server accepts."""


@dataclass(eq=False)
class Job:
    """One job.

    Attributes:
        work: what is done. It calls `check` now and then, and may set `progress`.
        page: the page that waits for it.
        state: `waiting`, `running`, `done`, `failed` or `cancelled`.
        progress: from 0 to 1; None where it is not known.
        result: of the work, once it is done.
        error: one sentence, of work that failed.
    """

    work: Callable[["Job"], Any]
    page: str = ""
    id: str = field(default_factory=lambda: secrets.token_urlsafe(9))
    state: State = "waiting"
    progress: float | None = None
    result: Any = None
    error: str | None = None
    seen: float = field(default_factory=time.monotonic)
    finished: float | None = None
    stop: threading.Event = field(default_factory=threading.Event)

    def check(self) -> None:
        """Go back to the queue if the job was cancelled.

        Raises:
            Cancelled: It was, or nobody has looked at it for a while.
        """
        if self.stop.is_set() or time.monotonic() - self.seen > ABANDONED_SECONDS:
            raise Cancelled

    @property
    def is_over(self) -> bool:
        """Whether the job has ended, in any way."""
        return self.state in ("done", "failed", "cancelled")


class JobQueue:
    """Runs jobs one after another, in threads of its own.

    Args:
        num_threads: number of jobs that run at the same time.
        max_waiting: number of jobs that may wait. Another one is refused.

    >>> with JobQueue() as queue:
    ...     job = queue.add(lambda job: 6 * 7)
    ...     while not job.is_over:
    ...         time.sleep(0.001)
    >>> job.state, job.result
    ('done', 42)
    """

    def __init__(self, *, num_threads: int = 1, max_waiting: int = 64) -> None:
        self.max_waiting = max_waiting
        self._jobs: dict[str, Job] = {}  # in the order of their arrival
        self._changed = threading.Condition()
        self._closed = False
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(num_threads)]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> "JobQueue":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(self, work: Callable[[Job], Any], page: str = "") -> Job:
        """Append a job of a page.

        Raises:
            QueueFullError: Too many wait.
        """
        job = Job(work, page)
        with self._changed:
            self._forget_old()
            waiting = sum(one.state == "waiting" for one in self._jobs.values())
            if waiting >= self.max_waiting:
                raise QueueFullError(f"{waiting} requests are waiting; expected fewer than {self.max_waiting}")
            self._jobs[job.id] = job
            self._changed.notify()
        return job

    def find(self, id: str) -> Job | None:
        """Return a job, and note that somebody waits for it."""
        job = self._jobs.get(id)
        if job is not None:
            job.seen = time.monotonic()
        return job

    def num_before(self, job: Job) -> int:
        """Return how many jobs are done before this one, which waits."""
        with self._changed:
            earlier = itertools.takewhile(lambda one: one is not job, self._jobs.values())
            return sum(one.state in ("waiting", "running") for one in earlier)

    def cancel(self, job: Job) -> None:
        """Cancel a job. One that is running ends at its next `check`; its page need not wait for that."""
        with self._changed:
            job.stop.set()
            if job.state == "waiting":
                self._end(job, "cancelled")

    def close_page(self, page: str) -> None:
        """Cancel the jobs of a page."""
        for job in list(self._jobs.values()):
            if job.page == page and not job.is_over:
                self.cancel(job)

    def close(self, timeout_seconds: float = 5.0) -> None:
        """Cancel all jobs and end the threads, as far as they end in time."""
        with self._changed:
            self._closed = True
            for job in self._jobs.values():
                job.stop.set()
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(timeout_seconds)

    def _run(self) -> None:
        while (job := self._next()) is not None:
            state, error = self._outcome(job)
            with self._changed:
                job.error = error
                self._end(job, state)
            return_free_memory()

    def _next(self) -> Job | None:
        with self._changed:
            while not self._closed:
                for job in self._jobs.values():
                    if job.state == "waiting":
                        job.state = "running"
                        return job
                self._changed.wait()
        return None

    def _outcome(self, job: Job) -> tuple[State, str | None]:
        try:
            job.check()
            job.result = job.work(job)
        except Cancelled:
            return "cancelled", None
        except Exception as error:  # the server lives
            if is_out_of_memory(error):
                return "failed", "the memory is full; expected a smaller video or network"
            if isinstance(error, UserError | ValueError | OSError):
                return "failed", error_line(error)
            logger.exception("a request failed")
            return "failed", NOT_UNDERSTOOD
        return "done", None

    def _end(self, job: Job, state: State) -> None:
        job.state, job.finished = state, time.monotonic()
        job.work = _nothing  # it refers to a video

    def _forget_old(self) -> None:
        now = time.monotonic()
        for job in list(self._jobs.values()):
            if job.finished is not None and now - job.finished > KEPT_SECONDS:
                del self._jobs[job.id]

    def forget(self, job: Job) -> None:
        """Free a job whose result was delivered."""
        with self._changed:
            self._jobs.pop(job.id, None)


def _nothing(_: Job) -> None:
    """The work of a job that is over."""
