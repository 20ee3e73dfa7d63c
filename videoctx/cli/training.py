"""Lightning's fit, validate, test and predict, for video classifiers."""

import difflib
import inspect
import os
import pickle
import re
import sys
import warnings
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass
from operator import mul
from pathlib import Path
from typing import NoReturn, get_type_hints

import torch
import yaml
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from videoctx.cli.parts import with_parts
from videoctx.cli.run_folder import RunFolder, check_free
from videoctx.data.datamodule import VideoDataModule
from videoctx.tasks import VideoClassifier
from videoctx.tasks.lost_rank import EXIT_STATUS, is_lost_connection

# Warnings that ask for nothing: each line says why.
SILENCED_WARNINGS = (
    "The dirpath has changed",  # a test writes to a folder of its own
    "It is recommended to use `self.log",  # val and test are summed over ranks before; train/loss is rank zero's
    "Total length of `list` across ranks is zero",  # no validation was asked for
    "You're resuming from a checkpoint that ended before the epoch ended",  # the data module goes on where it was
    "Grad strides do not match bucket view strides",  # of 1×1×1 kernels, whose one order in memory has two names
    "`isinstance.treespec, LeafSpec.` is deprecated",  # Lightning's own code
)

# Of the trainer, without which nothing is trained, or Lightning divides by zero.
AT_LEAST_ONE = ("limit_train_batches", "accumulate_grad_batches", "check_val_every_n_epoch")


class UserErrorParser(LightningArgumentParser):
    """Says in one line what is wrong with the arguments, and what would be accepted."""

    sections = {  # noqa: RUF012
        "data": VideoDataModule,
        "model": VideoClassifier,
        "trainer": Trainer,
        "checkpoint": ModelCheckpoint,
        "last_checkpoint": ModelCheckpoint,
        "learning_rate": LearningRateMonitor,
    }

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        nested = re.search(r'Parser key "(\w+\.\w+)":.*?(Option \'\w+\' is not accepted)', message, re.DOTALL)
        if nested:  # without all that the value is no instance of either
            message = f"{nested[1]}: {nested[2]}; --{nested[1]}.help CLASS lists what a class accepts"
        elif ".help CLASS" not in message:  # what comes out of a config has been said inside it
            message += self._accepted(message)
        raise ValueError(message) from ex

    def _accepted(self, message: str) -> str:
        if not (unknown := re.search(r"(?:--|option ')([\w.]+)", message)):
            return ""
        section, _, name = unknown[1].partition(".")
        if section not in self.sections:
            return _expected(section, list(self.sections))
        known = _options(self.sections[section])
        group, _, member = name.partition(".")
        if member and any(option.startswith(f"{group}.") for option in known):
            members = [option for option in known if option.startswith(f"{group}.")]
            return _expected(name, members)
        return _expected(name, known)


def _options(section: Callable) -> list[str]:
    """Return the names of a section's options: those of its constructor, and `group.option` for a group of settings."""
    types = get_type_hints(section.__init__ if inspect.isclass(section) else section)
    options: list[str] = []
    for name in inspect.signature(section).parameters:
        if is_dataclass(group := types.get(name)):
            options += [f"{name}.{field.name}" for field in fields(group)]
        elif name != "class_names":
            options.append(name)
    return options


def _expected(name: str, known: Sequence[str]) -> str:
    """Name the known options that look like `name`, by their whole name or by its last part, or else all of them."""
    last = name.rpartition(".")[2]
    by_last = {option.rpartition(".")[2]: option for option in reversed(known)}
    near = difflib.get_close_matches(name, known, n=3)
    near += [by_last[part] for part in difflib.get_close_matches(last, by_last, n=3)]
    near = list(dict.fromkeys(near))[:3]
    return f"; expected {'perhaps ' if near else 'one of '}{', '.join(near or known)}"


