"""A cache of downloaded files with a maximum size, shared by the processes and threads of one computer.

A file is downloaded once, also if several processes request it at the same time, and stays while it is open. The least
recently used files are removed to make room for others.

    entries/NAME     complete files; their total size and that of partial files never exceeds the maximum
    partial/NAME     files that are being downloaded
    temporary/…      files of one use, such as those without room in the cache; removed at the end of the use
    turns/…          lock files: a process that downloads a name holds the lock of one of these
    total            number of bytes in entries and partial

All of this relies on `flock`: a reader of a file holds a shared lock on it, and a process that writes or removes it
holds an exclusive lock. The system releases the locks of a dead process, so unlocked files in `partial` or `temporary`
are leftovers.

Only this user may write to the folders (`videoctx.private_folder`). Links in them are never followed: what
is no ordinary file of this user is removed, and its target stays as it is.

Why not a library: diskcache bounds the bytes but removed a file that was open, and the caches of fsspec neither bound
the bytes nor keep an open file.
"""

import os
import stat
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from uuid import uuid4

from videoctx.private_folder import make_cache_root, make_private

try:
    import fcntl
except ImportError as error:
    raise ImportError(
        "videoctx.data needs fcntl, which Windows lacks; expected Linux, macOS or the Windows Subsystem for Linux"
    ) from error

EVICTED_AT_ONCE = 1 / 20  # fraction of the maximum, because making room lists all entries
NUM_TURNS = 256  # lock files; two names that share one wait for each other


class Source(Protocol):
    """A source of a file."""

    def size(self) -> int | None:
        """Return the size of the file in bytes, if it is known. Room is made before the file is written."""
        ...

    def write(self, path: Path) -> None:
        """Write the file to `path`, which exists."""
        ...


@dataclass(slots=True)
class _LockedFile:
    """An open file with a lock on it."""

    path: Path
    descriptor: int
    process: int = field(default_factory=os.getpid)

    def size(self) -> int:
        return os.fstat(self.descriptor).st_size

    def in_place(self) -> bool:
        """Return whether the path still leads to this file."""
        try:
            return os.path.samestat(os.fstat(self.descriptor), self.path.lstat())
        except FileNotFoundError:
            return False

    def release(self) -> None:
        # A forked process has the descriptor too, and with it the lock. So closing does not release the lock here, and
        # the forked process must not release it.
        if self.process == os.getpid():
            fcntl.flock(self.descriptor, fcntl.LOCK_UN)
        os.close(self.descriptor)


def _create_and_lock(path: Path) -> _LockedFile:
    """Lock a file exclusively, after creating it if it is missing."""
    locked = _lock(path, exclusive=True, create=True)
    assert locked is not None, "a file that is created is there"
    return locked


