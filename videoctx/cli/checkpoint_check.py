"""An early check of the checkpoint that a command is given."""

import pickle
import zipfile
from pathlib import Path

import torch

from videoctx.models.checkpoint_file import check_checksums
from videoctx.tasks.finished_run import check_unfinished


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
        check_unfinished(path, checkpoint, max_epochs=max_epochs, max_steps=max_steps)
