"""What the folder of a run says of it, written by rank zero before the first step.

| file | of | |
|---|---|---|
| `config.yaml` | every run | all values, those that nobody has set too |
| `training_card.json` | `fit` | what it was trained on, of which code, where and how (`videoctx.evaluation.card`) |
| `metrics.csv`, `events.out.tfevents.*` | `fit` | the same metrics, for `videoctx report` and for TensorBoard |
"""

import errno
from pathlib import Path

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger

from videoctx.evaluation.card import TRAINING_CARD_FILE, make_training_card, write_card
from videoctx.tasks.task_data import required_task_data

CONFIG_FILE = "config.yaml"
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class RunFolder(SaveConfigCallback):
    """Says in one line that a folder holds the config of another run, or that there is no room in it."""

    _folder: Path | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if not self.already_saved:
            self._take(trainer)
        super().setup(trainer, pl_module, stage)
        if stage == "fit":
            trainer.loggers = with_tensorboard(trainer.loggers)

    def _take(self, trainer: Trainer) -> None:
        """Of two runs that begin at once one gets the folder: Lightning looks first, and writes later."""
        self._folder, taken = Path(trainer.log_dir), False  # every rank asks
        if trainer.is_global_zero:
            self._folder.mkdir(parents=True, exist_ok=True)
            try:
                (self._folder / CONFIG_FILE).touch(exist_ok=False)
            except FileExistsError:
                taken = True
        if trainer.strategy.broadcast(taken):
            raise _taken(self._folder)
        self.overwrite = True  # the empty file

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:  # noqa: ARG002
        if isinstance(exception, OSError) and exception.errno in NO_ROOM and not exception.filename:
            exception.filename = self._folder and str(self._folder)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        folder = Path(trainer.log_dir)  # every rank asks
        if trainer.is_global_zero:
            card = make_training_card(
                data=required_task_data(trainer, required_by="a training card").card("train"),
                num_ranks=trainer.world_size,
                num_nodes=trainer.num_nodes,
                checkpoint=trainer.ckpt_path or pl_module.weights,
                seed=pl_module.seed,
                device=pl_module.device,
            )
            write_card(card, folder / TRAINING_CARD_FILE)


def check_free(folder: Path) -> None:
    """That no other run has written there; before there is a `CSVLogger`, which would delete the metrics of that run.

    Raises:
        ValueError: one has.
    """
    if (folder / CONFIG_FILE).exists():
        raise _taken(folder)


def _taken(folder: Path) -> ValueError:
    return ValueError(
        f"{folder}: holds the config of another run; expected another trainer.logger.init_args.name or version, or no"
        " such folder"
    )


class Events(TensorBoardLogger):
    """Without `hparams.yaml`: it would be empty, and there is `config.yaml`."""

    def save(self) -> None:
        self.experiment.flush()


def with_tensorboard(loggers: list[Logger]) -> list[Logger]:
    """The loggers, and one for TensorBoard that writes beside the CSV file, if there is none already."""
    tables = [logger for logger in loggers if isinstance(logger, CSVLogger)]
    if not tables or any(isinstance(logger, TensorBoardLogger) for logger in loggers):
        return loggers
    return [*loggers, Events(tables[0].save_dir, name=tables[0].name, version=tables[0].version)]
