"""A finished run is not resumed: Lightning would make a new folder, train nothing, and end without an error."""

from collections.abc import Mapping
from typing import Any

DEFAULT_MAX_EPOCHS = 1000  # of the Trainer, without max_steps


def check_unfinished(path: object, checkpoint: Mapping[str, Any], *, max_epochs: int | None, max_steps: int) -> None:
    """Check that a run that resumes from a checkpoint has something left to do.

    Args:
        path: The checkpoint's name in the message.
        checkpoint: What Lightning stored.
        max_epochs: Of the run that resumes, as in the Trainer.
        max_steps: Of the run that resumes, as in the Trainer.

    Raises:
        ValueError: It has nothing to do.
    """
    if max_epochs is None:
        max_epochs = DEFAULT_MAX_EPOCHS if max_steps == -1 else -1
    epochs = checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"]
    steps = checkpoint.get("global_step", 0)
    for done, most, name, option in (
        (epochs, max_epochs, "epoch", "max_epochs"),
        (steps, max_steps, "step", "max_steps"),
    ):
        if -1 < most <= done:
            raise ValueError(
                f"{path}: this run is finished: {name} {done} of {most}; expected a higher trainer.{option} to continue"
            )
