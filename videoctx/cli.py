"""The command line: Lightning's fit, validate, test and predict, and a table of our own tools."""

import difflib
import inspect
import json
import os
import pickle
import re
import sys
import traceback
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

import torch
import yaml
from jsonargparse import ActionConfigFile, ArgumentParser, Namespace
from jsonargparse.typing import PositiveInt
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from rich.console import Console
from rich.table import Table
from torch import nn

from videoctx.data.containers import VideoDecodeError
from videoctx.data.datamodule import TooManyFailuresError, VideoDataModule
from videoctx.tasks import VideoClassifier

# Errors that may speak to the person at the terminal.
SPEAKING_ERRORS = (ValueError, OSError, VideoDecodeError, TooManyFailuresError)

# Warnings that ask for nothing: each line says why.
SILENCED_WARNINGS = (
    "The dirpath has changed",  # a test writes to a folder of its own
    "It is recommended to use `self.log",  # val and test are summed over ranks before; train/loss is rank zero's
    "Total length of `list` across ranks is zero",  # no validation was asked for
    "`isinstance.treespec, LeafSpec.` is deprecated",  # Lightning's own code
)


# What follows from something else, and from what: it is never set on its own.
LINKED = {
    ("data", "seed"): "seed_everything",
    ("model", "seed"): "seed_everything",
    ("model", "class_names"): "data.class_file",
}


# Configs are made of parts ----------------------------------------------------------------------------------------


def with_parts(arguments: Sequence[str]) -> list[str]:
    """Put the parts of every config file on the command line before it.

    A config may name others under `parts`, relative to itself: they are read first, in order, and the config's
    own keys override theirs. `--config a.yaml`, `--config=a.yaml` and `-c a.yaml` are meant.
    """
    expanded: list[str] = []
    arguments = iter(arguments)
    for argument in arguments:
        name, separator, value = argument.partition("=")
        if name not in ("-c", "--config"):
            expanded.append(argument)
            continue
        if not separator:
            value = next(arguments, "")
        if not value.endswith((".yaml", ".yml")):
            expanded += [name, value]
            continue
        for text in _parts(Path(value), ()):
            expanded += [name, text]
    return expanded


def _parts(path: Path, parents: tuple[Path, ...]) -> Iterator[str]:
    """The config at `path` as YAML texts without `parts`, the parts' own first."""
    if path.resolve() in parents:
        raise ValueError(f"{path}: the config is a part of itself")
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except OSError as error:
        named_by = f", named under parts in {parents[-1]}" if parents else ""
        raise ValueError(f"{path}: cannot read the config ({error.strerror}){named_by}") from error
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: not a YAML file: {' '.join(str(error).split())}") from error
    if not isinstance(config, dict):
        raise ValueError(f"{path}: expected a config of keys and values, got {type(config).__name__}")
    parts = config.pop("parts", [])
    if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
        raise ValueError(f"{path}: parts is {parts!r}; expected a list of config files")
    for section, name in LINKED:
        if isinstance(config.get(section), dict) and name in config[section]:
            raise ValueError(f"{path}: {section}.{name} follows from {LINKED[section, name]}; expected it there alone")
    for part in parts:
        yield from _parts(path.parent / part, (*parents, path.resolve()))
    if config:
        yield yaml.safe_dump(config, sort_keys=False)


# Lightning's commands ---------------------------------------------------------------------------------------------


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
        if "verbose" in config:
            config.verbose = False  # Lightning's table of metrics, without the number of videos, views and failures

    def after_instantiate_classes(self) -> None:
        written = yaml.safe_load(self.parser.dump(self.config))[self.subcommand]
        self.model.net_config = written["model"]["net"]


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


def run_lightning(arguments: Sequence[str]) -> None:
    for message in SILENCED_WARNINGS:
        warnings.filterwarnings("ignore", message=f".*{message}")
    sys.argv[1:] = arguments  # the CLI reads it, and a launcher starts the other ranks with it
    VideoCLI(
        VideoClassifier,
        VideoDataModule,
        parser_class=SpeakingParser,
        seed_everything_default=0,
        auto_configure_optimizers=False,
        parser_kwargs={"description": f"{__doc__} Tools: {', '.join(TOOLS)}; each has --help."},
    )


# Our own tools ----------------------------------------------------------------------------------------------------


