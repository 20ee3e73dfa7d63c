"""ShortEpochs: a training whose epochs are shorter than the logging interval logs once per epoch."""

import math

from lightning.pytorch import Callback, LightningModule, Trainer


class ShortEpochs(Callback):
    """Lowers the Trainer's `log_every_n_steps` to the steps of an epoch. A small data set would have no curve else."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        interval: int = trainer.log_every_n_steps  # type: ignore[attr-defined]  # a connector of Lightning's sets it
        if not math.isfinite(trainer.num_training_batches):
            return
        steps = math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches)
        trainer.log_every_n_steps = min(interval, max(steps, 1))  # type: ignore[attr-defined]
