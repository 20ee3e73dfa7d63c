"""Loaded in the server that forks decoding processes, before it loads anything else.

A process that is forked while the main program ends finds its semaphores gone. Python would print a traceback of that.
"""

import sys
from types import TracebackType


def _report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if isinstance(error, FileNotFoundError) and error.filename is None:  # a semaphore, as it has no file name
        return
    sys.__excepthook__(kind, error, trace)


def be_quiet_at_the_end() -> None:
    """Print no traceback in a process that starts while the main program ends."""
    sys.excepthook = _report


if "multiprocessing.forkserver" in sys.modules and sys.argv[:1] == ["-c"]:  # how the server is started
    be_quiet_at_the_end()
