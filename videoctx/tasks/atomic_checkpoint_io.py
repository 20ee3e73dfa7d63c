"""AtomicCheckpointIO: a checkpoint appears under its name complete or not at all, and is read without running code."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.strategies import Strategy

from videoctx.atomic_write import atomic_write
from videoctx.models.checkpoint_file import read_stored


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside the one that it replaces.

    Lightning's own writes into the folder of temporary files, often on another disk, and copies from there over the
    previous checkpoint: on a full disk, both are lost.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Save a checkpoint.

        Raises:
            OSError: The file cannot be written. A file that was at `path` before is still there.
        """
        if "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with atomic_write(path) as part, part.open("wb") as file:
                torch.save(checkpoint, file)
        except OSError as error:
            raise OSError(error.errno, f"{error.strerror}; one that was there before still is", str(path)) from error

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Load a checkpoint. Unless `weights_only` is False, nothing stored in the file is run.

        Raises:
            ValueError: The file is missing, damaged, no checkpoint, or holds more than weights, numbers and text.
        """
        if "://" in str(path) or weights_only is False:
            return super().load_checkpoint(path, map_location, weights_only)
        return read_stored(path)


def write_checkpoints_atomically(strategy: Strategy) -> None:
    """Give a Trainer's strategy an `AtomicCheckpointIO`, unless the user has chosen another plugin."""
    if type(strategy.checkpoint_io) is TorchCheckpointIO:
        strategy.checkpoint_io = AtomicCheckpointIO()
