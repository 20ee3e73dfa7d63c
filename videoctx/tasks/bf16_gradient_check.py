"""Bf16GradientCheck: training in bfloat16 on a CPU stops where torch would compute incorrect gradients."""

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from videoctx.batch import ClipBatch
from videoctx.models.bf16_gradients import watch_bf16_gradients

if TYPE_CHECKING:
    from videoctx.tasks.classifier import VideoClassifier


class Bf16GradientCheck(Callback):
    """Watches the network while the first clips of a run pass through it (`videoctx.models.bf16_gradients`).

    Raises:
        ValueError: A convolution would get an incorrect gradient. No step of the optimizer has been made.
    """

    def __init__(self, task: "VideoClassifier") -> None:
        self.task = task
        self._is_pending = False
        self._watch = ExitStack()
        self._found: list[str] | None = None  # names of the convolutions, while the first clips pass
        self._clip_len = 0

    def on_train_start(self, trainer: Trainer, *_: Any) -> None:
        self._is_pending = self.task.device.type == "cpu" and "bf16" in str(trainer.precision)

    def on_train_batch_start(
        self,
        trainer: Trainer,  # noqa: ARG002
        pl_module: LightningModule,  # noqa: ARG002
        batch: ClipBatch,
        batch_idx: int,  # noqa: ARG002
    ) -> None:
        if self._is_pending and len(batch.clips):
            self._is_pending = False
            self._clip_len = batch.clips[:1].shape[2]
            self._watch.enter_context(torch.compiler.set_stance("force_eager"))  # hooks would be compiled with the rest
            self._found = self._watch.enter_context(watch_bf16_gradients(self.task.net))

    def on_before_backward(self, trainer: Trainer, *_: Any) -> None:
        if self._found is None:
            return
        self._watch.close()
        found, self._found = self._found, None
        if found:
            raise ValueError(
                f"trainer.precision is {trainer.precision}, in which torch on a CPU computes incorrect gradients of"
                f" {len(found)} convolutions with clips of {self._clip_len} frames ({found[0]}, …); expected"
                " 32-true, or longer clips (data.clips.clip_len)"
            )

    def on_exception(self, *_: Any) -> None:
        self._watch.close()
