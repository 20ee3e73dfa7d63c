"""A resumed run continues with the optimizer and the learning rate of its checkpoint, or it is refused.

A checkpoint holds the state of both, and Lightning restores it over what the config asks for. Without a check, nobody
would learn that a lowered learning rate, another weight decay or other milestones are ignored, or that a cosine over
more epochs jumps.
"""

import logging
import math
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from lightning.pytorch import Callback, LightningModule, Trainer
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from videoctx.tasks.fused_optimizer import IMPLEMENTATIONS
from videoctx.tasks.learning_rate import step_size

logger = logging.getLogger(__name__)

SCHEDULED = ("lr", "initial_lr")  # settings of an optimizer's groups that the schedule changes
NOT_COMPARED = ("_step_count", "_is_initial", "_get_lr_called_within_step", "verbose")
EXPECTED = (
    "expected the config that it was trained with, or --model.weights in place of --ckpt_path for its weights alone"
)


class ResumedOptimizerCheck(Callback):
    """Compares optimizer and schedule with those of the checkpoint, before Lightning restores their state.

    Where a step has another number of clips than in the checkpoint's run, the checkpoint's learning rate is taken, and
    a warning tells so.

    Raises:
        ValueError: The optimizer or the schedule is another one, or has other settings.
    """

    def __init__(self) -> None:
        self._saved: SavedOptimizer | None = None
        self._clips_per_step: int | None = None  # of the checkpoint's run

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:  # noqa: ARG002
        self._saved = SavedOptimizer.from_checkpoint(checkpoint)
        self._clips_per_step = checkpoint.get("clips_per_step")

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        if self._saved is None:
            return
        (optimizer,) = trainer.optimizers
        check_optimizer(optimizer, self._saved)
        if self._has_same_steps(trainer):
            schedulers = [config.scheduler for config in trainer.lr_scheduler_configs]
            check_schedule(optimizer, schedulers[0] if schedulers else None, self._saved)

    def _has_same_steps(self, trainer: Trainer) -> bool:
        step = step_size(trainer)
        if not (self._clips_per_step and step) or step.num_clips == self._clips_per_step:
            return True
        if trainer.is_global_zero:
            logger.warning(
                f"the learning rate and its schedule are the checkpoint's, for {self._clips_per_step} clips per step;"
                f" this run has {step}"
            )
        return False


class SavedOptimizer(NamedTuple):
    """The settings of the optimizer and the state of the schedule in a checkpoint, without tensors."""

    groups: list[dict[str, Any]]
    schedule: dict[str, Any] | None

    @classmethod
    def from_checkpoint(cls, checkpoint: Mapping[str, Any]) -> "SavedOptimizer | None":
        """Return those of a checkpoint, or None where it was saved without."""
        if not checkpoint.get("optimizer_states"):
            return None
        schedules = checkpoint.get("lr_schedulers")
        return cls(checkpoint["optimizer_states"][0]["param_groups"], schedules[0] if schedules else None)


def check_optimizer(optimizer: Optimizer, saved: SavedOptimizer) -> None:
    """Check that an optimizer is the checkpoint's, apart from the learning rate.

    Raises:
        ValueError: It is of another kind, for other parameters or with other settings.
    """
    name = type(optimizer).__name__
    ours, theirs = ([_settings(group) for group in groups] for groups in (optimizer.param_groups, saved.groups))
    if [group["params"] for group in ours] != [group["params"] for group in theirs]:
        options = "model.decay_norms, model.layer_rates"
        raise ValueError(f"the checkpoint's optimizer has other groups of parameters ({options}); {EXPECTED}")
    if unknown := sorted(theirs[0].keys() - ours[0].keys()):
        raise ValueError(f"the checkpoint's optimizer has {', '.join(unknown)}, which {name} lacks; {EXPECTED}")
    _refuse_differences("model.optimizer", ours, theirs)


def check_schedule(optimizer: Optimizer, scheduler: LRScheduler | None, saved: SavedOptimizer) -> None:
    """Check that a schedule leads to the checkpoint's state.

    The scheduler is stepped to where the checkpoint is. Its state is to be replaced by the checkpoint's afterwards.

    Raises:
        ValueError: Its state differs from the checkpoint's there.
    """
    if scheduler is not None and saved.schedule is None:
        raise ValueError(f"the checkpoint has no schedule of the learning rate, this run has one; {EXPECTED}")
    if scheduler is None and saved.schedule is not None:
        raise ValueError(f"the checkpoint has a schedule of the learning rate, this run has none; {EXPECTED}")
    if scheduler is None or saved.schedule is None:
        ours, theirs = ([group["lr"] for group in groups] for groups in (optimizer.param_groups, saved.groups))
        _refuse_differences("the learning rate", ours, theirs)
        return
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step")  # nothing is trained here
        for _ in range(saved.schedule["last_epoch"]):
            scheduler.step()
    _refuse_differences("model.schedule, over trainer.max_epochs,", scheduler.state_dict(), saved.schedule)


def _settings(group: Mapping[str, Any]) -> dict[str, Any]:
    settings = {name: value for name, value in group.items() if name not in (*SCHEDULED, *IMPLEMENTATIONS)}
    return {**settings, "params": len(group["params"])}


def _refuse_differences(what: str, ours: Any, theirs: Any) -> None:
    for name, here, there in _differences(ours, theirs):
        raise ValueError(f"{what} is not the checkpoint's: {name or 'it'} is {here} here and {there} there; {EXPECTED}")


def _differences(ours: Any, theirs: Any, name: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield (name, ours, theirs) of every difference in what both have, beyond rounding."""
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        if name and ours.keys() != theirs.keys():  # such as milestones
            yield name, list(ours), list(theirs)
        for key in (key for key in ours if key in theirs and key not in NOT_COMPARED):
            yield from _differences(ours[key], theirs[key], str(key).removeprefix("_"))
    elif isinstance(ours, list | tuple) and isinstance(theirs, list | tuple) and len(ours) == len(theirs):
        for here, there in zip(ours, theirs, strict=True):
            yield from _differences(here, there, name)
    elif isinstance(ours, int | float) and isinstance(theirs, int | float):
        if not math.isclose(ours, theirs, rel_tol=1e-6, abs_tol=1e-12):
            yield name, f"{ours:g}", f"{theirs:g}"
    elif ours != theirs:
        yield name, ours, theirs
