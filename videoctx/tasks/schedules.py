"""Learning-rate schedules in epochs. They make torch schedulers, which are stepped in every step of the optimizer."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, pi
from typing import Literal

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LinearLR, LRScheduler, MultiStepLR, SequentialLR


class Schedule(ABC):
    """The base class: it makes a scheduler when the number of steps is known."""

    @abstractmethod
    def scheduler(self, optimizer: Optimizer, *, steps_per_epoch: int, total_steps: int) -> LRScheduler:
        """Return a scheduler that is stepped in every step of the optimizer.

        Args:
            optimizer: It has its full learning rate.
            steps_per_epoch: Steps of the optimizer per epoch.
            total_steps: Steps of the optimizer in the run.

        Raises:
            ValueError: The warm-up or a milestone is beyond the end of the run.
        """


class WarmupCosine(Schedule):
    """A linear warm-up, then half a cosine down to `end_factor`.

    Args:
        warmup_epochs: Length of the warm-up; 0 for no warm-up.
        start_factor: Learning rate at the beginning of the warm-up, relative to the optimizer's.
        end_factor: Learning rate at the end of training, relative to the optimizer's.
        cosine_from: Where the half cosine begins. With `warmup_end`, it begins after the warm-up with the optimizer's
            learning rate. With `start`, it begins at the start of the run, and the warm-up rises to its value at that
            time, which is a little lower (PySlowFast).

    Raises:
        ValueError: An argument is out of range.

    Example:
        >>> import torch
        >>> optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
        >>> schedule = WarmupCosine(warmup_epochs=1, start_factor=0.1)
        >>> f"{schedule.scheduler(optimizer, steps_per_epoch=10, total_steps=100).get_last_lr()[0]:g}"
        '0.01'
    """

    def __init__(
        self,
        *,
        warmup_epochs: float = 0.0,
        start_factor: float = 0.01,
        end_factor: float = 0.0,
        cosine_from: Literal["warmup_end", "start"] = "warmup_end",
    ) -> None:
        if cosine_from not in ("warmup_end", "start"):
            raise ValueError(f"cosine_from is {cosine_from!r}; expected 'warmup_end' or 'start'")
        check_warmup(warmup_epochs, start_factor)
        self.warmup_epochs = warmup_epochs
        self.start_factor = start_factor
        self.end_factor = end_factor
        self.cosine_from = cosine_from

    def scheduler(self, optimizer: Optimizer, *, steps_per_epoch: int, total_steps: int) -> LRScheduler:
        warmup_steps = round(self.warmup_epochs * steps_per_epoch)
        if warmup_steps >= total_steps:
            raise ValueError(_too_long(self.warmup_epochs, warmup_steps, total_steps, steps_per_epoch))
        cosine_start = warmup_steps if self.cosine_from == "warmup_end" else 0
        factor = CosineFactor(warmup_steps, cosine_start, total_steps, self.start_factor, self.end_factor)
        return LambdaLR(optimizer, factor)


@dataclass
class CosineFactor:
    """The factor of the learning rate as a function of the step.

    It is no plain function, because a checkpoint stores the attributes of an object, which a resumed run compares.
    """

    warmup_steps: int
    cosine_start: int
    total_steps: int
    start_factor: float
    end_factor: float

    def __call__(self, step: int) -> float:
        if step >= self.warmup_steps:
            return self._half_cosine(step)
        reached = self._half_cosine(self.warmup_steps)
        return self.start_factor + (reached - self.start_factor) * step / self.warmup_steps

    def _half_cosine(self, step: int) -> float:
        progress = (min(step, self.total_steps) - self.cosine_start) / (self.total_steps - self.cosine_start)
        return self.end_factor + (1 - self.end_factor) * (1 + cos(pi * progress)) / 2


class WarmupSteps(Schedule):
    """A linear warm-up, then the learning rate is multiplied by `gamma` at each milestone.

    Args:
        milestone_epochs: Epochs of the milestones, counted from the start of the run.
        gamma: Factor at each milestone.
        warmup_epochs: Length of the warm-up; 0 for no warm-up.
        start_factor: Learning rate at the beginning of the warm-up, relative to the optimizer's.

    Raises:
        ValueError: An argument is out of range.

    Example:
        >>> schedule = WarmupSteps(milestone_epochs=[30, 60], gamma=0.1, warmup_epochs=5)
    """

    def __init__(
        self,
        *,
        milestone_epochs: Sequence[float],
        gamma: float = 0.1,
        warmup_epochs: float = 0.0,
        start_factor: float = 0.01,
    ) -> None:
        check_warmup(warmup_epochs, start_factor)
        self.milestone_epochs = milestone_epochs
        self.gamma = gamma
        self.warmup_epochs = warmup_epochs
        self.start_factor = start_factor

    def scheduler(self, optimizer: Optimizer, *, steps_per_epoch: int, total_steps: int) -> LRScheduler:
        warmup_steps = round(self.warmup_epochs * steps_per_epoch)
        if warmup_steps >= total_steps:
            raise ValueError(_too_long(self.warmup_epochs, warmup_steps, total_steps, steps_per_epoch))
        milestones = [round(epoch * steps_per_epoch) - warmup_steps for epoch in self.milestone_epochs]
        if milestones and not 0 < min(milestones) <= max(milestones) < total_steps - warmup_steps:
            raise ValueError(
                f"milestone_epochs are {list(self.milestone_epochs)}; expected all after the warm-up"
                f" ({self.warmup_epochs:g} epochs) and before the end ({total_steps / steps_per_epoch:g} epochs)"
            )
        main = MultiStepLR(optimizer, milestones, gamma=self.gamma)
        return _after_warmup(optimizer, main, warmup_steps, self.start_factor)


def _after_warmup(optimizer: Optimizer, main: LRScheduler, warmup_steps: int, start_factor: float) -> LRScheduler:
    if warmup_steps == 0:
        return main
    warmup = LinearLR(optimizer, start_factor=start_factor, total_iters=warmup_steps)
    return SequentialLR(optimizer, [warmup, main], milestones=[warmup_steps])


def check_warmup(warmup_epochs: float, start_factor: float) -> None:
    """Check the arguments of a warm-up.

    Raises:
        ValueError: One is out of range.
    """
    if not warmup_epochs >= 0:
        raise ValueError(f"warmup_epochs is {warmup_epochs:g}; expected 0 or more")
    if not 0 <= start_factor <= 1:
        raise ValueError(f"start_factor is {start_factor:g}; expected 0 to 1")


def _too_long(warmup_epochs: float, warmup_steps: int, total_steps: int, steps_per_epoch: int) -> str:
    return (
        f"warmup_epochs is {warmup_epochs:g}, {warmup_steps} steps, but the run has {total_steps};"
        f" expected less than {total_steps / steps_per_epoch:g} epochs"
    )
