"""Run a command: parse its arguments, print an error as one line, and return the exit status."""

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import NoReturn

from videoctx.atomic_write import exit_at_once
from videoctx.interrupts import HUNG_UP, INTERRUPTED, TERMINATED, interrupts_end_with
from videoctx.terminal import CLOSED_PIPE, printable, printable_output
from videoctx.user_error import UserError, error_line, missing_library

Command = Callable[..., object]


def run_command(
    name: str,
    command: Command | Mapping[str, Command],
    arguments: Sequence[str] | None = None,
    *,
    example: str | None = None,
    when_interrupted: str = "run it again to do the rest",
) -> int:
    """Run `python -m data_prep.NAME` and return its exit status.

    The exit status is what the command returns if that is an integer, and otherwise 0; 2 if it raised an error that is
    meant for the user, which is printed to the error stream as one line; 130 after Ctrl-C, 143 after SIGTERM.

    Args:
        command: the function to run, or one function per subcommand. Its signature and docstring define the options.
        arguments: the command line; None: that of this process.
        example: a command line shown at the end of the help.
        when_interrupted: what is printed after "interrupted; ".
    """
    try:
        with interrupts_end_with(name, f"; {when_interrupted}"), printable_output():
            from jsonargparse import auto_cli  # imported here, so that Ctrl-C during the import is handled too

            from data_prep.command_line.flag_parser import FlagParser

            status = auto_cli(
                dict(command) if isinstance(command, Mapping) else command,
                args=None if arguments is None else list(arguments),
                parser_class=FlagParser,
                prog=f"python -m data_prep.{name}",
                epilog=example and f"example: python -m data_prep.{name} {example}",
            )
    except KeyboardInterrupt:  # before and after the block
        print(f"{name}: interrupted; {when_interrupted}", file=sys.stderr)
        return INTERRUPTED
    except SystemExit as stop:
        if stop.code in (CLOSED_PIPE, INTERRUPTED, TERMINATED, HUNG_UP):
            return int(stop.code)
        raise
    except (OSError, ValueError, UserError) as error:
        print(f"{name}: {printable(error_line(error))}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        if (missing := missing_library(error)) is None:
            raise
        print(f"{name}: {missing}", file=sys.stderr)
        return 2
    return status if isinstance(status, int) else 0


def leave(status: int) -> NoReturn:
    """End the process at once.

    Threads that wait for a server or write a file are not waited for, and another Ctrl-C has no effect on the exit
    status. Every file on the disk is complete at any time, because files are written atomically.
    """
    with suppress(BrokenPipeError):
        sys.stdout.flush()
        sys.stderr.flush()
    exit_at_once(status)
