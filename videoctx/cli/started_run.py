"""A run that fails before it has anything to keep leaves no folder behind."""

import os
import shutil
from pathlib import Path

from videoctx.evaluation.run_folders import CONFIG_FILE, METRICS_FILE, SCORES_FILE, TRAINING_CARD_FILE

# What a run writes before its first step.
FIRST_FILES = (CONFIG_FILE, TRAINING_CARD_FILE, METRICS_FILE, "hparams.yaml")


Noted = tuple[Path | None, list[Path], list[str]]


class StartedRun:
    """The folder of a run: which of it was there before, and whether there is something to keep.

    Attributes:
        folder: of the run. None: it has none, or it is not known yet.
        is_kept: whether the run has trained a step, or evaluated all videos.
    """

    def __init__(self) -> None:
        self.folder: Path | None = None
        self.is_kept = False
        self._missing: list[Path] = []  # the folder and those above it that were not there, the innermost first
        self._before: list[str] = []  # those of the first files that were there

    def note(self, folder: Path) -> None:
        """Note the folder of the run, before anything is written to it."""
        self.folder = folder
        self._missing = [path for path in (folder, *folder.parents) if not path.exists()]
        self._before = [name for name in FIRST_FILES if (folder / name).exists()]

    def share(self) -> Noted:
        """Return what rank zero tells the other ranks, which have started after it has made the folder."""
        return self.folder, self._missing, self._before

    def take(self, noted: Noted) -> None:
        """Take over what rank zero has noted."""
        self.folder, self._missing, self._before = noted

    def remove_unless_kept(self) -> None:
        """Remove the folder after the run has failed, and those above it that it has made and that are empty now.

        Of a folder that was there before, only the files of this run are removed.
        """
        folder = self.folder
        if folder is None or self.is_kept or not folder.is_dir() or _has_results(folder):
            return
        if self._missing and self._missing[0] == folder:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            events = folder.glob(f"events.out.tfevents.*.{os.getpid()}.*")
            for file in (*(folder / name for name in FIRST_FILES if name not in self._before), *events):
                file.unlink(missing_ok=True)
        for path in self._missing[1:]:
            try:
                path.rmdir()
            except OSError:  # another run is in there
                return


def _has_results(folder: Path) -> bool:
    """Return whether there are scores, a checkpoint, or metrics of a training step.

    A run whose processes were started with `spawn` does not tell whether it has trained.
    """
    metrics = folder / METRICS_FILE
    if metrics.is_file():
        with metrics.open(encoding="utf-8") as file:
            if "train/" in file.readline():
                return True
    return (folder / SCORES_FILE).is_file() or next(folder.rglob("*.ckpt"), None) is not None
