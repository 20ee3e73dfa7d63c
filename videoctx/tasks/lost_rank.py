"""LostRank: when a rank dies, the others end too, and report in one line which rank it was."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.plugins.environments import LightningEnvironment
from torch.distributed import DistError

from videoctx.atomic_write import exit_at_once

SECONDS_TO_LEARN = 3.0  # until a process that has closed its connections has an exit status
SECONDS_TO_END = 20.0  # until a rank is ended whose starter is gone; it may wait for a device forever
EXIT_STATUS = 2

# Parts of the messages of gloo and NCCL about a connection whose other end is gone.
MESSAGES = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "remote process exited")


def is_lost_connection(error: BaseException) -> bool:
    """Return whether an exception of torch is about a rank that is gone."""
    return isinstance(error, DistError) or (
        isinstance(error, RuntimeError) and any(message in str(error) for message in MESSAGES)
    )


class LostRank(Callback):
    """Reports the lost rank on every rank that is left, and ends ranks that would wait for it.

    The lost rank is known where Lightning started the ranks of a machine. `torchrun` and `srun` name it themselves, and
    end the others.
    """

    def __init__(self) -> None:
        self._starter: int | None = None  # the process that started this one, if that is a rank, too

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:  # noqa: ARG002
        if is_started_by_rank(trainer) and self._starter is None:
            self._starter = os.getppid()
            threading.Thread(target=_end_with, args=[self._starter], daemon=True, name="starter-watch").start()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:  # noqa: ARG002
        if is_lost_connection(exception):
            _report(f"rank {trainer.global_rank} ends: {self._lost(trainer)} is gone")

    def _lost(self, trainer: Trainer) -> str:
        if self._starter and _within(SECONDS_TO_LEARN, lambda: os.getppid() != self._starter):
            return f"rank {trainer.global_rank - trainer.local_rank}, which started this one,"
        started = getattr(trainer.strategy.launcher, "procs", [])
        _within(SECONDS_TO_LEARN if started else 0, lambda: any(process.poll() for process in started))
        for local_rank, process in enumerate(started, start=1):
            if process.returncode:
                ending = _ending(process.returncode)
                return f"rank {trainer.global_rank + local_rank} (process {process.pid}, {ending})"
        return "another rank, which or whose launcher reports why,"


def is_started_by_rank(trainer: Trainer) -> bool:
    """Return whether the first rank of this machine has started this process."""
    return trainer.local_rank > 0 and isinstance(
        getattr(trainer.strategy, "cluster_environment", None), LightningEnvironment
    )


def _ending(returncode: int) -> str:
    if returncode > 0:
        return f"exit status {returncode}"
    return signal.Signals(-returncode).name + (": perhaps out of memory" if returncode == -signal.SIGKILL else "")


def _within(seconds: float, happens: Callable[[], bool]) -> bool:
    end = time.monotonic() + seconds
    while not (happened := happens()) and time.monotonic() < end:
        time.sleep(0.05)
    return happened


def _end_with(starter: int) -> None:
    while os.getppid() == starter:
        time.sleep(1)
    time.sleep(SECONDS_TO_END)  # the closed connection may end it in the usual way
    _report("this rank ends: the one that started it is gone")
    exit_at_once(EXIT_STATUS)


def _report(line: str) -> None:
    print(f"videoctx: {line}", file=sys.stderr, flush=True)
