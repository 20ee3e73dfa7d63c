"""Checkpoints that are there as a whole or not at all."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from videoctx.atomic_write import atomic_write


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the file that is to be replaced, and replaces it at the end.

    Lightning's own writes into the folder of temporary files, often on another disk, and copies from there over the
    checkpoint before: where the disk is full, both are lost.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """
        Raises:
            OSError: it cannot be written; what stood at `path` still does.
        """
        if "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with atomic_write(path) as part, part.open("wb") as file:
                torch.save(checkpoint, file)
        except (OSError, RuntimeError) as error:
            cause = error.__context__ if isinstance(error, RuntimeError) else error  # torch adds one of its own
            if not isinstance(cause, OSError):
                raise
            raise OSError(
                f"{path}: cannot write the checkpoint ({cause.strerror}); one that stood there still does"
            ) from error
