"""An early check of the checkpoint that a command is given."""

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from videoctx.models.checkpoint_file import check_checksums

DEFAULT_MAX_EPOCHS = 1000  # of the Trainer, without max_steps


def check_checkpoint(path: str, *, resumes: bool, max_epochs: int | None = None, max_steps: int = -1) -> None:
    """Check that Lightning can load a checkpoint, before anything else is done.

    Args:
        resumes: training resumes from it. Lightning's names for the checkpoints of a run are accepted too.
        max_epochs: of the run that resumes, as in the Trainer.
        max_steps: of the run that resumes, as in the Trainer.

    Raises:
        ValueError: it is missing, truncated, damaged, of a finished run, or not written by `videoctx fit`.
    """
    if resumes and path in ("last", "hpc"):
        return
    if not Path(path).is_file():
        raise ValueError(f"{path}: no such checkpoint")
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path}: not a checkpoint, or a truncated one")
    check_checksums(path)
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (RuntimeError, pickle.UnpicklingError) as error:
        raise ValueError(f"{path}: not a checkpoint of weights: {str(error).splitlines()[0]}") from error
    if not isinstance(checkpoint, dict) or not {"state_dict", "class_names", "epoch"} <= checkpoint.keys():
        raise ValueError(f"{path}: not a checkpoint that `videoctx fit` wrote; --model.weights takes others' weights")
    if resumes and not {"optimizer_states", "loops"} <= checkpoint.keys():
        raise ValueError(f"{path}: holds weights alone, nothing to resume from; expected it as --model.weights")
    if resumes:
        _check_unfinished(path, checkpoint, max_epochs, max_steps)


def _check_unfinished(path: str, checkpoint: dict[str, Any], max_epochs: int | None, max_steps: int) -> None:
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
