"""Where a rank dies the others end too, and say in one line which it was."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.plugins.environments import LightningEnvironment
from torch.distributed import DistError

SECONDS_TO_LEARN = 3.0  # until a process that closed its connections has an exit status
SECONDS_TO_END = 20.0  # until a rank whose starter is gone, and which perhaps waits for a device for ever, is ended
EXIT_STATUS = 2

# What gloo says, and NCCL, of a connection whose other end is gone.
SIGNS = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "remote process exited")


def is_lost_connection(error: BaseException) -> bool:
    return isinstance(error, DistError) or (
        isinstance(error, RuntimeError) and any(sign in str(error) for sign in SIGNS)
    )


class LostRank(Callback):
    """Says on every rank that is left which one is gone, and sees to it that no rank waits for one that is.

    Which one it was is known where Lightning started the ranks of a machine. `torchrun` and `srun` name it themselves,
    and end the others.
    """

    def __init__(self) -> None:
        self._starter: int | None = None  # the process that started this one, where that is a rank too

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:  # noqa: ARG002
        if is_started_by_rank(trainer) and self._starter is None:
            self._starter = os.getppid()
            threading.Thread(target=_end_with, args=[self._starter], daemon=True, name="starter-watch").start()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:  # noqa: ARG002
        if is_lost_connection(exception):
            _say(f"rank {trainer.global_rank} ends: {self._who(trainer)} is gone")

    def _who(self, trainer: Trainer) -> str:
        if self._starter and _within(SECONDS_TO_LEARN, lambda: os.getppid() != self._starter):
            return f"rank {trainer.global_rank - trainer.local_rank}, which started this one,"
        started = getattr(trainer.strategy.launcher, "procs", [])
        _within(SECONDS_TO_LEARN if started else 0, lambda: any(process.poll() for process in started))
        for local_rank, process in enumerate(started, start=1):
            if process.returncode:
                ending = _ending(process.returncode)
                return f"rank {trainer.global_rank + local_rank} (process {process.pid}, {ending})"
        return "another rank, which says why or whose launcher does,"


def is_started_by_rank(trainer: Trainer) -> bool:
    """Whether the first rank of this machine has started this process."""
    return trainer.local_rank > 0 and isinstance(trainer.strategy.cluster_environment, LightningEnvironment)


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
    time.sleep(SECONDS_TO_END)  # a connection that is found closed ends it in order
    _say("this rank ends: the one that started it is gone")
    os._exit(EXIT_STATUS)


def _say(line: str) -> None:
    print(f"videoctx: {line}", file=sys.stderr, flush=True)
