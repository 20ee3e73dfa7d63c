"""The progress bar of a training or an evaluation, which is one line of the terminal."""

import os
import sys

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar
from rich.progress import BarColumn, ProgressColumn
from rich.table import Column

# The metrics beside the bar, by what the trainer calls them. `EpochLines` prints all of them when the epoch ends.
SHOWN = {"loss": "loss", "val/video_top1": "val", "val/video_map": "val"}


class ProgressBar(RichProgressBar):
    """Lightning's bar with the loss and the last validation beside it. Epochs are counted from one."""

    def _init_progress(self, trainer: Trainer) -> None:
        super()._init_progress(trainer)
        for column in self.progress.columns if self.progress else ():
            if isinstance(column, ProgressColumn) and not isinstance(column, BarColumn):
                column._table_column = Column(no_wrap=True)  # the bar is shortened instead

    def get_metrics(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        metrics = super().get_metrics(trainer, pl_module)
        return {name: metrics[key] for key, name in SHOWN.items() if key in metrics}

    def _get_train_description(self, current_epoch: int) -> str:
        most = self.trainer.max_epochs
        of = f"/{most}" if most is not None and most > 0 else ""
        return f"{f'Epoch {current_epoch + 1}{of}':{len(self.validation_description)}}"


def is_shown() -> bool:
    """Return whether standard output is a terminal on which a line can be drawn again."""
    return sys.stdout.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")
