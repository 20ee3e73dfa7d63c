"""ChanceLevel: a training whose loss stays above chance level is reported, with what to try."""

import logging
import math
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor
from torch.nn import functional as F

from videoctx.batch import ClipBatch
from videoctx.tasks.training_loss import TrainingLoss

if TYPE_CHECKING:
    from videoctx.tasks.classifier import VideoClassifier

logger = logging.getLogger(__name__)

NUM_EPOCHS = 3  # above chance level after the warm-up, of which a network may need some to begin
NUM_LAST_EPOCHS = 2  # where the training ends before


class ChanceLevel(Callback):
    """Compares the loss of each epoch with that of equal probabilities for all classes, on the same targets.

    For K classes that is ln K, also with label smoothing, and ln 2 with several labels per video. Class weights change
    it, and so it follows from the labels of each step. Mixing the clips of a batch does not change it, as the mean of
    their targets stays the same. A network that learns anything at all is below it after
    the warm-up of its schedule. If `NUM_EPOCHS` whole epochs in a row are not, or the last two of a shorter training,
    a warning tells what to try, once.
    """

    def __init__(self, task: "VideoClassifier") -> None:
        self.task = task
        self._loss, self._chance = TrainingLoss(), TrainingLoss()
        self._weights: Tensor | None = None
        self._num_above = 0
        self._is_reported = False

    def on_train_start(self, *_: Any) -> None:
        self._num_above, self._is_reported = 0, False
        self.on_train_epoch_start()  # a run that is resumed within an epoch does not start one

    def on_train_epoch_start(self, *_: Any) -> None:
        self._loss.reset()
        self._chance.reset()
        weights: Tensor | None = getattr(self.task, "_class_weights", None)
        self._weights = None if weights is None else weights.cpu()

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: Any,  # noqa: ARG002
        outputs: Any,
        batch: ClipBatch,
        batch_idx: int,  # noqa: ARG002
    ) -> None:
        if not len(batch.clips):
            return
        chance = chance_loss(
            batch.clip_labels.cpu(),  # where they are
            len(self.task.class_names),
            label_smoothing=self.task.label_smoothing,
            class_weights=self._weights,
        )
        self._loss.add_outputs(trainer, outputs, num_clips=len(batch.clips))
        self._chance.add(chance, num_clips=len(batch.clips))

    def on_train_epoch_end(self, trainer: Trainer, *_: Any) -> None:
        warmup = math.ceil(getattr(self.task.schedule, "warmup_epochs", 0))
        if self._is_reported or trainer.current_epoch < warmup:
            return
        loss, chance = self._loss.mean(trainer), self._chance.mean(trainer)
        if loss is None or chance is None or loss < chance:
            self._num_above = 0
            self._is_reported = loss is not None  # it has learned something: nothing to report any more
            return
        self._num_above += 1
        epochs = trainer.max_epochs
        is_last = trainer.should_stop or (epochs is not None and trainer.current_epoch + 1 == epochs)
        if self._num_above >= (NUM_LAST_EPOCHS if is_last else NUM_EPOCHS):
            self._is_reported = True
            if trainer.is_global_zero:
                logger.warning("%s", self._line(trainer, loss, chance, after_warmup=bool(warmup)))

    def _line(self, trainer: Trainer, loss: float, chance: float, *, after_warmup: bool) -> str:
        groups = [group for optimizer in trainer.optimizers for group in optimizer.param_groups]
        rate = max((group.get("initial_lr", group["lr"]) for group in groups), default=0.0)  # before the schedule
        since = " after the warm-up" if after_warmup else ""
        return (
            f"the training loss, {loss:.3f}, has not been below chance level, {chance:.3f}, in {self._num_above} epochs"
            f"{since}: the network learns nothing. Try a learning rate of {rate / 10:.2g} instead of {rate:.2g}"
            " (model.optimizer), a longer warm-up (model.schedule), more clips per step (data.batch_size,"
            " trainer.accumulate_grad_batches), videoctx.tasks.FrozenBatchNorm if there are few, and look at the labels"
            " (python -m data_prep.summarize)"
        )


def chance_loss(
    labels: Tensor, num_classes: int, *, label_smoothing: float = 0.0, class_weights: Tensor | None = None
) -> Tensor:
    """Return the loss of equal probabilities for all classes; with several labels per video, of 1/2 for each.

    No label is read.

    Args:
        labels: (S,) class indices or (S, K) bool.
        num_classes: K.
        label_smoothing: As of the task.
        class_weights: (K,) or None. The loss is the sum of weighted losses over the number of clips.

    >>> round(float(chance_loss(torch.tensor([0, 1, 2]), 8)), 3)  # ln 8
    2.079
    """
    if labels.ndim == 2:
        targets = labels.float() * (1 - label_smoothing) + label_smoothing / 2
        return F.binary_cross_entropy_with_logits(torch.zeros_like(targets), targets, pos_weight=class_weights)
    if class_weights is None:
        return torch.tensor(math.log(num_classes))
    weights = class_weights[labels] * (1 - label_smoothing) + class_weights.mean() * label_smoothing
    return weights.mean() * math.log(num_classes)
