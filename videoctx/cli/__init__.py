"""The command line: `videoctx fit`, `videoctx classify`, …; `videoctx --help` lists all commands."""

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command.

    Args:
        arguments: the command and its arguments; by default those of the process.

    Raises:
        SystemExit: with status 2 after an error that is reported in one line, 130 after Ctrl-C, 143
            after SIGTERM.
    """
    if sys.platform == "win32":
        print(
            "videoctx: does not run on Windows; expected Linux, macOS or the Windows Subsystem for Linux",
            file=sys.stderr,
        )
        sys.exit(2)
    try:
        # Imported here, so that Ctrl-C during the imports is handled too, and because a decoding process starts by
        # importing the main program.
        from videoctx.interrupts import interrupts_end_with
        from videoctx.terminal import printable_output

        with interrupts_end_with("videoctx"), printable_output():
            from videoctx.cli.commands import run

            run(sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt:  # before and after the block
        print("videoctx: interrupted", file=sys.stderr)
        sys.exit(130)
