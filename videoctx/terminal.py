"""What is printed: no control characters of a file or a class name, any encoding, and quiet when the reader is gone.

A class name of a checkpoint or a file name may contain an escape sequence, which would control the terminal, or a
character that reverses the direction of the text. They are printed as Python escapes, such as `\\x1b`.
"""

import io
import os
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

CLOSED_PIPE = 141  # the exit status of a program whose reader is gone: 128 + SIGPIPE
# Controls but for line feed and tab, and those of direction and line; surrogates stand for bytes that are not UTF-8.
LINE_FEED_AND_TAB = "\n\t"
CONTROLS = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufff9-\ufffb]"
)
DRAWN_BY = ("rich", "tqdm")  # libraries that move the cursor, and are given text that is made printable before


def printable(text: str, *, keep: str = "") -> str:
    r"""Return the text with escapes for the characters that would control a terminal.

    Args:
        keep: the characters that stay.

    >>> printable("two\nlines")
    'two\\nlines'
    """
    return CONTROLS.sub(lambda found: found[0] if found[0] in keep else _escape(found[0]), text)


def _escape(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode()


class _Printable(io.TextIOBase):
    """A stream that makes what is printed to it printable."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        caller = sys._getframe(1).f_globals.get("__name__", "")
        drawn = caller.partition(".")[0] in DRAWN_BY
        self._stream.write(text if drawn else printable(text, keep=LINE_FEED_AND_TAB))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:  # type: ignore[override]
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        self._stream.flush()

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()

    def close(self) -> None:
        """The stream is not this object's to close."""

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._stream.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        return self._stream.errors

    @property
    def buffer(self) -> Any:
        return self._stream.buffer


@contextmanager
def printable_output() -> Iterator[None]:
    """Make everything printable that a command prints, and end quietly with status 141 when its reader is gone."""
    before = sys.stdout, sys.stderr
    for stream in before:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # for an encoding such as ASCII
    sys.stdout, sys.stderr = _Printable(sys.stdout), _Printable(sys.stderr)
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        if not is_reader_gone():
            raise
        _end_quietly()
    except SystemExit as stop:
        if isinstance(stop.__context__, BrokenPipeError):  # rich ends so
            _end_quietly()
        raise
    finally:
        sys.stdout, sys.stderr = before


def is_reader_gone() -> bool:
    """Return whether nobody can read what this process prints any more."""
    import select

    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
        return any(event & select.POLLERR for _, event in poll.poll(0))
    except (OSError, ValueError):
        return False


def _end_quietly() -> None:
    """Let nothing be written to the closed pipe at the end, which Python would report."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(CLOSED_PIPE)
