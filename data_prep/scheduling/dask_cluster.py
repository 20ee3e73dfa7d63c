"""Workers of a Dask cluster (https://distributed.dask.org).

The workers must have this package installed and see the same files under the same paths.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from data_prep.scheduling.run_each import SchedulerError

CONNECT_SECONDS = 60  # to reach the scheduler, and to wait for a first worker
TASKS_PER_THREAD = 4  # in flight: some wait at the scheduler, so that no thread waits for the network

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class DaskWorkers:
    """The `Workers` of a cluster."""

    executor: Executor
    max_in_flight: int
    worker_deaths: tuple[type[Exception], ...]

    def submit(self, function: Callable[[], Result], /) -> "Future[Result]":
        return self.executor.submit(function)


@contextmanager
def dask_cluster(scheduler: str) -> Iterator[DaskWorkers]:
    """Connect to a Dask scheduler.

    Args:
        scheduler: its address, such as `tcp://10.0.0.1:8786`.

    Raises:
        SchedulerError: Dask is not installed, or no scheduler or no worker at the address.
    """
    try:
        from distributed import Client
        from distributed.scheduler import KilledWorker
    except ImportError as error:
        raise SchedulerError(
            f"--scheduler {scheduler}: Dask's distributed is not installed; expected pip install 'videoctx[cluster]'"
            " here and on every worker"
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
            # Dask retries a task on other workers. After some deaths it gives up, including on tasks that only waited
            # on the worker that died.
            yield DaskWorkers(executor, TASKS_PER_THREAD * max(1, sum(client.nthreads().values())), (KilledWorker,))
        finally:
            executor.shutdown(wait=False)
