"""What this process and all below it use, as the system counts it."""

import psutil


def cpu_seconds() -> float:
    """User and system time of all threads of the processes that are alive."""
    return sum(times.user + times.system for times in _of_each(psutil.Process.cpu_times))


def resident_bytes() -> int:
    """Memory that is in use; what several processes share counts once (PSS) where the system tells."""

    def of_one(process: psutil.Process) -> int:
        memory = process.memory_full_info()
        return getattr(memory, "pss", memory.uss)

    return sum(_of_each(of_one))


def _of_each(measure) -> list:
    process = psutil.Process()
    values = []
    for one in (process, *process.children(recursive=True)):
        try:
            values.append(measure(one))
        except (psutil.NoSuchProcess, psutil.ZombieProcess):  # it has just ended
            continue
    return values
