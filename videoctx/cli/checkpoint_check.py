"""An early check of the checkpoint that a command is given."""

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch
from jsonargparse import Namespace

from videoctx.cli.parts import is_first_rank
from videoctx.models.checkpoint_file import check_checksums, read_stored
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
        read_stored(path)  # its error tells what is in the file, and what to do
        raise ValueError(f"{path}: not a checkpoint of weights: {str(error).splitlines()[0]}") from error
    if not isinstance(checkpoint, dict) or not {"state_dict", "class_names", "epoch"} <= checkpoint.keys():
        raise ValueError(f"{path}: not a checkpoint that `videoctx fit` wrote; --model.weights takes others' weights")
    if resumes and not {"optimizer_states", "loops"} <= checkpoint.keys():
        raise ValueError(f"{path}: holds weights alone, nothing to resume from; expected it as --model.weights")
    if resumes:
        check_unfinished(path, checkpoint, max_epochs=max_epochs, max_steps=max_steps)


def check_has_weights(net: Any, *, command: str) -> None:
    """Check that an evaluation without a checkpoint has a network that may have loaded its weights itself.

    One of this package never does. One of the user's own is believed, and a line tells so.

    Args:
        net: as jsonargparse has parsed it: `class_path` and `init_args`, or the name of a function.
        command: for the message.

    Raises:
        ValueError: the network is one of this package.
    """
    name = str(net.get("class_path") if isinstance(net, Namespace) else getattr(net, "__module__", net))
    if name.startswith("videoctx."):
        raise ValueError(f"{command} needs a trained network: expected --ckpt_path or --model.weights")
    if is_first_rank():
        print(f"{name}: evaluated with the weights that it has loaded itself, as none are given")
