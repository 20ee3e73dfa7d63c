"""Throughput: how fast training and testing are, and whether they wait for videos."""

import time
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from videoctx.batch import ClipBatch
from videoctx.evaluation.report.training_curves import CLIPS_PER_SECOND, DATA_WAIT_FRACTION


class Throughput(Callback):
    """Logs `train/clips_per_second` and `train/data_wait_fraction` in the steps that are logged.

    The first is over all ranks. The second is the share of the time in which rank zero waited for decoded videos. Both
    are measured since they were last logged, without validation and the time between epochs.

    Nothing here waits for the device. The clock is that of the host, which may be some steps ahead; over many steps
    this makes no difference. (Lightning's `ThroughputMonitor` synchronizes with the device in every step.)

    The waiting time is the `seconds_waited` of the loader. A loader without it counts as always ready.

    A test logs `test/views_per_second` and `test/data_wait_fraction` of rank zero when it ends. The first batch is left
    out, as it starts the decoding processes. A test of one batch logs neither.
    """

    def on_train_start(self, trainer: Trainer, *_: Any) -> None:
        self._begin()
        self._mark = _clocks(trainer)  # a run that is resumed within an epoch does not start one

    def on_train_epoch_start(self, trainer: Trainer, *_: Any) -> None:
        self._mark = _clocks(trainer)

    def on_validation_end(self, trainer: Trainer, *_: Any) -> None:
        self._mark = _clocks(trainer)

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,  # noqa: ARG002
        batch: ClipBatch,
        batch_idx: int,
    ) -> None:
        before, self._mark = self._mark, _clocks(trainer)
        self._seconds += self._mark[0] - before[0]
        self._seconds_waited += self._mark[1] - before[1]
        self._num_clips += len(batch.clips)
        if (batch_idx + 1) % trainer.accumulate_grad_batches and not trainer.is_last_batch:
            return
        interval: int = trainer.log_every_n_steps  # type: ignore[attr-defined]  # a connector of Lightning's sets it
        if not interval or trainer.global_step % interval:
            return
        logged = {
            CLIPS_PER_SECOND: self._num_clips * trainer.world_size / self._seconds,
            DATA_WAIT_FRACTION: self._seconds_waited / self._seconds,
        }
        # Tensors on the host: numbers would be copied to the device.
        pl_module.log_dict({name: torch.tensor(value) for name, value in logged.items()}, batch_size=1)
        self._begin()

    def on_test_start(self, *_: Any) -> None:
        self._tested: list[tuple[float, float]] = []
        self._num_views = 0

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,  # noqa: ARG002
        outputs: Any,  # noqa: ARG002
        batch: ClipBatch,
        batch_idx: int,  # noqa: ARG002
        dataloader_idx: int = 0,  # noqa: ARG002
    ) -> None:
        if self._tested:
            self._num_views += len(batch.clips)
        # The scores are on the host already: `ScoreFiles` has written them.
        self._tested = [*self._tested[:1], _clocks_of(trainer.test_dataloaders)]

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        if len(self._tested) < 2:
            return
        (start, waited_before), (end, waited) = self._tested
        rates = {
            "test/views_per_second": self._num_views / (end - start),
            "test/data_wait_fraction": (waited - waited_before) / (end - start),
        }
        pl_module.log_dict({name: torch.tensor(value) for name, value in rates.items()}, batch_size=1)

    def _begin(self) -> None:
        self._seconds = self._seconds_waited = 0.0
        self._num_clips = 0


def _clocks(trainer: Trainer) -> tuple[float, float]:
    """Return the time now, and the time that the training loader was waited for so far, in seconds."""
    return _clocks_of(trainer.train_dataloader)


def _clocks_of(loader: Any) -> tuple[float, float]:
    return time.perf_counter(), getattr(loader, "seconds_waited", 0.0)
