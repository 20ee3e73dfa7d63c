"""The learning rate of multigrid training, and checks that the network accepts its clips.

Wu et al.: "A Multigrid Method for Efficiently Training Video Models" (arXiv 1912.00998). The data module
determines which clips are trained on when (`videoctx.data.sampling.multigrid`).
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from videoctx.contract import Stage
from videoctx.models.inference import has_known_layers
from videoctx.models.meta_device import meta_copy, run_on_meta
from videoctx.tasks.schedules import Schedule, check_warmup
from videoctx.tasks.task_data import task_data

if TYPE_CHECKING:
    from videoctx.tasks.classifier import VideoClassifier


class MultigridSteps(Schedule):
    """A schedule with linear warm-up and steps, for multigrid training.

    The learning rate is multiplied by `gamma` at each milestone, and proportional to the batch size of the long cycle.
    The stages of `data.train.multigrid` have the milestones. The batches of the short cycle do not change it.

    Args:
        gamma: Factor at each milestone.
        warmup_epochs: Length of the warm-up, in epochs of this run; 0 for no warm-up.
        start_factor: Learning rate at the beginning of the warm-up, relative to the optimizer's.

    Example:
        >>> schedule = MultigridSteps(gamma=0.1, warmup_epochs=2)
    """

    def __init__(self, *, gamma: float = 0.1, warmup_epochs: float = 0.0, start_factor: float = 0.01) -> None:
        check_warmup(warmup_epochs, start_factor)
        self.gamma = gamma
        self.warmup_epochs = warmup_epochs
        self.start_factor = start_factor

    def scheduler(self, optimizer: Optimizer, *, steps_per_epoch: int, total_steps: int) -> LRScheduler:  # noqa: ARG002
        raise ValueError(
            "model.schedule is MultigridSteps without a long cycle; expected"
            " data.train.multigrid.milestone_epochs as well"
        )

    def over(self, optimizer: Optimizer, stages: Sequence[Stage]) -> LRScheduler:
        """Return the scheduler of a run of these stages."""
        factors, lengths = self.factors(stages), [len(stage.batches) for stage in stages]
        epoch_ends = list(accumulate(stage.num_epochs for stage in stages))
        step_ends = list(accumulate(stage.num_epochs * length for stage, length in zip(stages, lengths, strict=True)))
        if self.warmup_epochs >= epoch_ends[-1]:
            raise ValueError(f"warmup_epochs is {self.warmup_epochs:g}; expected less than the run's, {epoch_ends[-1]}")
        return LambdaLR(
            optimizer, StagesFactor(factors, lengths, epoch_ends, step_ends, self.warmup_epochs, self.start_factor)
        )

    def factors(self, stages: Sequence[Stage]) -> list[float]:
        """Return the learning rate of each stage, relative to the optimizer's."""
        return [stage.batch_factor * self.gamma**stage.num_drops for stage in stages]


@dataclass
class StagesFactor:
    """The factor of the learning rate as a function of the step.

    It is no plain function, because a checkpoint stores the attributes of an object, which a resumed run compares.
    """

    factors: list[float]  # of each stage
    lengths: list[int]  # of each stage, steps per epoch
    epoch_ends: list[int]  # of each stage
    step_ends: list[int]  # of each stage
    warmup_epochs: float
    start_factor: float

    def __call__(self, step: int) -> float:
        index = bisect_right(self.step_ends, step)
        if index == len(self.factors):  # after the last step
            return self.factors[-1]
        epoch = self.epoch_ends[index] - (self.step_ends[index] - step) / self.lengths[index]
        if epoch >= self.warmup_epochs:
            return self.factors[index]
        reached = self.factors[bisect_right(self.epoch_ends, self.warmup_epochs)]
        return self.start_factor + (reached - self.start_factor) * epoch / self.warmup_epochs


class MultigridPlan(Callback):
    """Checks the network and the schedule against the stages of multigrid training, and prints the stages.

    Raises:
        ValueError: They do not fit (`check_stages`).
    """

    def __init__(self, task: "VideoClassifier") -> None:
        self.task = task

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:  # noqa: ARG002
        data = task_data(trainer)
        if stage == "fit" and data and data.stages:
            check_stages(self.task.net, data.stages, self.task.schedule)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        data = task_data(trainer)
        if trainer.is_global_zero and data and data.stages:
            print(described_stages(data.stages, self.task.schedule, trainer.optimizers[0]))


def check_stages(net: nn.Module, stages: Sequence[Stage], schedule: Schedule | None) -> None:
    """Check that a schedule and a network fit the stages.

    Networks with layers of other projects may not run on the meta device. They are not checked; the first epochs, which
    have the smallest clips, fail if they do not fit.

    Raises:
        ValueError: The schedule does not know the long cycle, or the network cannot take the smallest clips.
    """
    if len(stages) > 1 and not isinstance(schedule, MultigridSteps):
        raise ValueError(
            f"model.schedule is {schedule and type(schedule).__name__} with data.train.multigrid.milestone_epochs;"
            " expected videoctx.tasks.MultigridSteps"
        )
    if not has_known_layers(net):
        return
    clip_len = min(stage.clip_len for stage in stages)
    side = min(crop_size_px for stage in stages for _, crop_size_px in stage.cycle)
    try:
        run_on_meta(meta_copy(net).eval(), clip_size=(clip_len, side, side))
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0].split(";")[0]
        raise ValueError(
            f"the network cannot take clips of {clip_len} frames at {side} × {side} ({reason});"
            " expected a longer data.clips.clip_len, a larger data.train.crop_size_px or other factors in"
            " data.train.multigrid"
        ) from error


def described_stages(stages: Sequence[Stage], schedule: Schedule | None, optimizer: Optimizer) -> str:
    """Return one line per stage."""
    group = optimizer.param_groups[0]
    lr, first, lines = group.get("initial_lr", group["lr"]), 0, []
    rates = [""]
    if isinstance(schedule, MultigridSteps) and len(stages) > 1:
        rates = [f", learning rate {factor * lr:g}" for factor in schedule.factors(stages)]
    for stage, rate in zip(stages, rates, strict=True):
        lines.append(f"epochs {first} to {first + stage.num_epochs - 1}: {stage}{rate}")
        first += stage.num_epochs
    return "\n".join(lines)
