"""The linear scaling rule: a step of k times as many clips takes a learning rate k times as high.

Goyal et al.: "Accurate, Large Minibatch SGD" (arXiv 1706.02677), section 2.1.
"""

from typing import NamedTuple

from torch.optim import Optimizer


class StepSize(NamedTuple):
    """How many clips one step of the optimizer is of."""

    num_devices: int  # on all nodes
    clips_per_device: int  # in one batch
    num_accumulated: int = 1  # batches whose gradients make a step

    @property
    def num_clips(self) -> int:
        return self.num_devices * self.clips_per_device * self.num_accumulated

    def __str__(self) -> str:
        devices = "1 device" if self.num_devices == 1 else f"{self.num_devices} devices"
        accumulated = f" × {self.num_accumulated} accumulated batches" if self.num_accumulated > 1 else ""
        return f"{self.num_clips} ({devices} × {self.clips_per_device} clips{accumulated})"


def scale_learning_rates(optimizer: Optimizer, step: StepSize, *, lr_batch_size: int) -> str:
    """Scale the learning rate of every group from a recipe's clips a step to those of this run.

    Args:
        lr_batch_size: clips of a step that the optimizer's learning rate was chosen for.

    Returns:
        One line that says what has become of the first group's.
    """
    before = optimizer.param_groups[0]["lr"]
    for group in optimizer.param_groups:
        group["lr"] *= step.num_clips / lr_batch_size
    after = optimizer.param_groups[0]["lr"]
    return f"learning rate {before:g} for {lr_batch_size} clips a step → {after:g} for {step}"
