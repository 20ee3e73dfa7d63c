"""Whether a resumed run goes on with the optimizer and the learning rates that it stopped with.

A checkpoint holds the state of both, and it wins over the config: nothing would say that a lowered learning rate,
another weight decay or other milestones are not taken, nor that a cosine over more epochs jumps.
"""

import math
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

OF_THE_SCHEDULE = ("lr", "initial_lr")  # of an optimizer's groups
NOT_COMPARED = ("_step_count", "_is_initial", "_get_lr_called_within_step", "verbose")
EXPECTED = (
    "expected the config that it was trained with, or --model.weights in place of --ckpt_path for its weights alone"
)


class SavedOptimizer(NamedTuple):
    """What a checkpoint says of the optimizer, without its tensors."""

    groups: list[dict[str, Any]]
    schedule: dict[str, Any] | None

    @classmethod
    def of(cls, checkpoint: Mapping[str, Any]) -> "SavedOptimizer | None":
        """None where it was saved without."""
        if not checkpoint.get("optimizer_states"):
            return None
        schedules = checkpoint.get("lr_schedulers")
        return cls(checkpoint["optimizer_states"][0]["param_groups"], schedules[0] if schedules else None)


def check_optimizer(optimizer: Optimizer, saved: SavedOptimizer) -> None:
    """
    Raises:
        ValueError: it is another kind of optimizer, for other parameters or with other settings.
    """
    name = type(optimizer).__name__
    ours, theirs = ([_settings(group) for group in groups] for groups in (optimizer.param_groups, saved.groups))
    if [of_group["params"] for of_group in ours] != [of_group["params"] for of_group in theirs]:
        raise ValueError(f"the checkpoint's optimizer has other groups of parameters (model.decay_norms); {EXPECTED}")
    if unknown := sorted(theirs[0].keys() - ours[0].keys()):
        raise ValueError(f"the checkpoint's optimizer has {', '.join(unknown)}, which {name} has not; {EXPECTED}")
    _refuse_differences("model.optimizer", ours, theirs)


def check_schedule(optimizer: Optimizer, scheduler: LRScheduler | None, saved: SavedOptimizer) -> None:
    """Step the scheduler to where the checkpoint is; its state is to be replaced by the checkpoint's after that.

    Raises:
        ValueError: it would be in another state by then.
    """
    if (scheduler is None) != (saved.schedule is None):
        theirs, ours = ("no schedule", "one") if saved.schedule is None else ("a schedule", "none")
        raise ValueError(f"the checkpoint has {theirs} of the learning rate, this run {ours}; {EXPECTED}")
    if scheduler is None:
        ours, theirs = ([group["lr"] for group in groups] for groups in (optimizer.param_groups, saved.groups))
        _refuse_differences("the learning rate", ours, theirs)
        return
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step")  # nothing is trained here
        for _ in range(saved.schedule["last_epoch"]):
            scheduler.step()
    _refuse_differences("model.schedule, over trainer.max_epochs,", scheduler.state_dict(), saved.schedule)


def _settings(group: Mapping[str, Any]) -> dict[str, Any]:
    settings = {name: value for name, value in group.items() if name not in OF_THE_SCHEDULE}
    return {**settings, "params": len(group["params"])}


def _refuse_differences(what: str, ours: Any, theirs: Any) -> None:
    for name, here, there in _differences(ours, theirs):
        raise ValueError(f"{what} is not the checkpoint's: {name or 'it'} is {here} here and {there} there; {EXPECTED}")


def _differences(ours: Any, theirs: Any, name: str = "") -> Iterator[tuple[str, Any, Any]]:
    """(name, ours, theirs) of what both have and differs; another machine's last digits do not count."""
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
