"""CPU time and memory of this process and its descendants, as the system counts them."""

import os
from collections.abc import Callable
from typing import TypeVar

import psutil

T = TypeVar("T")


def cpu_seconds() -> float:
    """Return the user and system time of all threads of the processes that are alive."""
    return sum(times.user + times.system for times in _of_each(psutil.Process.cpu_times))


def cpu_seconds_since(before: float) -> float:
    """Return the CPU time since `cpu_seconds` was `before`, but not less than a tick of the system's clock."""
    return max(cpu_seconds() - before, 1 / os.sysconf("SC_CLK_TCK"))


def resident_bytes() -> int:
    """Return the memory in use. Shared memory counts once (PSS) if the system reports it, else not at all."""

    def of_one(process: psutil.Process) -> int:
        memory = process.memory_full_info()
        return getattr(memory, "pss", memory.uss)

    return sum(_of_each(of_one))


def _of_each(measure: Callable[[psutil.Process], T]) -> list[T]:
    process = psutil.Process()
    values: list[T] = []
    for one in (process, *process.children(recursive=True)):
        try:
            values.append(measure(one))
        except (psutil.NoSuchProcess, psutil.ZombieProcess):  # it has ended in between
            continue
    return values
