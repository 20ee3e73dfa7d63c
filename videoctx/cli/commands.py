"""The table of all commands, and how one is run.

A command imports what it needs after it has parsed its arguments, so that `--help` imports neither torch nor Lightning.
"""

import difflib
import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from importlib.metadata import version

from videoctx.cli.gpu_errors import unusable_gpu
from videoctx.cli.memory import what_to_change
from videoctx.terminal import is_reader_gone
from videoctx.user_error import UserError, error_line, is_out_of_memory, missing_library

# The commands by group, each with the line that `videoctx --help` prints. Lightning runs those of the first group;
# any other NAME is `run_NAME(arguments)` in `videoctx.cli.NAME`.
TRAINING = {
    "fit": "train a network",
    "validate": "evaluate a trained network on the validation split",
    "test": "evaluate a trained network on the test split, and write the scores of all views",
    "predict": "write the predictions for a manifest without labels",
}
GROUPS = {
    "Train and evaluate": TRAINING,
    "Use a trained network": {
        "classify": "predict the classes of videos, along a long video, or live",
        "features": "write the features of videos, of the last or any layer, to a file",
        "probe": "train a linear classifier on features, and test it",
        "attention": "show where a network looks, by attention maps or Grad-CAM",
        "receptive_field": "measure and draw how far a unit of a layer sees, for several networks",
        "app": "open a local page: drop a video, see its classes, when, and where a network looks",
        "export": "write a network with its preprocessing as an ONNX or torch.export file",
    },
    "Results": {
        "results": "list the results of tested runs",
        "score": "evaluate a tested run with fewer views",
        "compare": "compare two tested runs",
        "seeds": "mean and deviation of runs that differ only in their seed",
        "fuse": "average the scores of tested runs on the same videos, such as those of two networks",
        "pool": "merge tested runs on different videos, such as folds",
        "report": "write an HTML report on a tested run",
    },
    "Networks": {
        "complexity": "count parameters and multiply-adds",
        "convert": "convert a checkpoint of another project",
        "configs": "list the shipped configs",
    },
    "Measure": {
        "bench": "measure the speed of the data path, of networks and of Non-local affinities",
    },
}
COMMANDS = {name: line for group in GROUPS.values() for name, line in group.items()}

# A ValueError or ImportError that is raised in one of these is about the user's input or installation.
USER_ERROR_MODULES = ("videoctx", "lightning", "torch.optim")


def run(arguments: Sequence[str]) -> None:
    """Run a command. An error that the user can do something about is reported in one line, with exit status 2.

    With the environment variable VIDEOCTX_TRACEBACK set, every error has its traceback.
    """
    try:
        _dispatch(arguments)
    except BrokenPipeError as error:
        if is_reader_gone():
            raise
        print(f"videoctx: {error_line(error)}", file=sys.stderr)
        sys.exit(2)
    except (ValueError, OSError, ImportError, RuntimeError, MemoryError, AssertionError) as error:
        if os.environ.get("VIDEOCTX_TRACEBACK"):
            raise
        if is_out_of_memory(error):
            print(f"videoctx: {what_to_change(error, trains=arguments[0] in TRAINING)}", file=sys.stderr)
        elif unusable := unusable_gpu(error):
            print(f"videoctx: {unusable}", file=sys.stderr)
        elif missing := missing_library(error):
            print(f"videoctx: {missing}", file=sys.stderr)
        elif is_user_error(error):
            print(f"videoctx: {error_line(error)}", file=sys.stderr)
        else:
            raise
        sys.exit(2)


def _dispatch(arguments: Sequence[str]) -> None:
    name = arguments[0] if arguments else "--help"
    if name in ("-h", "--help"):
        print(overview())
    elif name == "--version":
        print(f"videoctx {version('videoctx')}")
    elif name in TRAINING:
        from videoctx.cli.training import run_lightning

        run_lightning(arguments)
    elif name in COMMANDS:
        getattr(importlib.import_module(f"videoctx.cli.{name}"), f"run_{name}")(arguments[1:])
    else:
        near = difflib.get_close_matches(name, COMMANDS)
        expected = f"perhaps {', '.join(near)}" if near else f"one of {', '.join(COMMANDS)}"
        raise ValueError(f"{name!r} is not a command; expected {expected}")


def overview() -> str:
    """Return the text of `videoctx --help`: all commands in groups, with one line each."""
    width = max(map(len, COMMANDS))
    lines = ["usage: videoctx COMMAND [options]", "", "Video action recognition with spatiotemporal context blocks."]
    for title, commands in GROUPS.items():
        lines += ["", f"{title}:", *(f"  {name:<{width}}  {line}" for name, line in commands.items())]
    lines += ["", "`videoctx COMMAND --help` lists the options of a command; `videoctx --version` prints the version."]
    return "\n".join(lines)


def is_user_error(error: BaseException) -> bool:
    """Return whether an error is about the user's input, and so needs no traceback."""
    if isinstance(error, UserError | OSError):
        return True
    module = ""
    for frame, _ in traceback.walk_tb(error.__traceback__):  # the last one; generated code may have no module name
        module = f"{frame.f_globals.get('__name__') or ''}."
    in_known_module = module.startswith(tuple(f"{name}." for name in USER_ERROR_MODULES))
    return in_known_module and isinstance(error, ValueError | ImportError)
