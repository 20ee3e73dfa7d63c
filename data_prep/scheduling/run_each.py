"""Many items, one function, all cores or a cluster: how every preparation step runs its work.

    def inspect(path: str) -> ProbeResult: ...            # at the top level of a module, so that other processes find it

    for path, outcome in run_each(inspect, paths, scheduler=scheduler, description="Inspecting"):
        if isinstance(outcome, Failure):
            ...                                        # outcome.reason says why, in one line
        else:
            ...                                        # what inspect(path) returned

Here each worker is a process with a pool of its own (`concurrent.futures.ProcessPoolExecutor` of one), so one that dies
takes nothing along but the item it was working on. With a scheduler the same tasks go to a Dask cluster
(https://distributed.dask.org), whose executor has the same interface; its workers must have this package installed and
see the same files under the same paths.

Start a step's `main` under the module's own name, as a cluster has another `__main__`:

    if __name__ == "__main__":
        from data_prep.inspect_videos.__main__ import main

        sys.exit(main())
"""

import os
import signal
import threading
import traceback
from collections import deque
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    wait,
)
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

CONNECT_SECONDS = 60  # to reach the scheduler, and for a first worker to be there
TASKS_PER_THREAD = 4  # in flight on a cluster: some wait at the scheduler, so that no thread waits for the network
MOST_DEATHS_AT_START = 10  # of workers before any has finished an item: then none ever will

Item = TypeVar("Item")
Result = TypeVar("Result")


class SchedulerError(RuntimeError):
    """The work cannot be run at all; the message says why and what would help, in one line."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an item has no result."""

    reason: str  # one line
    details: str = ""  # the traceback, where the function raised


def run_each(
    function: Callable[[Item], Result],
    items: Collection[Item],
    *,
    description: str,
    workers: int | None = None,
    scheduler: str | None = None,
) -> Iterator[tuple[Item, Result | Failure]]:
    """Call `function(item)` for every item in other processes; yield the item and what came of it, as it comes.

    An item for which the function raises gets a `Failure`, and so does one on which a worker process died twice, the
    second time with nothing else running; the others go on. Few items are in flight at any time, however many there
    are. A progress bar on the error stream shows how many are done, how many a second, and the time left.

    As a dead worker's item is tried again, and a cluster may run a task twice, `function` must bear being called twice
    for the same item, even at once: what it writes takes its name when it is whole.

    On Ctrl-C, and when the caller stops iterating, the processes here end at once, with all that they have started
    themselves; tasks that a cluster has begun run to their end there.

    Args:
        function: Importable by name, or a `functools.partial` of one that is.
        items: Tried in this order. Items and results travel between processes: keep them small.
        description: Stands before the progress bar.
        workers: Processes on this machine; by default one a core. Does not count with a scheduler.
        scheduler: Address of a Dask scheduler, such as `tcp://10.0.0.1:8786`.

    Raises:
        SchedulerError: no scheduler or no worker at the address, Dask is not installed, or no worker can start.
        ValueError: `workers` is less than one.
    """
    waiting, suspects = deque(items), deque()
    in_flight: dict[Future, Item] = {}
    num_done, num_deaths = 0, 0
    with _executor(workers, scheduler) as (executor, most_in_flight, worker_death), _progress() as progress:
        bar = progress.add_task(description, total=len(waiting))
        while waiting or in_flight or suspects:
            while waiting and len(in_flight) < most_in_flight:
                item = waiting.popleft()
                in_flight[executor.submit(_attempt, function, item)] = item
            alone = not in_flight
            if alone:
                item = suspects.popleft()
                in_flight[executor.submit(_attempt, function, item)] = item
            for future in wait(in_flight, return_when=FIRST_COMPLETED).done:
                item = in_flight.pop(future)
                try:
                    outcome = future.result()
                except worker_death:
                    num_deaths += 1
                    if num_deaths >= MOST_DEATHS_AT_START and not num_done:
                        raise SchedulerError(
                            f"{num_deaths} worker processes died and none finished an item; expected enough memory"
                            " and libraries that can be loaded"
                        ) from None
                    if not alone:
                        suspects.append(item)
                        continue
                    outcome = Failure("its worker process died twice: a crash in a library, or no memory left")
                except CancelledError:
                    raise SchedulerError(
                        f"{scheduler}: the scheduler is gone; what is done is kept, run again"
                    ) from None
                except Exception as error:  # of the cluster: it cannot be sent, or not be loaded there
                    outcome = _failure(error)
                num_done += 1
                progress.advance(bar)
                yield item, outcome


