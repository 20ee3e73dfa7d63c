"""The learning rate of multigrid training, and what the network must take for it.

Wu et al.: "A Multigrid Method for Efficiently Training Video Models" (arXiv 1912.00998). Which clips are trained
on when, the data says (`videoctx.data.sampling.multigrid`).
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from videoctx.contract import Stage
from videoctx.models.inference import has_known_layers
from videoctx.models.meta_device import meta_copy, run_on_meta
from videoctx.tasks.schedules import Schedule, check_warmup


class MultigridSteps(Schedule):
    """Linear warm-up; the learning rate times `gamma` at each milestone, and in proportion to the long cycle's batch.

    The stages of `data.train.multigrid` say when. The short cycle's batches do not change the learning rate.

    Args:
        gamma: factor at each milestone.
        warmup_epochs: length of the warm-up, in epochs of this run; 0 for none.
        start_factor: learning rate at its beginning, relative to the optimizer's.
    """

    def __init__(self, *, gamma: float = 0.1, warmup_epochs: float = 0.0, start_factor: float = 0.01) -> None:
        check_warmup(warmup_epochs, start_factor)
        self.gamma = gamma
        self.warmup_epochs = warmup_epochs
        self.start_factor = start_factor

    def scheduler(self, optimizer: Optimizer, *, steps_per_epoch: float, total_steps: int) -> LRScheduler:  # noqa: ARG002
        raise ValueError(
            "model.schedule is MultigridSteps without a long cycle; expected data.train.multigrid.milestone_epochs as"
            " well"
        )

    def over(self, optimizer: Optimizer, stages: Sequence[Stage]) -> LRScheduler:
        """The scheduler of a run of these stages."""
        factors, lengths = self.factors(stages), [len(stage.batches) for stage in stages]
        epoch_ends = list(accumulate(stage.num_epochs for stage in stages))
        step_ends = list(accumulate(stage.num_epochs * length for stage, length in zip(stages, lengths, strict=True)))
        if self.warmup_epochs >= epoch_ends[-1]:
            raise ValueError(f"warmup_epochs is {self.warmup_epochs:g}; expected less than the run's, {epoch_ends[-1]}")
        return LambdaLR(
            optimizer, StagesFactor(factors, lengths, epoch_ends, step_ends, self.warmup_epochs, self.start_factor)
        )

    def factors(self, stages: Sequence[Stage]) -> list[float]:
        """Learning rate of each stage, relative to the optimizer's."""
        return [stage.batch_factor * self.gamma**stage.num_drops for stage in stages]


@dataclass
class StagesFactor:
    """Of the learning rate, by the step. No function: of these a checkpoint holds nothing to compare."""

    factors: list[float]  # of each stage, as the next three
    lengths: list[int]  # steps of an epoch
    epoch_ends: list[int]
    step_ends: list[int]
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


def check_stages(net: nn.Module, stages: Sequence[Stage], schedule: Schedule | None) -> None:
    """That the schedule and the network go with them. Of other projects' layers it is not known that they run on the
    meta device: the first epochs, whose clips are the smallest, tell.

    Raises:
        ValueError: the schedule knows nothing of the long cycle, or the network cannot take the smallest clips.
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
    except RuntimeError as error:
        raise ValueError(
            f"the network takes no clips of {clip_len} frames at {side} × {side} ({str(error).splitlines()[0]});"
            " expected a longer data.clips.clip_len, a larger data.train.crop_size_px or other factors in"
            " data.train.multigrid"
        ) from error


def described_stages(stages: Sequence[Stage], schedule: Schedule | None, optimizer: Optimizer) -> str:
    """A line for each stage."""
    group = optimizer.param_groups[0]
    rate, first, lines = group.get("initial_lr", group["lr"]), 0, []
    rates = [f", learning rate {factor * rate:g}" for factor in schedule.factors(stages)] if len(stages) > 1 else [""]
    for stage, its_rate in zip(stages, rates, strict=True):
        lines.append(f"epochs {first} to {first + stage.num_epochs - 1}: {stage}{its_rate}")
        first += stage.num_epochs
    return "\n".join(lines)
