"""Reading a checkpoint file without running anything that is stored in it."""

import pickle
import re
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from videoctx.models.foreign_objects import ARRAYS, read_beside_foreign_objects

LEGACY_TORCH = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)  # start of torch.save's files before they were archives


def read_stored(path: str | Path, *, trust: bool = False, foreign: list[str] | None = None) -> Any:
    """Return what `torch.save` wrote to a file, with its tensors on the CPU.

    Args:
        trust: Also read Caffe2's pickles. Only arrays and plain containers are taken from them.
        foreign: Also read a checkpoint with objects of other libraries. They are left out, and the names of their
            classes are added to this list. None: such a file is refused.

    Raises:
        ValueError: There is no such file; it is no checkpoint, or a damaged one; or it holds more than weights, numbers
            and text.
    """
    path = Path(path)
    if path.is_dir():
        raise ValueError(
            f"{path}: is a folder; expected one file with all weights. A sharded checkpoint is merged by DeepSpeed's"
            " zero_to_fp32.py or by torch.distributed.checkpoint.format_utils.dcp_to_torch_save"
        )
    if not path.is_file():
        raise ValueError(f"{path}: no such checkpoint")
    with path.open("rb") as file:
        start = file.read(len(LEGACY_TORCH))
    if start.startswith(b"PK") and not zipfile.is_zipfile(path):
        raise ValueError(f"{path}: a truncated checkpoint")
    if start.startswith(b"PK") or start == LEGACY_TORCH:
        check_checksums(path)
        return _read_torch(path, foreign)
    if not start.startswith((b"\x80", b"(d")):
        raise ValueError(f"{path}: not a checkpoint; expected a file of torch.save or of Caffe2")
    if not trust:
        raise ValueError(
            f"{path}: a Python pickle, as Caffe2's checkpoints are, and a pickle can be made to run code when it is"
            " read; if you trust its source, videoctx convert --trust converts it"
        )
    return _read_pickle(path)


def check_checksums(path: str | Path) -> None:
    """Compare the checksums in a checkpoint with its content, which `torch.load` does not.

    Raises:
        ValueError: They differ. The message names the file.
    """
    if not Path(path).is_file() or not zipfile.is_zipfile(path):
        return  # reading it raises the error
    try:
        with zipfile.ZipFile(path) as file:
            damaged = file.testzip()
    except zipfile.BadZipFile as error:
        damaged = str(error)
    if damaged:
        raise ValueError(f"{path}: a damaged checkpoint: its checksums differ from those that were written")


def _read_torch(path: Path, foreign: list[str] | None) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if foreign is not None:
            with suppress(Exception):  # the error is that of torch
                stored, names = read_beside_foreign_objects(path)
                if isinstance(stored, Mapping):
                    foreign += names
                    return stored
        refused = re.search(r"GLOBAL ([\w.]+)", str(error))
        if refused is None:
            raise ValueError(f"{path}: not a checkpoint, or a damaged one ({_one_line(error)})") from error
        raise ValueError(
            f"{path}: holds a {refused[1]} beside the weights, and reading that can run code; expected a file with"
            " weights, numbers and text only: save its state dict on its own"
        ) from error
    except (RuntimeError, EOFError, OSError, KeyError, ValueError) as error:
        raise ValueError(f"{path}: not a checkpoint, or a damaged one ({_one_line(error)})") from error


class ArraysOnly(pickle.Unpickler):
    """An unpickler of numbers, text, plain containers and numpy arrays that refuses everything else."""

    ALLOWED = frozenset([("collections", "OrderedDict"), ("_codecs", "encode"), *ARRAYS])

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return super().find_class(module, name)


def _read_pickle(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            return ArraysOnly(file, encoding="latin1").load()
    except Exception as error:  # a broken pickle raises anything
        raise ValueError(f"{path}: not a Caffe2 checkpoint, or a damaged one ({_one_line(error)})") from error


def _one_line(error: Exception) -> str:
    """Return the message of an error, without the place in the source of torch that raised it."""
    return re.sub(r"\[enforce fail at [^]]*\]\W*", "", " ".join(str(error).split()))[:200]
