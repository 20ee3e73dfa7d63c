"""Lightning's fit, validate, test and predict, for video classifiers."""

import difflib
import inspect
import pickle
import re
import sys
import warnings
import zipfile
from collections.abc import Sequence
from operator import mul
from pathlib import Path
from typing import NoReturn

import torch
import yaml
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback

from videoctx.data.datamodule import VideoDataModule
from videoctx.tasks import VideoClassifier

# Warnings that ask for nothing: each line says why.
SILENCED_WARNINGS = (
    "The dirpath has changed",  # a test writes to a folder of its own
    "It is recommended to use `self.log",  # val and test are summed over ranks before; train/loss is rank zero's
    "Total length of `list` across ranks is zero",  # no validation was asked for
    "You're resuming from a checkpoint that ended before the epoch ended",  # the data module goes on where it was
    "`isinstance.treespec, LeafSpec.` is deprecated",  # Lightning's own code
)


class SpeakingParser(LightningArgumentParser):
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
        known = list(self.sections)
        if section in self.sections:
            known = [key for key in inspect.signature(self.sections[section]).parameters if key != "class_names"]
        near = difflib.get_close_matches(name if section in self.sections else section, known, n=3)
        return f"; expected {'perhaps ' if near else 'one of '}{', '.join(near or known)}"


class VideoCLI(LightningCLI):
    """Links what follows from something else, and sets a checkpoint that watches the video metric."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.link_arguments("data.class_names", "model.class_names", apply_on="instantiate")
        parser.link_arguments("data.multi_label", "model.multi_label")
        parser.link_arguments(("data.batch_size", "data.clips_per_video"), "model.clips_per_device", compute_fn=mul)
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
            }
        )

    def parse_arguments(self, parser: LightningArgumentParser, args: None) -> None:
        super().parse_arguments(parser, args)
        config = self.config[self.config.subcommand]
        if config.get("ckpt_path"):
            check_checkpoint(config.ckpt_path, resumes=self.config.subcommand == "fit")
        elif self.config.subcommand != "fit" and not config.model.weights:
            raise ValueError(
                f"{self.config.subcommand} needs a trained network: expected --ckpt_path or --model.weights"
            )
        if config.weights_only is None:
            config.weights_only = True  # a checkpoint may come from anywhere, and a pickle can run anything
        if config.data.multi_label and config.get("checkpoint.monitor") == "val/video_top1":
            config.checkpoint.monitor = "val/video_map"
        if "verbose" in config:
            config.verbose = False  # Lightning's table of metrics, without the number of videos, views and failures

    def after_instantiate_classes(self) -> None:
        written = yaml.safe_load(self.parser.dump(self.config))[self.subcommand]
        self.model.net_config = written["model"]["net"]
        self.model.preprocessing = self.datamodule.preprocessing.as_dict()


class SaveConfig(SaveConfigCallback):
    """Says in one line that a folder holds the config of another run."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        try:
            super().setup(trainer, pl_module, stage)
        except RuntimeError as error:
            if "to NOT exist" not in str(error):
                raise
            raise ValueError(
                f"{Path(trainer.log_dir)}: holds the config of another run; expected another"
                " trainer.logger.init_args.name or version, or no such folder"
            ) from error


def check_checkpoint(path: str, *, resumes: bool) -> None:
    """Say early, and in one line, that a checkpoint cannot be used.

    Args:
        resumes: training goes on from it, so Lightning's names for the checkpoints of a run are accepted too.

    Raises:
        ValueError: it is missing, not what `torch.save` writes, truncated, or not one that `fit` wrote.
    """
    if resumes and path in ("last", "hpc"):
        return
    if not Path(path).is_file():
        raise ValueError(f"{path}: no such checkpoint")
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path}: not a checkpoint, or a truncated one")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (RuntimeError, pickle.UnpicklingError) as error:
        raise ValueError(f"{path}: not a checkpoint of weights: {str(error).splitlines()[0]}") from error
    if not isinstance(checkpoint, dict) or not {"state_dict", "class_names", "epoch"} <= checkpoint.keys():
        raise ValueError(f"{path}: not a checkpoint that `videoctx fit` wrote; --model.weights takes others' weights")


def run_lightning(arguments: Sequence[str], description: str) -> None:
    for message in SILENCED_WARNINGS:
        warnings.filterwarnings("ignore", message=f".*{message}")
    sys.argv[1:] = arguments  # the CLI reads it, and a launcher starts the other ranks with it
    VideoCLI(
        VideoClassifier,
        VideoDataModule,
        parser_class=SpeakingParser,
        save_config_callback=SaveConfig,
        seed_everything_default=0,
        auto_configure_optimizers=False,
        parser_kwargs={"description": description},
    )
