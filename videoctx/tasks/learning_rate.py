"""The learning rate of a run: scaled to the clips of its steps, and scheduled over their number.

The linear scaling rule is that a step of k times as many clips takes a learning rate k times as high.
Goyal et al.: "Accurate, Large Minibatch SGD" (arXiv 1706.02677), section 2.1.
"""

import math
from typing import NamedTuple

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import GradientAccumulationScheduler
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from videoctx.tasks.multigrid import MultigridSteps
from videoctx.tasks.schedules import Schedule
from videoctx.tasks.task_data import task_data


class StepSize(NamedTuple):
    """The number of clips in one step of the optimizer.

    Attributes:
        num_devices: Devices on all nodes.
        clips_per_device: Clips in one batch of a device.
        num_accumulated: Batches whose gradients are accumulated in a step.

    Example:
        >>> StepSize(2, 8).num_clips
        16
        >>> print(StepSize(2, 8))
        16 (2 devices × 8 clips)
    """

    num_devices: int
    clips_per_device: int
    num_accumulated: int = 1

    @property
    def num_clips(self) -> int:
        return self.num_devices * self.clips_per_device * self.num_accumulated

    def __str__(self) -> str:
        devices = "1 device" if self.num_devices == 1 else f"{self.num_devices} devices"
        accumulated = f" × {self.num_accumulated} accumulated batches" if self.num_accumulated > 1 else ""
        return f"{self.num_clips} ({devices} × {self.clips_per_device} clips{accumulated})"


def step_size(trainer: Trainer) -> StepSize | None:
    """Return the step size of a run, or None where the data does not tell the clips of a batch."""
    if (data := task_data(trainer)) is None:
        return None
    return StepSize(trainer.world_size, data.clips_per_device, trainer.accumulate_grad_batches)


def scale_learning_rates(optimizer: Optimizer, step: StepSize, *, lr_batch_size: int) -> str:
    """Scale the learning rate of every group from the clips per step of a recipe to those of a run.

    Args:
        optimizer: Changed in place.
        step: The step size of the run.
        lr_batch_size: The number of clips per step that the optimizer's learning rate was chosen for.

    Returns:
        One line about the learning rate of the first group.
    """
    before = optimizer.param_groups[0]["lr"]
    for group in optimizer.param_groups:
        group["lr"] *= step.num_clips / lr_batch_size
    after = optimizer.param_groups[0]["lr"]
    return f"learning rate {before:g} for {lr_batch_size} clips per step → {after:g} for {step}"


def run_scheduler(schedule: Schedule, optimizer: Optimizer, trainer: Trainer) -> LRScheduler | None:
    """Make the scheduler of a run, whose number of steps the Trainer knows. None: it is a trial of a few steps.

    Raises:
        ValueError: The run has no end, or its epochs have an unknown number of steps.
    """
    if trainer.fast_dev_run:  # type: ignore[attr-defined] # it is there, without a type
        return None  # of one epoch of a few steps, which has no place for a warm-up
    data = task_data(trainer)
    if isinstance(schedule, MultigridSteps) and data and len(data.stages) > 1:
        return schedule.over(optimizer, data.stages)
    total_steps = trainer.estimated_stepping_batches
    if not math.isfinite(total_steps):
        raise ValueError("model.schedule needs an end of the run; expected trainer.max_epochs or trainer.max_steps")
    if trainer.train_dataloader is None:  # with `max_steps` alone, the Trainer has not asked for it
        trainer.fit_loop.setup_data()
    if not math.isfinite(trainer.num_training_batches):
        raise ValueError(
            "model.schedule needs epochs of a known length, and the training loader has none; expected an integer as"
            " trainer.limit_train_batches"
        )
    # The last batches of an epoch make a step of their own where they are fewer than those of a step.
    steps_per_epoch = math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches)
    return schedule.scheduler(optimizer, steps_per_epoch=steps_per_epoch, total_steps=int(total_steps))


def check_accumulation(trainer: Trainer) -> None:
    """Check that all epochs have the same number of steps.

    Raises:
        ValueError: A callback changes the number of accumulated batches.
    """
    for callback in trainer.callbacks:  # type: ignore[attr-defined] # it is there, without a type
        if isinstance(callback, GradientAccumulationScheduler) and callback.going_to_accumulate_grad_batches():
            raise ValueError(
                "model.schedule and model.lr_batch_size need steps of one size, which GradientAccumulationScheduler"
                " changes; expected trainer.accumulate_grad_batches instead"
            )
