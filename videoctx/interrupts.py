"""Ctrl-C, SIGTERM and SIGHUP end a program with one line and the exit status 130, 143 or 129, whatever it does then.

Python raises KeyboardInterrupt wherever the program is. Some places cannot take it: the initialization of a compiled
module may abort the process, a callback of a library makes another error of it, a destructor prints and forgets it, and
a second one in the middle of cleaning up ends in a traceback. SIGTERM, and SIGHUP of a closed terminal, which would end
the process where it is, with temporary files left behind, are treated in the same way. `nohup` keeps its effect.
"""

import os
import signal
import sys
import threading
from _thread import interrupt_main
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from videoctx.atomic_write import exit_at_once

IMPORT_SYSTEM = ("importlib._bootstrap", "_frozen_importlib")  # its name after and before `importlib` is imported
INTERRUPTED = 130  # the exit status of a program that Ctrl-C ends: 128 + SIGINT
TERMINATED = 143  # the same of SIGTERM
HUNG_UP = 129  # the same of SIGHUP
WORDS = {"SIGINT": "interrupted", "SIGTERM": "terminated", "SIGHUP": "hung up"}
AGAIN_SECONDS = 0.01  # after which an interrupt is repeated that a destructor has swallowed


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP was received. What handles Ctrl-C handles it too. The message is the signal's name."""


class _Signals:
    """What happens on Ctrl-C, SIGTERM and SIGHUP while a program runs."""

    def __init__(self, program: str, what_is_left: str) -> None:
        self.program, self.what_is_left = program, what_is_left
        self.received: signal.Signals | None = None  # the first one
        self.ends = False  # the next one ends the process at once
        self.reported = False
        self.hook_before = sys.unraisablehook

    @property
    def line(self) -> str:
        return f"{self.program}: {WORDS[(self.received or signal.SIGINT).name]}{self.what_is_left}"

    @property
    def status(self) -> int:
        return 128 + (self.received or signal.SIGINT)

    def handle(self, number: int, frame: FrameType | None) -> None:
        self.received = self.received or signal.Signals(number)
        if self.ends or _is_importing(frame):
            if not self.reported:
                with suppress(OSError):  # the terminal is closed
                    os.write(2, f"{self.line}\n".encode(errors="replace"))  # `print` may be what is interrupted
            exit_at_once(self.status)
        self.ends = True
        raise KeyboardInterrupt if number == signal.SIGINT else Terminated(signal.Signals(number).name)

    def unraisable(self, ignored: "sys.UnraisableHookArgs") -> None:
        if not issubclass(ignored.exc_type, KeyboardInterrupt):
            self.hook_before(ignored)
            return
        self.ends = False
        number = (self.received or signal.SIGINT) if issubclass(ignored.exc_type, Terminated) else signal.SIGINT
        threading.Timer(AGAIN_SECONDS, interrupt_main, [number]).start()


_current: _Signals | None = None


@contextmanager
def interrupts_end_with(program: str, what_is_left: str = "") -> Iterator[None]:
    """End the process with one line and status 130 on the first Ctrl-C, with 143 on SIGTERM, and with 129 on SIGHUP.

    KeyboardInterrupt is raised inside the block, so that it can clean up. While a module is imported, and on a second
    signal, the process ends at once, with the same line and status. An error that follows from a signal is not shown. A
    handler that somebody else has set is kept.

    Args:
        program: The name before "interrupted" or "terminated".
        what_is_left: What follows these words.

    Raises:
        SystemExit: After the line has been printed.
    """
    global _current
    signals = _Signals(program, what_is_left)
    handled: dict[signal.Signals, Any] = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    if hasattr(signal, "SIGHUP"):
        handled[signal.SIGHUP] = signal.SIG_DFL
    if threading.current_thread() is not threading.main_thread():
        handled = {}
    handled = {number: before for number, before in handled.items() if signal.getsignal(number) is before}
    for number in handled:
        signal.signal(number, signals.handle)
    outer, _current = _current, signals
    sys.unraisablehook = signals.unraisable
    try:
        yield
    except BaseException as error:
        is_signal = isinstance(error, KeyboardInterrupt)
        if not is_signal and not (isinstance(error, Exception) and signals.received):
            raise
        signals.reported = True
        with suppress(OSError):  # the terminal is closed
            print(signals.line, file=sys.stderr)
        sys.exit(signals.status)
    finally:
        _current = outer
        sys.unraisablehook = signals.hook_before
        # After a signal the process is about to end, and another one must not print a traceback.
        for number, before in handled.items():
            if not signals.received and signal.getsignal(number) == signals.handle:
                signal.signal(number, before)


def restore_sigterm() -> None:
    """Let SIGTERM end the program again, after a library has set its own handler."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _current.handle if _current else signal.SIG_DFL)


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
    with _interrupt_kept():
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _interrupt_kept() -> Iterator[None]:
    """Keep a Ctrl-C until the block ends.

    The mask of the main thread does not: the system gives the signal to another thread, such as one of a library, and
    Python calls the handler in the main thread.
    """
    handler = signal.getsignal(signal.SIGINT)
    if handler is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    received = []
    signal.signal(signal.SIGINT, lambda number, _: received.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if received:
            signal.raise_signal(signal.SIGINT)


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_globals.get("__name__") in IMPORT_SYSTEM:
            return True
        frame = frame.f_back
    return False
