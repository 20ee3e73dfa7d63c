"""TrainingLoss: the mean loss of all training clips since it was last reset, over all ranks."""

from typing import Any

import torch
from lightning.pytorch import Trainer
from torch import Tensor


class TrainingLoss:
    """A sum of losses on the device. Adding to it does not wait for the device; computing the mean does.

    Example:
        >>> loss = TrainingLoss()
        >>> loss.add(torch.tensor(1.0), num_clips=3)
        >>> loss.add(torch.tensor(2.0), num_clips=1)
        >>> loss.num_clips, float(loss.total)
        (4, 5.0)
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget what was added."""
        self.total: Tensor | None = None
        self.num_clips = 0

    def add(self, loss: Tensor, *, num_clips: int) -> None:
        """Add the mean loss of a batch."""
        if num_clips:
            total = loss.detach().double() * num_clips if loss.device.type == "cpu" else loss.detach() * num_clips
            self.total = total if self.total is None else self.total + total
            self.num_clips += num_clips

    def add_outputs(self, trainer: Trainer, outputs: Any, *, num_clips: int) -> None:
        """Add the loss of a training step, which Lightning has divided by the number of accumulated batches."""
        self.add(outputs["loss"] * trainer.accumulate_grad_batches, num_clips=num_clips)

    def mean(self, trainer: Trainer) -> float | None:
        """Return the mean over all clips of all ranks, each of which must call this. None: there were no clips."""
        total = 0.0 if self.total is None else float(self.total)
        sums = torch.tensor([total, float(self.num_clips)], device=trainer.strategy.root_device)
        loss, num_clips = trainer.strategy.reduce(sums, reduce_op="sum").tolist()
        return loss / num_clips if num_clips else None
