"""Another project's loader, in a process of its own, as its users run it."""

import multiprocessing
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from videoctx.interrupts import without_interrupts

Epoch = Callable[[], int]  # reads all clips once, and returns their number
PATIENCE_SECONDS = 10  # until a process has ended
IMPORT = """
try:
    import {}
except Exception as error:
    raise SystemExit(str(error).strip().partition("\\n")[0] or type(error).__name__) from None
"""


def why_missing(module: str) -> str | None:
    """Return why a module cannot be imported, which another process tries. None: it can."""
    tried = subprocess.run([sys.executable, "-c", IMPORT.format(module)], capture_output=True, text=True, check=False)
    return None if tried.returncode == 0 else (tried.stderr.splitlines() or [f"exit status {tried.returncode}"])[-1]


def end(process: BaseProcess) -> None:
    """Wait for a process that has been told to end, and kill it if it does not."""
    process.join(PATIENCE_SECONDS)
    if process.is_alive():  # in the middle of an epoch, or its library's threads do not end
        process.kill()
        process.join()


class PeerProcess:
    """A process that reads the same clips in every epoch, until `close`.

    Args:
        name: Name for messages.
        make_epoch: Returns the loader's epoch. It is called in the process, which alone loads its libraries.
        num_clips: Number of clips of an epoch.
    """

    def __init__(self, name: str, make_epoch: Callable[[], Epoch], *, num_clips: int) -> None:
        self._name, self._num_clips = name, num_clips
        context = multiprocessing.get_context("spawn")
        self._connection, child_end = context.Pipe()
        self._process = context.Process(target=_serve, args=(child_end, make_epoch))
        with without_interrupts():
            self._process.start()
        child_end.close()

    def epoch(self) -> float:
        """Read every clip once, and return the seconds."""
        try:
            self._connection.send(None)
            seconds, num_clips = self._connection.recv()
        except (EOFError, OSError):
            raise RuntimeError(f"the process of {self._name} has ended; its error is above") from None
        if num_clips != self._num_clips:
            raise RuntimeError(f"{self._name} read {num_clips} of {self._num_clips} clips")
        return seconds

    def close(self) -> None:
        """End the process."""
        self._connection.close()
        end(self._process)


def _serve(connection: Connection, make_epoch: Callable[[], Epoch]) -> None:
    epoch = make_epoch()
    while True:
        try:
            connection.recv()
        except EOFError:  # the other end was closed
            return
        start = time.perf_counter()
        num_clips = epoch()
        connection.send((time.perf_counter() - start, num_clips))
