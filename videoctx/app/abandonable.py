"""Lets a job end while a library waits for a server, which nothing else interrupts."""

from collections.abc import Callable
from concurrent.futures import Future, wait
from threading import Thread
from typing import TypeVar

from videoctx.app.jobs import Job

LOOK_EVERY_SECONDS = 0.1

Result = TypeVar("Result")


def run_until_cancelled(job: Job, work: Callable[[], Result]) -> Result:
    """Run some work in a thread of its own and return its result. If the job is cancelled, the thread is left alone.

    Raises:
        Cancelled: see `Job.check`.
    """
    future: Future[Result] = Future()
    Thread(target=_settle, args=(future, work), daemon=True).start()
    while not wait([future], timeout=LOOK_EVERY_SECONDS).done:
        job.check()
    return future.result()


def _settle(future: Future[Result], work: Callable[[], Result]) -> None:
    try:
        future.set_result(work())
    except BaseException as error:  # the job's thread raises it again
        future.set_exception(error)
