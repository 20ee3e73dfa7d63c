"""Run one function on many items, in processes of this machine or on a Dask cluster.

def inspect(path: str) -> ProbeResult: ...  # at the top level of a module, so that other processes can import it

for path, outcome in run_each(inspect, paths, scheduler=scheduler, description="Inspecting"):
    if isinstance(outcome, Failure):
        ...  # outcome.reason is the reason in one line
    else:
        ...  # what inspect(path) returned
"""

import traceback
from collections import deque
from collections.abc import Callable, Collection, Generator
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

from data_prep.command_line.setting_error import check_at_least
from videoctx.user_error import UserError, error_line

MOST_DEATHS_AT_START = 10  # worker processes that may die before any of them has finished an item

Item = TypeVar("Item")
Result = TypeVar("Result")


class SchedulerError(UserError):
    """The work cannot be run at all; the message gives the reason and the remedy in one line."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an item has no result."""

    reason: str  # one line
    details: str = ""  # the traceback, if the function raised an exception


class Workers(Protocol):
    """Processes that run functions."""

    @property
    def max_in_flight(self) -> int:
        """How many items they should be given at the same time."""

    @property
    def worker_deaths(self) -> tuple[type[Exception], ...]:
        """What a future raises if its worker died."""

    def submit(self, function: Callable[[], Result], /) -> "Future[Result]":
        """Run the function in a process."""


def run_each(
    function: Callable[[Item], Result],
    items: Collection[Item],
    *,
    description: str,
    workers: int | None = None,
    scheduler: str | None = None,
) -> Generator[tuple[Item, Result | Failure], None, None]:
    """Call `function(item)` for every item in other processes; yield each item and its result as it is completed.

    If the function raises an exception, the item's result is a `Failure`. If a worker process dies, its item is tried
    once more while nothing else runs, and is a `Failure` if a worker dies again. Other items are not affected. A
    progress bar is shown on the error stream.

    `function` may be called twice for the same item, even at the same time, because the item of a dead worker is tried
    again and a cluster may run a task twice. Its files must therefore be written atomically.

    After Ctrl-C, or when the caller stops iterating, the local processes and the programs that they started are killed.
    Tasks that a cluster has begun run to their end there.

    Args:
        function: importable by its name, or a `functools.partial` of such a function.
        items: tried in this order. Items and results travel between processes, so they should be small.
        description: shown before the progress bar.
        workers: processes on this machine. None: one per core. Ignored with a scheduler.
        scheduler: address of a Dask scheduler, such as `tcp://10.0.0.1:8786`.

    Raises:
        SchedulerError: no scheduler or no worker at the address, Dask is not installed, or no worker can start.
        SettingError: `workers` is less than one.
    """
    from data_prep.command_line.progress_bars import items_progress

    waiting, suspects = deque(items), deque[Item]()
    in_flight: dict[Future[Result | Failure], Item] = {}
    num_done, num_deaths = 0, 0
    with _workers(workers, scheduler, len(items)) as pool, items_progress() as progress:
        bar = progress.add_task(description, total=len(items))
        while waiting or in_flight or suspects:
            while waiting and len(in_flight) < pool.max_in_flight:
                item = waiting.popleft()
                in_flight[pool.submit(partial(_attempt, function, item))] = item
            alone = not in_flight
            if alone:
                item = suspects.popleft()
                in_flight[pool.submit(partial(_attempt, function, item))] = item
            for future in wait(in_flight, return_when=FIRST_COMPLETED).done:
                item = in_flight.pop(future)
                outcome: Result | Failure
                try:
                    outcome = future.result()
                except pool.worker_deaths:
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
                        f"{scheduler}: the scheduler is gone; finished items are kept, run again"
                    ) from None
                except Exception as error:  # the item or its result cannot be sent or cannot be loaded
                    outcome = _failure(error)
                num_done += 1
                progress.advance(bar)
                yield item, outcome


def _workers(workers: int | None, scheduler: str | None, num_items: int) -> AbstractContextManager[Workers]:
    if scheduler is not None:
        from data_prep.scheduling.dask_cluster import dask_cluster

        return dask_cluster(scheduler)
    from data_prep.scheduling.local_processes import LocalProcesses, num_cores

    workers = num_cores() if workers is None else workers
    check_at_least(1, workers=workers)
    return LocalProcesses(max(1, min(workers, num_items)))


def _attempt(function: Callable[[Item], Result], item: Item) -> Result | Failure:
    """Call the function in a worker. An exception becomes text here, because not every exception can be pickled."""
    try:
        return function(item)
    except Exception as error:
        return _failure(error)


def _failure(error: Exception) -> Failure:
    text = error_line(error)
    if not isinstance(error, (OSError, ValueError, RuntimeError)):  # the text of others means little without the type
        text = f"{type(error).__name__}: {text}"
    return Failure(text or type(error).__name__, "".join(traceback.format_exception(error)))
