"""The folder of an evaluation: inside that of the training whose checkpoint it evaluates.

`videoctx test --ckpt_path RUN/checkpoints/best.ckpt` writes to `RUN/test`, the second one to `RUN/test-1`; `validate`
and `predict` likewise. A checkpoint that lies in no training's folder, or in one that cannot be written to, gets the
folder of `trainer.logger`, as a training does. So does an evaluation whose command line has an option of
`trainer.logger`.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger

from videoctx.evaluation.run_folders import next_name, training_of

LOGGER_OPTION = "--trainer.logger"
REPLACED = (CSVLogger, TensorBoardLogger)  # they write to the folder of a run


class EvaluationLogger(CSVLogger):
    """A logger that writes to the next free folder of a training's evaluations. Rank zero chooses it.

    Args:
        training: the folder of the training.
        command: `validate`, `test` or `predict`.
    """

    def __init__(self, training: Path, command: str) -> None:
        super().__init__(training, name="")
        self.training = training
        self.command = command

    def _get_next_version(self) -> str:  # type: ignore[override]  # CSVLogger takes a string, too
        return next_name(self.training, self.command)

    def choose_next(self) -> None:
        """Choose the folder again, after another evaluation has taken it."""
        self._version = self._experiment = None


def evaluation_loggers(
    loggers: Sequence[Logger], command: str, *, checkpoint: str | None, arguments: Sequence[str]
) -> list[Logger]:
    """Return the loggers of an evaluation, of which the first one is that of its folder.

    Args:
        loggers: those of the config; none for an evaluation that writes no logs.
        command: `validate`, `test` or `predict`.
        checkpoint: the file with the network's weights.
        arguments: the command line.
    """
    training = training_of(checkpoint) if checkpoint else None
    is_given = any(argument.startswith(LOGGER_OPTION) for argument in arguments)
    if not loggers or is_given or training is None or not os.access(training, os.W_OK):
        return list(loggers)
    return [EvaluationLogger(training, command), *(one for one in loggers if not isinstance(one, REPLACED))]