class ToolParser(ArgumentParser):
    """Says in one line what is wrong with the arguments."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        raise ValueError(message) from ex


class Network(NamedTuple):
    """A network as a config describes it: call it with a number of classes."""

    make: Callable[[int], nn.Module] | None  # none: the config names no network
    config: dict | None  # its class_path and init_args

    def __call__(self, num_classes: int) -> nn.Module:
        return self.make(num_classes)


def net_from_config(
    parser: ArgumentParser, arguments: Sequence[str], *, required: bool = True
) -> tuple[Network, Namespace]:
    """The network of a config's `model.net`, and the parser's own arguments.

    Every config that `fit` takes will do; what is not the network is passed over.
    """
    kind = Callable[[int], nn.Module]
    parser.add_argument("-c", "--config", action=ActionConfigFile, help="a config with model.net", required=required)
    parser.add_argument("--model.net", type=kind if required else kind | None, required=required, help="the network")
    arguments = with_parts(arguments)
    for position, argument in enumerate(arguments[1:], start=1):
        if arguments[position - 1] in ("-c", "--config"):
            model = yaml.safe_load(argument).get("model")
            network = {"model": {"net": model["net"]}} if isinstance(model, dict) and "net" in model else {}
            arguments[position] = yaml.safe_dump(network)
    config = parser.parse_args(arguments)
    plain = yaml.safe_load(parser.dump(config)).get("model", {}).get("net")
    options = parser.instantiate(config)
    return Network(options.model.net, plain), options


def run_complexity(arguments: Sequence[str]) -> None:
    """Parameters and multiply-adds of a network, in all, by stage, and by context block."""
    from videoctx.models.complexity import complexity

    parser = ToolParser(prog="videoctx complexity", description=run_complexity.__doc__)
    parser.add_argument("--clip_len", type=PositiveInt, default=8, help="frames of the clip")
    parser.add_argument("--size", type=PositiveInt, default=224, help="height and width of the clip, in pixels")
    parser.add_argument("--num_classes", type=PositiveInt, default=400, help="classes; Kinetics-400 has 400")
    parser.add_argument("--json", action="store_true", help="print JSON with plain counts instead of a table")
    net, options = net_from_config(parser, arguments)
    result = complexity(lambda: net(options.num_classes), clip_len=options.clip_len, size=options.size)
    if options.json:
        print(json.dumps(result.as_dict(), indent=2))
        return
    table = Table(title=f"one clip of {options.clip_len} frames at {options.size} × {options.size}")
    for heading, justify in (
        ("part", "left"),
        ("kind", "left"),
        ("parameters", "right"),
        ("multiply-adds", "right"),
    ):
        table.add_column(heading, justify=justify)
    for part in result.stages:
        table.add_row(part.name, part.kind, f"{part.params:,}", f"{part.macs:,}")
    table.add_section()
    for part in result.context_blocks:
        table.add_row(part.name, part.kind, f"{part.params:,}", f"{part.macs:,}")
    table.add_section()
    table.add_row("in all", "", f"{result.params:,}", f"{result.macs:,}", style="bold")
    Console().print(table)


def run_convert(arguments: Sequence[str]) -> None:
    """Take over weights of PyTorchVideo, PySlowFast, mmaction2, GluonCV, torchvision or videoctx.

    The network is the one that the weights are for, or that of a config: then images' weights are inflated into it, and
    context blocks that the weights do not have start as they do in a new network.
    """
    from videoctx.models.checkpoints import convert_checkpoint

    parser = ToolParser(prog="videoctx convert", description=run_convert.__doc__)
    parser.add_argument("checkpoint", type=str, help="the file with the weights")
    parser.add_argument("-o", "--output", type=str, required=True, help="file to write; model.weights takes it")
    parser.add_argument("--num_classes", type=PositiveInt | None, help="where others, the classifier is a new one")
    parser.add_argument("--trust", action="store_true", help="read Caffe2's pickles: say so if you trust the source")
    net, options = net_from_config(parser, arguments, required=False)
    print(
        convert_checkpoint(
            options.checkpoint,
            options.output,
            num_classes=options.num_classes,
            net=net.make,
            net_config=net.config,
            trust=options.trust,
        )
    )


def run_results(arguments: Sequence[str]) -> None:
    """A table of everything that was tested below some folders: one row a results.json."""
    parser = ToolParser(prog="videoctx results", description=run_results.__doc__)
    parser.add_argument("folders", nargs="+", help="run folders, or folders of runs")
    folders = [Path(folder) for folder in parser.parse_args(list(arguments)).folders]
    files = sorted({file for folder in folders for file in folder.rglob("results.json")})
    if not files:
        raise ValueError(f"{', '.join(map(str, folders))}: no results.json in there; `videoctx test` writes one a run")
    table = Table(caption="top-1 and top-5 accuracy; a video that could not be read counts as wrong")
    for heading in ("run", "params", "videos", "views", "failed", "clip@1", "video@1", "video@5"):
        table.add_column(heading, justify="left" if heading == "run" else "right", overflow="fold")
    for file in files:
        result = json.loads(file.read_text())
        table.add_row(
            str(file.parent),
            f"{result['num_parameters'] / 1e6:.2f}M",
            *(str(result[name]) for name in ("num_videos", "num_views", "num_failed")),
            *(f"{result[name]:.1%}" for name in ("clip_top1", "video_top1", "video_top5")),
        )
    Console().print(table)


def run_bench(arguments: Sequence[str]) -> None:
    """Measure a part of the package against what it replaces."""
    parser = ToolParser(prog="videoctx bench", description=run_bench.__doc__)
    subcommands = parser.add_subcommands(required=True)

    non_local = ToolParser(description="Non-local affinities with the N × M matrix and without it.")
    non_local.add_argument("--inner_channels", type=PositiveInt, default=256, help="width of θ, φ and g")
    non_local.add_argument("--repeats", type=PositiveInt, default=3, help="timed runs; the median is given")
    non_local.add_argument("--json", type=Path | None, help="write the measurements to this file")
    subcommands.add_subcommand("nonlocal", non_local)

    options = parser.parse_args(list(arguments))
    if options.subcommand == "nonlocal":
        from videoctx.bench.non_local import bench_non_local, report

        options = options["nonlocal"]
        report(bench_non_local(inner_channels=options.inner_channels, repeats=options.repeats), options.json)


TOOLS: dict[str, Callable[[Sequence[str]], None]] = {
    "bench": run_bench,
    "complexity": run_complexity,
    "convert": run_convert,
    "results": run_results,
}


def speaks(error: BaseException) -> bool:
    """Whether an error was raised here for a person to read, and so needs no traceback; one out of a library does."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    ours = frame.f_globals["__name__"].partition(".")[0] == "videoctx"
    return (ours or isinstance(error, OSError)) and not os.environ.get("VIDEOCTX_TRACEBACK")


def main(arguments: Sequence[str] | None = None) -> None:
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    try:
        if arguments and arguments[0] in TOOLS:
            TOOLS[arguments[0]](arguments[1:])
        else:
            run_lightning(with_parts(arguments or ["--help"]))
    except SPEAKING_ERRORS as error:
        if not speaks(error):
            raise
        print(f"videoctx: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