def num_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _executor(workers: int | None, scheduler: str | None) -> Iterator[tuple[Executor, int, type[Exception]]]:
    """What runs the tasks, how many it should be given at once, and what it raises for one whose worker died.

    It is stopped at once on leaving.
    """
    if scheduler is not None:
        with _cluster(scheduler) as cluster:
            yield cluster
        return
    if workers is None:
        workers = num_cores()
    if workers < 1:
        raise ValueError(f"workers is {workers}; expected at least 1")
    executor = _Processes()
    try:
        yield executor, workers, BrokenExecutor
    finally:
        executor.shutdown()


@contextmanager
def _cluster(scheduler: str) -> Iterator[tuple[Executor, int, type[Exception]]]:
    try:
        from distributed import Client
        from distributed.scheduler import KilledWorker
    except ImportError as error:
        raise SchedulerError(
            f"--scheduler {scheduler} needs Dask: pip install 'videoctx[cluster]' here and on every worker"
        ) from error
    try:
        client = Client(scheduler, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise SchedulerError(
            f"--scheduler {scheduler}: {error}; expected tcp://HOST:PORT of a Dask scheduler"
        ) from error
    with client:
        try:
            client.wait_for_workers(1, timeout=CONNECT_SECONDS)
        except TimeoutError as error:
            raise SchedulerError(f"--scheduler {scheduler}: no worker there within {CONNECT_SECONDS} s") from error
        executor = client.get_executor(pure=False)  # two equal items are two tasks
        try:
            # Dask tries a task again on other workers. After some deaths it gives up, also on tasks that only waited
            # where the culprit ran.
            yield executor, TASKS_PER_THREAD * max(1, sum(client.nthreads().values())), KilledWorker
        finally:
            executor.shutdown(wait=False)


class _Processes(Executor):
    """A process for every task in flight, used again for the next one.

    A pool of several processes is broken as a whole when one of them dies; here each has a pool of its own. Each also
    holds one end of a pipe, its lifeline, and leaves when the other end is closed: on purpose, or because this process
    has died.
    """

    def __init__(self) -> None:
        self._context = get_context("spawn")  # a fork would copy threads' locks and decoders' state
        self._lifelines: dict[ProcessPoolExecutor, tuple[Connection, Connection]] = {}
        self._idle: list[ProcessPoolExecutor] = []
        self._busy: dict[Future, ProcessPoolExecutor] = {}

    def submit(self, function: Callable, /, *args: object, **kwargs: object) -> Future:
        for future in [future for future in self._busy if future.done()]:
            self._idle.append(self._busy.pop(future))
        while True:
            pool = self._idle.pop() if self._idle else self._start()
            try:
                future = pool.submit(function, *args, **kwargs)
            except BrokenExecutor:  # its process has died: with its last task, or since
                self._cut_lifeline(pool)
                continue
            self._busy[future] = pool
            return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002 - as all executors
        """End every process, at work or not."""
        pools = list(self._lifelines)
        for pool in pools:
            self._cut_lifeline(pool)
        for pool in pools:
            pool.shutdown(wait, cancel_futures=True)

    def _start(self) -> ProcessPoolExecutor:
        lifeline = self._context.Pipe(duplex=False)
        pool = ProcessPoolExecutor(1, self._context, initializer=_hold_lifeline, initargs=lifeline[:1])
        self._lifelines[pool] = lifeline
        return pool

    def _cut_lifeline(self, pool: ProcessPoolExecutor) -> None:
        for end in self._lifelines.pop(pool):
            end.close()


def _hold_lifeline(lifeline: Connection) -> None:
    """In a worker: leave, with the programs started here, as soon as the other end of the pipe is closed."""
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)  # a group of its own: a Ctrl-C at the terminal is for the main process alone

    def leave_with_it() -> None:
        try:
            lifeline.recv()
        except (EOFError, OSError):
            if hasattr(os, "killpg"):
                os.killpg(0, signal.SIGKILL)
            os._exit(1)

    threading.Thread(target=leave_with_it, daemon=True).start()


def _attempt(function: Callable[[Item], Result], item: Item) -> Result | Failure:
    """In a worker. An exception becomes text here: not every one survives the way to another process."""
    try:
        return function(item)
    except Exception as error:
        return _failure(error)


def _failure(error: Exception) -> Failure:
    text = " ".join(str(error).split())
    if not isinstance(error, (OSError, ValueError, RuntimeError)):  # the others' texts say little without their names
        text = f"{type(error).__name__}: {text}"
    return Failure(text or type(error).__name__, "".join(traceback.format_exception(error)))


@contextmanager
def _progress() -> Iterator[Progress]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _RateColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield progress


class _RateColumn(ProgressColumn):
    """Items a second."""

    def render(self, task: Task) -> Text:
        rate = task.completed / task.elapsed if task.elapsed else 0.0
        return Text(f"{rate:.1f}/s" if rate < 100 else f"{rate:.0f}/s")
