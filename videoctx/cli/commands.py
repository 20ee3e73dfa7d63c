"""Lightning's fit, validate, test and predict, and a table of our own tools."""

import importlib
import os
import sys
import traceback
from collections.abc import Sequence

from videoctx.cli.memory import is_out_of_memory, what_to_change
from videoctx.cli.parts import with_parts
from videoctx.data.containers import VideoDecodeError
from videoctx.data.datamodule import TooManyFailuresError
from videoctx.data.remote import StorageError
from videoctx.tasks.lost_rank import is_lost_connection

# each a module here with `run_NAME(arguments)`
TOOLS = (
    "attention",
    "bench",
    "classify",
    "compare",
    "complexity",
    "convert",
    "export",
    "pool",
    "report",
    "results",
    "score",
    "seeds",
)

# Errors that may speak to the person at the terminal.
USER_ERRORS = (ValueError, OSError, VideoDecodeError, TooManyFailuresError, StorageError)

# Modules whose ValueError says in words what is wrong with a config.
USER_ERROR_MODULES = ("videoctx", "lightning", "torch.optim")


def is_user_error(error: BaseException) -> bool:
    """Whether an error was raised for a person to read, and so needs no traceback; most out of a library do."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    for_people = f"{frame.f_globals['__name__']}.".startswith(tuple(f"{module}." for module in USER_ERROR_MODULES))
    return for_people or isinstance(error, OSError)


def run(arguments: Sequence[str]) -> None:
    """Run a command; what goes wrong for a reason that a person can do something about is one line."""
    try:
        if arguments and arguments[0] in TOOLS:
            tool = arguments[0]
            getattr(importlib.import_module(f"videoctx.cli.{tool}"), f"run_{tool}")(arguments[1:])
        else:
            from videoctx.cli.training import run_lightning

            run_lightning(
                with_parts(arguments or ["--help"]),
                description=f"{__doc__} Tools: {', '.join(TOOLS)}; each has --help.",
            )
    except (*USER_ERRORS, RuntimeError, MemoryError) as error:
        if os.environ.get("VIDEOCTX_TRACEBACK"):
            raise
        if is_out_of_memory(error):
            print(f"videoctx: {what_to_change(error)}", file=sys.stderr)
        elif isinstance(error, USER_ERRORS) and is_user_error(error):
            print(f"videoctx: {' '.join(str(error).split())}", file=sys.stderr)
        elif not is_lost_connection(error):  # which has been said, with the rank
            raise
        sys.exit(2)
