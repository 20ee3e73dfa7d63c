"""A run that fails before it has anything to keep leaves no folder behind."""

import os
import shutil
from pathlib import Path

from videoctx.evaluation.run_folders import CONFIG_FILE, SCORES_FILE, TRAINING_CARD_FILE

# What a run writes before its first step.
FIRST_FILES = (CONFIG_FILE, TRAINING_CARD_FILE, "metrics.csv", "hparams.yaml")


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

    def note(self, folder: Path) -> None:
        """Note the folder of the run, before anything is written to it."""
        self.folder = folder
        self._missing = [path for path in (folder, *folder.parents) if not path.exists()]

    def share(self) -> tuple[Path | None, list[Path]]:
        """Return what rank zero tells the other ranks, which have started after it has made the folder."""
        return self.folder, self._missing

    def take(self, shared: tuple[Path | None, list[Path]]) -> None:
        """Take over what rank zero has noted."""
        self.folder, self._missing = shared

    def remove_unless_kept(self) -> None:
        """Remove the folder after the run has failed, and those above it that it has made and that are empty now.

        Of a folder that was there before, only the files of this run are removed.
        """
        folder = self.folder
        if folder is None or self.is_kept or (folder / SCORES_FILE).is_file() or not folder.is_dir():
            return
        if self._missing and self._missing[0] == folder:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            events = folder.glob(f"events.out.tfevents.*.{os.getpid()}.*")
            for file in (*(folder / name for name in FIRST_FILES), *events):
                file.unlink(missing_ok=True)
        for path in self._missing[1:]:
            try:
                path.rmdir()
            except OSError:  # another run is in there
                return
