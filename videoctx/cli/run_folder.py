"""Writes what identifies a run to its folder, on rank zero, before the first step.

| file | of | |
|---|---|---|
| `config.yaml` | every run with a logger | all values, default ones too |
| `training_card.json` | `fit` | what it was trained on, of which code, where and how (`videoctx.evaluation.card`) |
| `metrics.csv`, `events.out.tfevents.*` | `fit` | the same metrics, for `videoctx report` and for TensorBoard |
"""

import errno
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from lightning.pytorch.trainer.states import TrainerFn

from videoctx.cli.evaluation_folder import EvaluationLogger
from videoctx.cli.started_run import StartedRun
from videoctx.evaluation.run_folders import CONFIG_FILE

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class RunFolder(SaveConfigCallback):
    """Writes config and training card; errors on a folder that is taken or full are one line."""

    def __init__(self, *arguments: Any, started: StartedRun, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.started = started
        self._folder: Path | None = None
        self._first_step = 0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if not trainer.loggers:  # the run has no folder
            return
        if not self.already_saved:
            self._reserve(trainer)
        super().setup(trainer, pl_module, stage)
        if stage == "fit":
            trainer.loggers = with_tensorboard(trainer.loggers)

    def _reserve(self, trainer: Trainer) -> None:
        """Reserve the folder: of two runs that start at once only one gets it. Lightning checks before it writes."""
        while True:
            assert trainer.log_dir is not None  # Lightning calls this only for a run that has one
            self._folder, taken = Path(trainer.log_dir), False  # a collective: all ranks ask
            if trainer.is_global_zero:
                self._folder.mkdir(parents=True, exist_ok=True)
                try:
                    (self._folder / CONFIG_FILE).touch(exist_ok=False)
                except FileExistsError:
                    taken = True
            if not trainer.strategy.broadcast(taken):
                break
            self.started.folder = None  # it is another run's
            if not isinstance(logger := trainer.loggers[0], EvaluationLogger):
                raise _taken(self._folder)
            logger.choose_next()
            assert trainer.log_dir is not None
            self.started.note(Path(trainer.log_dir))
            _ = logger.experiment  # makes the folder, before there is anything in it
        self.started.take(trainer.strategy.broadcast(self.started.share()))
        self.overwrite = True  # of the empty file that was just created

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        self._first_step = trainer.global_step

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if trainer.global_step > self._first_step:
            self.started.is_kept = True

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        if trainer.state.fn == TrainerFn.VALIDATING:
            self.started.is_kept = True

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:  # noqa: ARG002
        if isinstance(exception, OSError) and exception.errno in NO_ROOM and not exception.filename:
            exception.filename = self._folder and str(self._folder)


def check_free(folder: Path) -> None:
    """Check that no other run has written to a folder, before a `CSVLogger` would delete that run's metrics.

    Raises:
        ValueError: another run has.
    """
    if (folder / CONFIG_FILE).exists():
        raise _taken(folder)


def _taken(folder: Path) -> ValueError:
    return ValueError(
        f"{folder}: holds the config of another run; expected another trainer.logger.init_args.name or version, or no"
        " such folder"
    )


class Events(TensorBoardLogger):
    """A logger for TensorBoard that does not write an empty `hparams.yaml` beside `config.yaml`."""

    def save(self) -> None:
        self.experiment.flush()


def with_tensorboard(loggers: list[Logger]) -> list[Logger]:
    """Return the loggers, and one for TensorBoard that writes beside the CSV file, unless there is one already."""
    tables = [logger for logger in loggers if isinstance(logger, CSVLogger)]
    if not tables or any(isinstance(logger, TensorBoardLogger) for logger in loggers):
        return loggers
    return [*loggers, Events(tables[0].save_dir, name=tables[0].name, version=tables[0].version)]
