"""Ctrl-C ends a program with one line and the exit status 130, whatever it does at that moment.

Python raises KeyboardInterrupt wherever the program is. Some places cannot take it: the initialization of a compiled
module may abort the process, a callback of a library makes another error of it, a destructor prints and forgets it, and
a second one in the middle of cleaning up ends in a traceback.
"""

import os
import signal
import sys
import threading
from _thread import interrupt_main
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

IMPORT_SYSTEM = ("importlib._bootstrap", "_frozen_importlib")  # its name after and before `importlib` is imported
INTERRUPTED = 130  # the exit status of a program that Ctrl-C ends: 128 + SIGINT
AGAIN_SECONDS = 0.01  # after which an interrupt is repeated that a destructor has swallowed


class _Interrupts:
    """What happens on Ctrl-C while a program runs."""

    def __init__(self, message: str) -> None:
        self.message = message
        self.received = False
        self.hook_before = sys.unraisablehook

    def handle(self, number: int, frame: FrameType | None) -> None:
        if self.received or _is_importing(frame):
            os.write(2, f"{self.message}\n".encode(errors="replace"))  # `print` may be what is interrupted
            os._exit(INTERRUPTED)
        self.received = True
        signal.default_int_handler(number, frame)

    def unraisable(self, ignored: "sys.UnraisableHookArgs") -> None:
        if not issubclass(ignored.exc_type, KeyboardInterrupt):
            self.hook_before(ignored)
            return
        self.received = False
        threading.Timer(AGAIN_SECONDS, interrupt_main).start()


@contextmanager
def interrupts_end_with(message: str) -> Iterator[None]:
    """Raise KeyboardInterrupt on the first Ctrl-C, for the caller to print the message and end with status 130.

    While a module is imported, and on a second Ctrl-C, the process ends at once, with the message and that status. An
    error that follows from an interrupt becomes a KeyboardInterrupt. A handler that somebody else has set is kept.
    """
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    ):
        yield
        return
    interrupts = _Interrupts(message)
    signal.signal(signal.SIGINT, interrupts.handle)
    sys.unraisablehook = interrupts.unraisable
    try:
        yield
    except Exception as error:
        if interrupts.received:
            raise KeyboardInterrupt from error
        raise
    finally:
        sys.unraisablehook = interrupts.hook_before
        # Once interrupted, the process is about to end, and another Ctrl-C must not print a traceback.
        if not interrupts.received and signal.getsignal(signal.SIGINT) == interrupts.handle:
            signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def without_interrupts() -> Iterator[None]:
    """Start processes and threads that never receive Ctrl-C; here it is received when the block ends.

    Otherwise a worker that is still importing modules would print a traceback.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # it would unblock the signal when it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_globals.get("__name__") in IMPORT_SYSTEM:
            return True
        frame = frame.f_back
    return False
