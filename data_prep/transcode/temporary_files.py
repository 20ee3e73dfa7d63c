"""Temporary files that are locked while they are written, so that those of a dead writer can be recognized and removed.

`videoctx.atomic_write` is for files that are written in a moment. A video takes minutes, is read back under its
temporary name, and several runs write to the same folder: what a killed run has left must not stay there forever, and
what another run is writing must not be removed.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX, SUFFIX = ".transcode-", ".partial"
STALE_SECONDS_WITHOUT_LOCKS = 24 * 3600  # where files cannot be locked, old temporary files are stale


@contextmanager
def temporary_file(folder: Path) -> Iterator[tuple[Path, int]]:
    """Yield the path of an empty, locked file and its descriptor; delete the file at the end if it is still there."""
    while True:
        path = folder / f"{PREFIX}{os.urandom(8).hex()}{SUFFIX}"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        with suppress(OSError):  # not every file system has locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            break
        os.close(descriptor)  # another run has removed it as stale before it was locked
    try:
        yield path, descriptor
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def remove_stale(output: Path) -> None:
    """Remove the temporary files in `output` that nobody writes any more."""
    for folder, _, names in os.walk(output):
        for name in names:
            if name.startswith(PREFIX) and name.endswith(SUFFIX):
                with suppress(OSError):
                    _remove_unless_locked(os.path.join(folder, name))


def _remove_unless_locked(path: str) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_stale = True
    except BlockingIOError:
        is_stale = False
    except OSError:
        is_stale = time.time() - os.fstat(descriptor).st_mtime > STALE_SECONDS_WITHOUT_LOCKS
    try:
        if is_stale:
            os.unlink(path)
    finally:
        os.close(descriptor)
