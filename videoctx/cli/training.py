"""Lightning's fit, validate, test and predict, for video classifiers."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from jsonargparse import Namespace
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.callbacks import ProgressBar as LightningProgressBar
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from videoctx.cli.checkpoint_check import check_checkpoint, check_has_weights
from videoctx.cli.evaluation_folder import EvaluationLogger, evaluation_loggers
from videoctx.cli.finetuning_recipe import finetuning_recipe
from videoctx.cli.lightning_messages import leave_out_messages
from videoctx.cli.next_command import print_test, print_training
from videoctx.cli.no_validation import without_validation
from videoctx.cli.parts import is_first_rank, with_parts
from videoctx.cli.progress_bar import ProgressBar, is_shown
from videoctx.cli.replaced_classes import with_optimizer_defaults
from videoctx.cli.run_folder import RunFolder, check_free
from videoctx.cli.started_run import StartedRun
from videoctx.cli.stored_network import with_stored_network
from videoctx.cli.user_error_parser import UserErrorParser
from videoctx.data.datamodule import VideoDataModule
from videoctx.tasks import VideoClassifier
from videoctx.tasks.epoch_lines import EpochLines
from videoctx.tasks.lost_rank import EXIT_STATUS, is_lost_connection
from videoctx.tasks.short_epochs import ShortEpochs
from videoctx.value_message import short_message

# What a trainer without all extras takes. It refuses anything else.
BAREBONES = {
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "log_every_n_steps": 0,
    "num_sanity_val_steps": 0,
}

# Settings of the trainer with which, if 0, nothing is trained or Lightning divides by zero.
AT_LEAST_ONE = ("max_epochs", "max_steps", "limit_train_batches", "accumulate_grad_batches", "check_val_every_n_epoch")


class VideoCLI(LightningCLI):
    """The Lightning CLI of video classifiers: its defaults, and the values that follow from others.

    It has the parser of one command, that of `sys.argv`: Lightning makes those of all four, which takes a second.
    """

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        return {sys.argv[1]: LightningCLI.subcommands()[sys.argv[1]]}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.link_arguments("data.class_names", "model.class_names", apply_on="instantiate")
        parser.link_arguments("data.multi_label", "model.multi_label")
        parser.link_arguments("seed_everything", "data.seed", compute_fn=int)
        parser.link_arguments("seed_everything", "model.seed", compute_fn=int)
        parser.add_lightning_class_args(ModelCheckpoint, "checkpoint")
        parser.add_lightning_class_args(ModelCheckpoint, "last_checkpoint")
        parser.add_lightning_class_args(LearningRateMonitor, "learning_rate")
        parser.set_defaults(
            {
                "checkpoint.monitor": "val/video_top1",
                "checkpoint.mode": "max",
                "checkpoint.filename": "best",
                "checkpoint.enable_version_counter": False,
                "last_checkpoint.filename": "last",
                "last_checkpoint.enable_version_counter": False,
                "trainer.logger": {
                    "class_path": "lightning.pytorch.loggers.CSVLogger",
                    "init_args": {"save_dir": "runs", "name": "unnamed"},
                },
            }
        )

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType = None) -> None:
        try:
            super().parse_arguments(parser, args)
        except ValueError as error:
            raise ValueError(short_message(str(error))) from error
        config = self.config[self.config.subcommand]
        if config.get("ckpt_path"):
            resumes = self.config.subcommand == "fit"
            limits = {name: config.trainer[name] for name in ("max_epochs", "max_steps")} if resumes else {}
            check_checkpoint(config.ckpt_path, resumes=resumes, **limits)
            config.model.weights = None  # those that the training started from, which may be gone
        elif self.config.subcommand != "fit" and not config.model.weights:
            check_has_weights(config.model.net, command=self.config.subcommand)
        if self.config.subcommand == "predict":
            config.return_predictions = False  # they are in files, and would fill the memory
        if config.weights_only is None:
            config.weights_only = True  # a checkpoint may come from anywhere, and a pickle can run anything
        if config.data.train.multigrid:
            config.trainer.reload_dataloaders_every_n_epochs = 1  # epochs differ in length
        if self.config.subcommand == "fit":
            _check_trainer(config.trainer)
            lines = without_validation(config)
            if is_first_rank():
                for line in lines:
                    print(line, file=sys.stderr)
        if config.data.multi_label and config.get("checkpoint.monitor") == "val/video_top1":
            config.checkpoint.monitor = "val/video_map"
        if "verbose" in config:
            config.verbose = False  # Lightning's table of metrics, without the number of videos, views and failures

    def _instantiate_trainer(self, config: dict[str, Any], callbacks: list[Callback]) -> Trainer:
        """Make the Trainer without the callbacks that cannot work with its settings."""
        if config.get("barebones"):
            config |= BAREBONES
        config |= {"enable_model_summary": bool(config.get("enable_model_summary"))}  # `EpochLines` has a line on it
        callbacks = [*callbacks, *self._progress(config)]
        if config.get("logger") is False or config.get("fast_dev_run"):
            callbacks = [callback for callback in callbacks if not isinstance(callback, LearningRateMonitor)]
        if config.get("enable_checkpointing") is False:
            callbacks = [callback for callback in callbacks if not isinstance(callback, ModelCheckpoint)]
        return super()._instantiate_trainer(config, callbacks)

    def _progress(self, config: dict[str, Any]) -> list[Callback]:
        """Return what shows the progress of a run: a bar on a terminal, and lines of a training."""
        shown: list[Callback] = [EpochLines(), ShortEpochs()] if not config.get("barebones") else []
        given = config.get("callbacks") or []
        if any(isinstance(one, LightningProgressBar) for one in (given if isinstance(given, list) else [given])):
            return shown
        if config.get("enable_progress_bar") is None:
            config["enable_progress_bar"] = is_shown()
        return [*shown, ProgressBar()] if config["enable_progress_bar"] else shown

    def instantiate_classes(self) -> None:
        try:
            super().instantiate_classes()
        except ValueError as error:
            if not error.__cause__ or "Union subtypes" not in str(error):
                raise
            # That of an optional class, without jsonargparse's that the value is not null.
            raise error.__cause__ from None

    def after_instantiate_classes(self) -> None:
        command, config = self.config.subcommand, self.config[self.config.subcommand]
        if command != "fit" and not config.trainer.fast_dev_run:
            self.trainer.loggers = evaluation_loggers(
                self.trainer.loggers,
                command,
                checkpoint=config.get("ckpt_path") or config.model.weights,
                arguments=sys.argv[1:],
            )
        if self.trainer.loggers and not isinstance(self.trainer.loggers[0], EvaluationLogger) and self.trainer.log_dir:
            check_free(Path(self.trainer.log_dir))
        if self.trainer.loggers and self.trainer.log_dir and not config.trainer.fast_dev_run:
            self.save_config_kwargs["started"].note(Path(self.trainer.log_dir))

    def after_fit(self) -> None:
        if not self.trainer.fast_dev_run:  # type: ignore[attr-defined] # it is there, without a type
            print_training(self.trainer, self.datamodule, self._get(self.config_init, "checkpoint"))

    def after_test(self) -> None:
        print_test(self.trainer)


def _check_trainer(trainer: Namespace) -> None:
    """Raise a ValueError for settings with which nothing is trained, or which Lightning does not check."""
    if trainer.overfit_batches:
        raise ValueError(
            f"trainer.overfit_batches is {trainer.overfit_batches}, for which Lightning wants a loader of its own;"
            " expected trainer.limit_train_batches, with data.val_split train to validate on the same videos"
        )
    for name in AT_LEAST_ONE:
        if trainer[name] is not None and not trainer[name]:
            raise ValueError(f"trainer.{name} is {trainer[name]}; expected 1 or more")
    clip_val = trainer.gradient_clip_val
    if clip_val is not None and not clip_val >= 0:  # torch would ascend the gradient
        raise ValueError(f"trainer.gradient_clip_val is {clip_val}; expected 0, for none, or more")


def run_lightning(arguments: Sequence[str]) -> None:
    """Run `fit`, `validate`, `test` or `predict`.

    Raises:
        KeyboardInterrupt: after Ctrl-C or SIGTERM, once Lightning has shut down.
        SystemExit: another rank is gone, which `LostRank` has reported.
    """
    expanded = with_parts(arguments)
    if (line := finetuning_recipe(arguments, expanded)) and is_first_rank():
        print(line, file=sys.stderr)
    leave_out_messages()
    # The CLI reads it, and a launcher starts the other ranks with it.
    sys.argv[1:] = with_optimizer_defaults(with_stored_network(expanded))
    started = StartedRun()
    try:
        VideoCLI(
            VideoClassifier,
            VideoDataModule,
            parser_class=UserErrorParser,
            save_config_callback=RunFolder,
            save_config_kwargs={"started": started},
            seed_everything_default=0,
            auto_configure_optimizers=False,
        )
    except BaseException as error:
        started.remove_unless_kept()
        _raise_reported(error)


def _raise_reported(error: BaseException) -> NoReturn:
    """Raise what the command line reports of the end of a run."""
    if isinstance(error, MisconfigurationException):
        raise ValueError(str(error)) from error
    if isinstance(error, RuntimeError) and is_lost_connection(error) and not os.environ.get("VIDEOCTX_TRACEBACK"):
        sys.exit(EXIT_STATUS)
    if isinstance(error, SystemExit) and isinstance(error.__context__, KeyboardInterrupt):
        raise KeyboardInterrupt from error  # Lightning exits with status 1 after Ctrl-C
    raise error
