"""Preemption: a run that is asked to stop writes a checkpoint and ends, so that another can resume from it."""

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch import distributed

from videoctx.interrupts import restore_sigterm
from videoctx.tasks.lost_rank import is_started_by_rank

if not hasattr(signal, "SIGUSR1"):
    raise ImportError(
        "videoctx.tasks needs SIGUSR1, which Windows lacks; expected Linux, macOS or the Windows Subsystem for Linux"
    )

EXIT_STATUS = os.EX_TEMPFAIL  # 75: not done, try again
SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


class Preempted(SystemExit):
    """The end of a run that was asked to stop and has written its checkpoint."""


class Preemption(Callback):
    """Saves `preempted.ckpt` after SIGTERM or SIGUSR1, and ends every rank with the exit status 75.

    The signal may reach any one rank or all of them. The checkpoint is written beside the other checkpoints, after the
    current step. A signal during validation waits for the first step after it. In every step, the ranks ask each other
    over gloo, on the CPU, so nothing waits for a device, and a rank that is gone is noticed at once.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._saved = False
        self._ranks: distributed.ProcessGroup | None = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        self.received, self._saved = None, False
        group = distributed.new_group(backend="gloo") if trainer.world_size > 1 else None
        assert not isinstance(group, int)  # torch's mark of a process outside the group
        self._ranks = group

    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        self._listen()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        self._listen()
        # In every step, Lightning 2.6 broadcasts over the device whether rank zero has received SIGTERM, and every rank
        # waits for it (https://github.com/Lightning-AI/pytorch-lightning/issues/21487). `_any_received` replaces it.
        vars(trainer.fit_loop.epoch_loop)["_broadcast_sigterm_tensor"] = _no_broadcast

    def _listen(self) -> None:
        """Replace Lightning's handlers: its SIGTERM saves nothing, and its SIGUSR1 saves in the middle of a step."""
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:  # the Trainer restores the previous handlers
                signal.signal(number, self._receive)

    def _receive(self, number: int, frame: Any) -> None:  # noqa: ARG002
        self.received = signal.Signals(number)

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,  # noqa: ARG002
        outputs: Any,  # noqa: ARG002
        batch: Any,  # noqa: ARG002
        batch_idx: int,
    ) -> None:
        if (batch_idx + 1) % trainer.accumulate_grad_batches and not trainer.is_last_batch:
            return  # a checkpoint does not hold accumulated gradients
        if not self._any_received():
            return
        folder = getattr(trainer.checkpoint_callback, "dirpath", None) or trainer.default_root_dir
        checkpoint = Path(folder) / "preempted.ckpt"
        trainer.save_checkpoint(checkpoint, weights_only=False)
        if trainer.is_global_zero:
            cause = self.received.name if self.received else "another rank's signal"
            where = f"epoch {trainer.current_epoch}, step {trainer.global_step}"
            print(f"videoctx: stopped by {cause} in {where}; to resume: --ckpt_path {checkpoint}", file=sys.stderr)
        self._saved = True

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        self._end(trainer)

    def on_validation_start(self, trainer: Trainer, *_: Any) -> None:
        if trainer.state.fn == TrainerFn.VALIDATING:
            _end_at_once()
        self._end(trainer)

    def on_test_start(self, *_: Any) -> None:
        _end_at_once()

    def on_predict_start(self, *_: Any) -> None:
        _end_at_once()

    def on_train_epoch_end(self, trainer: Trainer, *_: Any) -> None:
        self._end(trainer)

    def _end(self, trainer: Trainer) -> None:
        """End in the first hook after the step, when its metrics have reached the loggers."""
        if self._saved:
            # Lightning kills the first rank of a machine when one that it has started fails, even if both are ending.
            raise Preempted(0 if is_started_by_rank(trainer) else EXIT_STATUS)

    def _any_received(self) -> bool:
        if self._ranks is None:
            return self.received is not None
        received = torch.tensor(self.received is not None, dtype=torch.uint8)
        distributed.all_reduce(received, op=distributed.ReduceOp.MAX, group=self._ranks)
        return bool(received)


def _no_broadcast() -> None:
    pass


def _end_at_once() -> None:
    """Let SIGTERM end the process where nothing is trained. Lightning's handler would end with status 0."""
    restore_sigterm()
