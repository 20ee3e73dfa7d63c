"""Warnings of a command."""

import sys
from collections.abc import Sequence


def warn(text: str, details: Sequence[str] = (), most: int | None = None) -> None:
    """Print a warning to the error stream, followed by the details, one per line.

    Args:
        most: print only the first `most` details, and how many there are in addition.
    """
    lines = [f"warning: {text}", *details[:most]]
    if most is not None and len(details) > most:
        lines.append(f"and {len(details) - most} more")
    print("\n  ".join(lines), file=sys.stderr)
