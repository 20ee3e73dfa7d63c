"""Ctrl-C while a module is imported.

The initialization of a compiled module cannot be interrupted: some abort the process when an exception is raised in it.
"""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

IMPORT_SYSTEM = ("importlib._bootstrap", "_frozen_importlib")  # its name after and before `importlib` is imported
INTERRUPTED = 130  # the exit status of a program that Ctrl-C ends: 128 + SIGINT


@contextmanager
def leave_when_import_is_interrupted(message: str) -> Iterator[None]:
    """Let Ctrl-C end the process with status 130 and a message if a module is being imported.

    At any other time Ctrl-C raises KeyboardInterrupt, as usual. A handler that somebody else has set is kept.
    """
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    ):
        yield
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if _is_importing(frame):
            print(message, file=sys.stderr, flush=True)
            os._exit(INTERRUPTED)
        signal.default_int_handler(number, frame)

    signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is handle:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_globals.get("__name__") in IMPORT_SYSTEM:
            return True
        frame = frame.f_back
    return False
