"""The command line."""

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    try:
        # Takes seconds, in which one may interrupt. And a decoding process begins by importing the program: not this.
        from videoctx.cli.commands import run

        run(sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt:  # Lightning's commands, once they run, end with the same status
        print("videoctx: interrupted", file=sys.stderr)
        sys.exit(1)
