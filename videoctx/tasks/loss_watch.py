"""LossWatch: shows the loss, and ends a run whose loss or weights are no longer finite."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from videoctx.models.finite_weights import not_finite

REMEDY = "expected a lower learning rate, a longer warm-up, trainer.gradient_clip_val, or precision bf16-mixed"


class NonFiniteError(ValueError):
    """Training has diverged. The message names the step, and what helps."""


class LossWatch(Callback):
    """Reads the loss in the steps that are logged and at the end of an epoch, and checks the weights before saving.

    Reading a number waits for the device, so it is not done in every step. It need not be: after a loss that is not
    finite, the weights and every later loss are not finite either. A checkpoint of such weights is not written, so the
    previous checkpoint holds finite weights.

    Raises:
        NonFiniteError: The loss, a weight or a statistic of BatchNorm is not finite.
    """

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,  # noqa: ARG002
        batch_idx: int,
    ) -> None:
        interval: int = trainer.log_every_n_steps  # type: ignore[attr-defined]  # a connector of Lightning's sets it
        if (batch_idx + 1) % max(interval, 1) and not trainer.is_last_batch:
            return
        loss = outputs["loss"].detach().cpu()
        pl_module.log("loss", loss, prog_bar=True, logger=False, batch_size=1)
        if not trainer.strategy.reduce_boolean_decision(bool(loss.isfinite()), all=True):
            value = f"the loss is {loss:g}" if not loss.isfinite() else "another rank's loss is not finite"
            raise NonFiniteError(f"{value} in epoch {trainer.current_epoch}, batch {batch_idx}; {REMEDY}")

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:  # noqa: ARG002
        bad = not_finite(pl_module)
        if bad:
            raise NonFiniteError(
                f"{len(bad)} weights, such as {bad[0]}, are not finite in epoch {trainer.current_epoch};"
                f" no checkpoint of them is written; {REMEDY}"
            )
