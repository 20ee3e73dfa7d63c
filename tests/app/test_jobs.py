"""The queue of jobs: order, cancelling, errors, and its end."""

import threading
import time

import pytest
import torch

from videoctx.app import jobs
from videoctx.app.abandonable import run_until_cancelled
from videoctx.app.jobs import Job, JobQueue, QueueFullError
from videoctx.data.decoding.containers import VideoDecodeError


def wait_for(condition) -> None:
    ends = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.001)


@pytest.fixture
def queue():
    with JobQueue() as queue:
        yield queue


@pytest.fixture
def busy(queue):
    """A job that runs until it is cancelled or released."""
    released = threading.Event()

    def work(job: Job) -> str:
        while not released.is_set():
            job.check()
            time.sleep(0.001)
        return "released"

    job = queue.add(work)
    job.release = released.set
    wait_for(lambda: job.state == "running")
    return job


def test_jobs_run_one_after_another_in_their_order(queue, busy):
    order = []
    waiting = [queue.add(lambda _, number=number: order.append(number)) for number in range(3)]
    assert [queue.num_before(job) for job in waiting] == [1, 2, 3]
    busy.release()
    wait_for(lambda: all(job.is_over for job in waiting))
    assert order == [0, 1, 2]
    assert (busy.state, busy.result) == ("done", "released")


def test_a_job_that_waits_for_a_server_is_cancelled(queue):
    entered, release = threading.Event(), threading.Event()

    def slow() -> None:
        entered.set()
        release.wait(60)

    job, failing = (queue.add(lambda job, work=work: run_until_cancelled(job, work)) for work in (slow, lambda: 1 / 0))
    last = queue.add(lambda job: run_until_cancelled(job, lambda: 3))
    assert entered.wait(60)
    queue.cancel(job)
    wait_for(lambda: last.is_over)
    assert (job.state, failing.state, last.result) == ("cancelled", "failed", 3)
    release.set()


def test_a_waiting_and_a_running_job_can_be_cancelled(queue, busy):
    waiting, last = queue.add(lambda _: 1), queue.add(lambda _: 2)
    queue.cancel(waiting)
    assert waiting.state == "cancelled"
    queue.cancel(busy)
    wait_for(lambda: last.is_over)
    assert (busy.state, waiting.state, last.state, last.result) == ("cancelled", "cancelled", "done", 2)


def test_a_job_that_nobody_looks_at_is_cancelled(busy, monkeypatch):
    monkeypatch.setattr(jobs, "ABANDONED_SECONDS", 0.0)
    wait_for(lambda: busy.is_over)
    assert busy.state == "cancelled"


def test_the_jobs_of_a_closed_page_are_cancelled(queue):
    began = threading.Event()

    def work(job: Job) -> None:
        began.set()
        while True:
            job.check()
            time.sleep(0.001)

    running, waiting, other = queue.add(work, "page"), queue.add(lambda _: 1, "page"), queue.add(lambda _: 2, "other")
    assert began.wait(60)
    queue.close_page("page")
    wait_for(lambda: other.is_over)
    assert (running.state, waiting.state, other.result) == ("cancelled", "cancelled", 2)


def test_an_error_is_one_sentence_and_the_next_job_runs(queue, caplog):
    def fail(error: BaseException):
        def work(_: Job) -> None:
            raise error

        return work

    errors = {
        VideoDecodeError("a.mp4", "the file is empty"): "a.mp4: the file is empty",
        ValueError("two\nlines"): "two lines",
        FileNotFoundError(2, "No such file or directory", "b.mp4"): "b.mp4: No such file or directory",
        MemoryError(): "the memory is full; expected a smaller video or network",
        RuntimeError(
            "DefaultCPUAllocator: can't allocate memory"
        ): "the memory is full; expected a smaller video or network",
        torch.OutOfMemoryError("CUDA out of memory"): "the memory is full; expected a smaller video or network",
        KeyError("a fault of the server"): jobs.NOT_UNDERSTOOD,
    }
    for error, line in errors.items():
        job = queue.add(fail(error))
        wait_for(lambda job=job: job.is_over)
        assert (job.state, job.error) == ("failed", line)
    assert [record.message for record in caplog.records] == ["a request failed"]


def test_too_many_waiting_jobs_are_refused():
    with JobQueue(max_waiting=1) as queue:
        stop = threading.Event()
        first = queue.add(lambda _: stop.wait())
        wait_for(lambda: first.state == "running")
        queue.add(lambda _: 1)
        with pytest.raises(QueueFullError, match="1 requests are waiting; expected fewer than 1"):
            queue.add(lambda _: 2)
        stop.set()


def test_old_jobs_are_forgotten(queue, monkeypatch):
    monkeypatch.setattr(jobs, "KEPT_SECONDS", 0.0)
    first = queue.add(lambda _: bytes(1000))
    wait_for(lambda: first.is_over)
    time.sleep(0.001)
    queue.add(lambda _: 1)
    assert queue.find(first.id) is None


def test_closing_cancels_what_runs(busy, queue):
    queue.close()
    assert busy.state == "cancelled"