class VideoCLI(LightningCLI):
    """Links what follows from something else, and sets a checkpoint that watches the video metric."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.link_arguments("data.class_names", "model.class_names", apply_on="instantiate")
        parser.link_arguments("data.multi_label", "model.multi_label")
        parser.link_arguments(
            ("data.batch_size", "data.train.clips_per_video"), "model.clips_per_device", compute_fn=mul
        )
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

    def parse_arguments(self, parser: LightningArgumentParser, args: None) -> None:
        try:
            super().parse_arguments(parser, args)
        except ValueError as error:
            raise ValueError(in_short(str(error))) from error
        config = self.config[self.config.subcommand]
        if config.get("ckpt_path"):
            check_checkpoint(config.ckpt_path, resumes=self.config.subcommand == "fit")
        elif self.config.subcommand != "fit" and not config.model.weights:
            raise ValueError(
                f"{self.config.subcommand} needs a trained network: expected --ckpt_path or --model.weights"
            )
        if config.weights_only is None:
            config.weights_only = True  # a checkpoint may come from anywhere, and a pickle can run anything
        if config.data.train.multigrid:
            config.trainer.reload_dataloaders_every_n_epochs = 1  # for their lengths: those of epochs differ
        if self.config.subcommand == "fit":
            for name in AT_LEAST_ONE:
                if config.trainer[name] is not None and not config.trainer[name]:
                    raise ValueError(f"trainer.{name} is {config.trainer[name]}; expected 1 or more")
            clip_val = config.trainer.gradient_clip_val
            if clip_val is not None and not clip_val >= 0:  # torch would climb instead
                raise ValueError(f"trainer.gradient_clip_val is {clip_val}; expected 0, for none, or more")
            if not config.data.val_split and config.checkpoint.monitor == "val/video_top1":
                config.checkpoint.monitor = None  # nothing is validated
        if config.data.multi_label and config.get("checkpoint.monitor") == "val/video_top1":
            config.checkpoint.monitor = "val/video_map"
        if "verbose" in config:
            config.verbose = False  # Lightning's table of metrics, without the number of videos, views and failures

    def instantiate_classes(self) -> None:
        try:
            super().instantiate_classes()
        except ValueError as error:
            if not error.__cause__ or "Union subtypes" not in str(error):
                raise
            raise error.__cause__ from None  # what an optional class said; jsonargparse adds that it is not null either

    def after_instantiate_classes(self) -> None:
        if self.trainer.log_dir:
            check_free(Path(self.trainer.log_dir))
        written = yaml.safe_load(self.parser.dump(self.config))[self.subcommand]
        self.model.net_config = written["model"]["net"]
        self.model.preprocessing = self.datamodule.preprocessing.as_dict()


def in_short(message: str) -> str:
    """What jsonargparse says of a value in many lines, for each type that it could have had, in one."""
    keys = [key for key in re.findall(r'Parser key "([\w.]+)"', message) if key != "config"]
    absent = re.search(r"module '([\w.]+)' has no attribute '(\w+)'", message)
    value = re.search(r"(?:Given|Got) value: (.+)", message)  # the innermost is the first
    wanted = re.findall(r"Expected a (?:<class '(?:\w+\.)*(\w+)'>|typing\.Literal\[(.+?)\]|(dot import path))", message)
    if not keys or not (absent or (value and wanted)):
        return message
    name = ".".join(dict.fromkeys(keys))
    if absent:
        return f"{name}: no {absent[1]}.{absent[2]}: {absent[0]}"
    kinds = dict.fromkeys(kind or choices or (path and "a class by its full name") for kind, choices, path in wanted)
    return f"{name} is {value[1]}; expected {' or '.join(kinds).replace('NoneType', 'null')}"


def check_checkpoint(path: str, *, resumes: bool) -> None:
    """Say early, and in one line, that a checkpoint cannot be used.

    Args:
        resumes: training goes on from it, so Lightning's names for the checkpoints of a run are accepted too.

    Raises:
        ValueError: it is missing, not what `torch.save` writes, truncated, damaged, or not one that `fit` wrote.
    """
    if resumes and path in ("last", "hpc"):
        return
    if not Path(path).is_file():
        raise ValueError(f"{path}: no such checkpoint")
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path}: not a checkpoint, or a truncated one")
    if not _is_whole(path):
        raise ValueError(f"{path}: a damaged checkpoint: its checksums say that it is not as it was written")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (RuntimeError, pickle.UnpicklingError) as error:
        raise ValueError(f"{path}: not a checkpoint of weights: {str(error).splitlines()[0]}") from error
    if not isinstance(checkpoint, dict) or not {"state_dict", "class_names", "epoch"} <= checkpoint.keys():
        raise ValueError(f"{path}: not a checkpoint that `videoctx fit` wrote; --model.weights takes others' weights")
    if resumes and not {"optimizer_states", "loops"} <= checkpoint.keys():
        raise ValueError(f"{path}: holds weights alone, nothing to resume from; expected it as --model.weights")


def _is_whole(archive: str) -> bool:
    """By the checksums in it, at which `torch.load` does not look."""
    try:
        with zipfile.ZipFile(archive) as file:
            return file.testzip() is None
    except zipfile.BadZipFile:
        return False


def run_lightning(arguments: Sequence[str]) -> None:
    """Run `fit`, `validate`, `test` or `predict`.

    Raises:
        KeyboardInterrupt: after Ctrl-C, once Lightning has shut down.
        SystemExit: another rank is gone, which `LostRank` has reported.
    """
    for message in SILENCED_WARNINGS:
        warnings.filterwarnings("ignore", message=f".*{message}")
    sys.argv[1:] = with_parts(arguments)  # the CLI reads it, and a launcher starts the other ranks with it
    try:
        VideoCLI(
            VideoClassifier,
            VideoDataModule,
            parser_class=UserErrorParser,
            save_config_callback=RunFolder,
            seed_everything_default=0,
            auto_configure_optimizers=False,
        )
    except MisconfigurationException as error:
        raise ValueError(str(error)) from error
    except RuntimeError as error:
        if is_lost_connection(error) and not os.environ.get("VIDEOCTX_TRACEBACK"):
            sys.exit(EXIT_STATUS)
        raise
    except SystemExit as stop:
        if isinstance(stop.__context__, KeyboardInterrupt):  # Lightning exits with status 1 after Ctrl-C
            raise KeyboardInterrupt from stop
        raise