def _lock(path: Path, *, exclusive: bool, create: bool = False, wait: bool = True) -> _LockedFile | None:
    """Lock a file. Return None if it is missing, or if another process has locked it and `wait` is false."""
    # A pipe would be waited for without O_NONBLOCK.
    flags = (os.O_RDWR if exclusive else os.O_RDONLY) | os.O_NOFOLLOW | os.O_NONBLOCK
    operation = (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | (0 if wait else fcntl.LOCK_NB)
    while True:
        _remove_unless_own_file(path)
        try:
            held = _LockedFile(path, os.open(path, flags | os.O_CREAT if create else flags, 0o600))
        except FileNotFoundError:
            if create:
                raise
            return None
        try:
            fcntl.flock(held.descriptor, operation)
        except BlockingIOError:
            os.close(held.descriptor)
            return None
        except OSError as error:
            os.close(held.descriptor)
            raise OSError(error.errno, f"cannot lock ({error.strerror}); expected a local disk", str(path)) from error
        except BaseException:
            os.close(held.descriptor)
            raise
        if held.in_place():  # or else it was moved or removed before it was locked
            return held
        held.release()


class FileCache:
    """The cache. An instance may be used by other threads and passed to other processes.

    Args:
        folder: Folder on a local disk, as locks may not work on a network file system.
        max_bytes: Maximum total size of the files, without those in `temporary`.

    Raises:
        CacheFolderError: Another user can write to the folder.
        OSError: The folder cannot be made or written.
    """

    def __init__(self, folder: Path, *, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._entries, self._partial, self._temporary, self._turns = (
            folder / name for name in ("entries", "partial", "temporary", "turns")
        )
        self._total = folder / "total"
        make_cache_root(folder)
        for part in (self._entries, self._partial, self._temporary, self._turns):
            make_private(part)
        with self._locked_total() as total:
            for path in (*self._partial.iterdir(), *self._temporary.iterdir()):
                _remove(path)  # left by a dead process
            total.bytes = self._count()
            self._evict(total, total.bytes - max_bytes)

    @contextmanager
    def local_copy(self, name: str, source: Source) -> Iterator[Path]:
        """Yield the file of this name, downloaded if it is not there yet. It does not change inside the `with`."""
        held = _lock(self._entries / name, exclusive=False) or self._download(name, source)
        try:
            # The access time is the last use. The modification time stays, as the content is the same.
            os.utime(held.descriptor, ns=(time.time_ns(), os.fstat(held.descriptor).st_mtime_ns))
            yield held.path
        finally:
            self._end(held)

    @contextmanager
    def temporary_file(self, name: str) -> Iterator[Path]:
        """Yield an empty file that is removed at the end of the `with`. Its name ends with `name`."""
        held = _create_and_lock(self._temporary / f"{uuid4().hex}-{name}")
        try:
            yield held.path
        finally:
            self._end(held)

    def _end(self, held: _LockedFile) -> None:
        if held.path.parent == self._temporary and held.process == os.getpid():
            held.path.unlink(missing_ok=True)
        held.release()

    def _download(self, name: str, source: Source) -> _LockedFile:
        turn = _create_and_lock(self._turns / f"{zlib.crc32(name.encode()) % NUM_TURNS:02x}")
        try:
            while True:
                present = _lock(self._entries / name, exclusive=False)
                if present:  # another process has downloaded it meanwhile
                    return present
                held = _create_and_lock(self._partial / name)
                try:
                    self._fill(held, source)
                    fcntl.flock(held.descriptor, fcntl.LOCK_SH)
                    if held.in_place():
                        return held
                except BaseException:
                    held.release()
                    raise
                held.release()  # it was evicted before it was locked again
        finally:
            turn.release()

    def _fill(self, partial: _LockedFile, source: Source) -> None:
        """Download into a partial file, and move it to the entries, or to the temporary files if there is no room."""
        name, reserved = partial.path.name, 0
        try:
            os.truncate(partial.path, 0)  # a process that died here may have left content
            size = source.size()
            if size is None:
                source.write(partial.path)
                size = partial.size()
                kept = self._make_room(partial, size)
            else:
                kept = self._make_room(partial, size)
                reserved = size if kept else 0
                if not kept:  # temporary files do not count
                    partial.path = partial.path.rename(self._temporary / f"{uuid4().hex}-{name}")
                source.write(partial.path)
            reserved = size if kept else 0
            os.fsync(partial.descriptor)
            target = self._entries / name if kept else self._temporary / f"{uuid4().hex}-{name}"
            partial.path = partial.path.rename(target)
        except BaseException:
            with self._locked_total() as total:
                partial.path.unlink(missing_ok=True)
                total.bytes -= reserved
            raise

    def _make_room(self, partial: _LockedFile, size: int) -> bool:
        """Reserve room for a partial file. Return False if there is none, because too many files are in use."""
        if size > self.max_bytes:
            return False
        with self._locked_total() as total:
            excess = total.bytes + size - self.max_bytes
            if excess > 0:
                total.bytes = self._count() - partial.size()
                excess = total.bytes + size - self.max_bytes
                self._evict(total, max(excess, int(self.max_bytes * EVICTED_AT_ONCE)))
            if total.bytes + size > self.max_bytes:
                return False
            total.bytes += size
            total.save()  # first, so that a process that dies here has reserved too much rather than too little
            os.truncate(partial.path, size)  # so that its full size is counted
            return True

    def _count(self) -> int:
        """Return the bytes in entries and partial files. A file that moves meanwhile is counted once."""
        statuses = [_status(path) for part in (self._partial, self._entries) for path in part.iterdir()]
        return sum({status.st_ino: status.st_size for status in statuses if status}.values())

    def _evict(self, total: "_Total", num_bytes: int) -> None:
        """Remove the least recently used entries that are not in use, until this number of bytes is free."""
        if num_bytes <= 0:
            return
        statuses = {path: status for path in self._entries.iterdir() if (status := _status(path))}
        for path in sorted(statuses, key=lambda path: statuses[path].st_atime_ns):
            if num_bytes <= 0:
                break
            if _remove(path):
                num_bytes -= statuses[path].st_size
                total.bytes -= statuses[path].st_size

    @contextmanager
    def _locked_total(self) -> Iterator["_Total"]:
        held = _create_and_lock(self._total)
        try:
            text = os.pread(held.descriptor, 20, 0).strip()
            total = _Total(held, int(text) if text.isdigit() else 0)  # it is counted again when a process starts
            yield total
            total.save()
        finally:
            held.release()


@dataclass(slots=True)
class _Total:
    file: _LockedFile
    bytes: int

    def save(self) -> None:
        os.pwrite(self.file.descriptor, b"%20d" % self.bytes, 0)


def _remove_unless_own_file(path: Path) -> None:
    """Remove what is no ordinary file of this user with one name: a link, a pipe, or another user's file.

    Raises:
        OSError: It is a folder.
    """
    try:
        status = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_nlink > 1:
        path.unlink(missing_ok=True)


def _remove(path: Path) -> bool:
    """Remove a file that is not locked. Return whether it was removed."""
    held = _lock(path, exclusive=True, wait=False)
    if held is None:
        return False
    path.unlink()
    held.release()
    return True


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except FileNotFoundError:
        return None
