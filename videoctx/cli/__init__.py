"""The command line: Lightning's fit, validate, test and predict, and a table of our own tools."""

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
    "report",
    "results",
    "score",
    "seeds",
)

# Errors that may speak to the person at the terminal.
SPEAKING_ERRORS = (ValueError, OSError, VideoDecodeError, TooManyFailuresError, StorageError)


def speaks(error: BaseException) -> bool:
    """Whether an error was raised here for a person to read, and so needs no traceback; one out of a library does."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    ours = frame.f_globals["__name__"].partition(".")[0] == "videoctx"
    return (ours or isinstance(error, OSError)) and not os.environ.get("VIDEOCTX_TRACEBACK")


def main(arguments: Sequence[str] | None = None) -> None:
    arguments = sys.argv[1:] if arguments is None else list(arguments)
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
    except SPEAKING_ERRORS as error:
        if not speaks(error):
            raise
        print(f"videoctx: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    except (RuntimeError, MemoryError) as error:
        if os.environ.get("VIDEOCTX_TRACEBACK") or not (is_out_of_memory(error) or is_lost_connection(error)):
            raise
        if is_out_of_memory(error):  # a lost connection has been said, with the rank
            print(f"videoctx: {what_to_change(error)}", file=sys.stderr)
        sys.exit(2)
