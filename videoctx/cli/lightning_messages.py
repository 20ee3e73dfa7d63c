"""Messages of Lightning that tell the user of videoctx nothing, and are not printed."""

import logging
import warnings

# Warnings of Lightning and torch that require no action, each with the reason.
SILENCED_WARNINGS = (
    "The dirpath has changed",  # a test writes to its own folder
    "It is recommended to use `self.log",  # val and test are summed over ranks before; train/loss is that of rank zero
    "Total length of `list` across ranks is zero",  # no validation was asked for
    "You're resuming from a checkpoint that ended before the epoch ended",  # the data module resumes inside an epoch
    "Grad strides do not match bucket view strides",  # of 1×1×1 kernels, whose one memory order has two names
    "`isinstance.treespec, LeafSpec.` is deprecated",  # in Lightning's own code
    "The number of training batches .* is smaller than the logging interval",  # `ShortEpochs` logs every epoch
)

# Beginnings of messages that are no warnings, each with the reason.
LEFT_OUT = (
    "Seed set to",  # it is in the config
    "GPU available",  # the first line of a training names the device; a GPU that is not used is a warning
    "TPU available",
    "💡 Tip",  # advertisements
    "Loading `train_dataloader` to estimate",
    "`Trainer.fit` stopped: `max_epochs=",  # as was asked for; the last lines of a training are its end
    "`Trainer.fit` stopped: `max_steps=",
    "Restoring states from the checkpoint path",  # a second line follows once it has worked
)
LOGGERS = (
    "lightning.pytorch.utilities.rank_zero",
    "lightning.fabric.utilities.rank_zero",
    "lightning.fabric.utilities.seed",
)


def leave_out_messages() -> None:
    """Leave them out from now on, in this process."""
    for message in SILENCED_WARNINGS:
        warnings.filterwarnings("ignore", message=f".*{message}")
    for name in LOGGERS:
        logging.getLogger(name).addFilter(is_worth_reading)  # a filter that is there already is not added again


def is_worth_reading(record: logging.LogRecord) -> bool:
    """Return whether a log message is one to print."""
    return record.levelno >= logging.WARNING or not record.getMessage().startswith(LEFT_OUT)
