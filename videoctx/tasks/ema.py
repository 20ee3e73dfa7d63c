"""EMA: an exponential moving average of the weights, evaluated and saved in their place."""

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint, WeightAveraging
from lightning.pytorch.trainer.states import TrainerFn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class EMA(WeightAveraging):
    """average = decay · average + (1 - decay) · weights, and the same for the statistics of BatchNorm.

    Validation evaluates the average, and the `state_dict` of a checkpoint is the average. The trained weights are saved
    beside it, so a resumed run continues as if it had not been stopped.

    Differs from Lightning's `EMAWeightAveraging`: the average is on the training device instead of the CPU, and all
    weights are updated in one call.

    Args:
        decay: Close to 1; the average is over about 1 / (1 - decay) updates.
        every_n_steps: Steps of the optimizer from one update to the next.

    Raises:
        ValueError: An argument is out of range, or a `ModelCheckpoint` of the run saves weights alone: Lightning would
            then save the trained weights instead of their average.

    Example:
        >>> callback = EMA(decay=0.999, every_n_steps=10)
    """

    def __init__(self, *, decay: float = 0.9999, every_n_steps: int = 1) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"decay is {decay}; expected 0 to less than 1")
        if every_n_steps < 1:
            raise ValueError(f"every_n_steps is {every_n_steps}; expected 1 or more")
        super().__init__(multi_avg_fn=get_ema_multi_avg_fn(decay))
        self.every_n_steps = every_n_steps

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, ModelCheckpoint) and callback.save_weights_only:
                raise ValueError(
                    "save_weights_only is true in a ModelCheckpoint beside EMA, which would save the trained weights"
                    " instead of their average; expected save_weights_only false"
                )
        self._device = trainer.strategy.root_device
        super().setup(trainer, pl_module, stage)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the average with the weights that training starts with: they were loaded after it was made."""
        if self._average_model is not None and not trainer.ckpt_path:
            self._average_model.module.load_state_dict(pl_module.state_dict())

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:  # noqa: ARG002
        return step_idx is not None and (step_idx + 1) % self.every_n_steps == 0

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if trainer.state.fn == TrainerFn.FITTING:  # in evaluation, `state_dict` is the average already
            super().on_load_checkpoint(trainer, pl_module, checkpoint)
