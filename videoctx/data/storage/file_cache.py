"""A folder of downloaded files, bounded in bytes, that the processes and threads of one computer share.

A file is downloaded once, whoever asks for it at the same time, and stays while it is leased; the least recently
leased files make room for others.

    entries/NAME     complete files; together with what is being downloaded never over the bound
    partial/NAME     being downloaded
    leases/…         files of one lease, such as those for which there was no room; gone when it ends
    turns/…          who downloads a name holds the lock of one of these
    total            bytes in entries and partial

Everything rests on `flock`: who reads a file holds a shared lock on it, who writes or removes it an exclusive
one. The system lets go of a dead process's locks, so what lies unlocked in `partial` or `leases` is a leftover.
"""

import os
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from uuid import uuid4

try:
    import fcntl
except ImportError as error:
    raise ImportError(
        "videoctx.data needs fcntl, which Windows lacks; expected Linux, macOS or the Windows Subsystem for Linux"
    ) from error

EVICTED_AT_ONCE = 1 / 20  # of the bound: making room takes a look at all entries
NUM_TURNS = 256  # files of locks; two names that share one wait for each other


class Source(Protocol):
    """Where a file comes from."""

    def size(self) -> int | None:
        """Bytes of the file, if known; room is made for it before it is written."""
        ...

    def write(self, path: Path) -> None:
        """Write the whole file to `path`, which exists."""
        ...


@dataclass(slots=True)
class _Hold:
    """An open file with a lock on it."""

    path: Path
    descriptor: int
    process: int = field(default_factory=os.getpid)

    def size(self) -> int:
        return os.fstat(self.descriptor).st_size

    def in_place(self) -> bool:
        """Whether the path still leads to this file."""
        try:
            return os.path.samestat(os.fstat(self.descriptor), self.path.stat())
        except FileNotFoundError:
            return False

    def release(self) -> None:
        # A process forked meanwhile has the descriptor too, and with it the lock: so closing is not enough to end
        # it here, and it is not for the other one to end.
        if self.process == os.getpid():
            fcntl.flock(self.descriptor, fcntl.LOCK_UN)
        os.close(self.descriptor)


def _hold(path: Path, *, exclusive: bool, create: bool = False, wait: bool = True) -> _Hold | None:
    """Lock a file; nothing where there is none, or where another has it and `wait` is false."""
    flags = os.O_RDWR if exclusive else os.O_RDONLY
    operation = (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | (0 if wait else fcntl.LOCK_NB)
    while True:
        try:
            held = _Hold(path, os.open(path, flags | os.O_CREAT if create else flags, 0o666))
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
            raise OSError(
                error.errno, f"cannot lock ({error.strerror}); expected a disk of this computer", str(path)
            ) from error
        except BaseException:
            os.close(held.descriptor)
            raise
        if held.in_place():  # else it was moved or removed before the lock came
            return held
        held.release()


class FileCache:
    """The folder; an instance may go to other threads and processes.

    Args:
        folder: on a disk of this computer; a network's file system may not keep locks.
        max_bytes: of all files together, save those of `leases`.
    """

    def __init__(self, folder: Path, *, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._entries, self._partial, self._leases, self._turns = (
            folder / name for name in ("entries", "partial", "leases", "turns")
        )
        self._total = folder / "total"
        for part in (self._entries, self._partial, self._leases, self._turns):
            part.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._locked_total() as total:
            for path in (*self._partial.iterdir(), *self._leases.iterdir()):
                _remove(path)  # left by a dead process
            total.bytes = self._count()
            self._evict(total, total.bytes - max_bytes)

    @contextmanager
    def local_copy(self, name: str, source: Source) -> Iterator[Path]:
        """The file of that name, downloaded where it is not there yet; it stays as it is inside the `with`."""
        held = _hold(self._entries / name, exclusive=False) or self._download(name, source)
        try:
            # The last use is the time of access; that of change tells others that the content is the same.
            os.utime(held.descriptor, ns=(time.time_ns(), os.fstat(held.descriptor).st_mtime_ns))
            yield held.path
        finally:
            self._end(held)

    @contextmanager
    def lease_new(self, name: str) -> Iterator[Path]:
        """An empty file to write, for this lease only; its name ends with `name`."""
        held = _hold(self._leases / f"{uuid4().hex}-{name}", exclusive=True, create=True)
        try:
            yield held.path
        finally:
            self._end(held)

    def _end(self, held: _Hold) -> None:
        if held.path.parent == self._leases and held.process == os.getpid():
            held.path.unlink(missing_ok=True)
        held.release()

    def _download(self, name: str, source: Source) -> _Hold:
        turn = _hold(self._turns / f"{zlib.crc32(name.encode()) % NUM_TURNS:02x}", exclusive=True, create=True)
        try:
            while True:
                present = _hold(self._entries / name, exclusive=False)
                if present:  # since another has downloaded it meanwhile
                    return present
                held = _hold(self._partial / name, exclusive=True, create=True)
                try:
                    self._fill(held, source)
                    fcntl.flock(held.descriptor, fcntl.LOCK_SH)
                    if held.in_place():
                        return held
                except BaseException:
                    held.release()
                    raise
                held.release()  # evicted as soon as it was there
        finally:
            turn.release()

    def _fill(self, partial: _Hold, source: Source) -> None:
        """Download into a partial file, and move it to the entries, or to the leases where there is no room."""
        name, reserved = partial.path.name, 0
        try:
            os.truncate(partial.path, 0)  # a process that died here may have left something
            size = source.size()
            if size is None:
                source.write(partial.path)
                size = partial.size()
                kept = self._make_room(partial, size)
            else:
                kept = self._make_room(partial, size)
                reserved = size if kept else 0
                if not kept:  # what is leased does not count
                    partial.path = partial.path.rename(self._leases / f"{uuid4().hex}-{name}")
                source.write(partial.path)
            reserved = size if kept else 0
            os.fsync(partial.descriptor)
            partial.path = partial.path.rename(self._entries / name if kept else self._leases / f"{uuid4().hex}-{name}")
        except BaseException:
            with self._locked_total() as total:
                partial.path.unlink(missing_ok=True)
                total.bytes -= reserved
            raise

    def _make_room(self, partial: _Hold, size: int) -> bool:
        """Reserve room for a partial file; false where there is none, as what is there is leased."""
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
            total.save()  # first, so that whoever dies here has taken too much room rather than too little
            os.truncate(partial.path, size)  # so that it is counted in full
            return True

    def _count(self) -> int:
        """Bytes in entries and partial files, each once although it moves from these to those meanwhile."""
        statuses = [_status(path) for part in (self._partial, self._entries) for path in part.iterdir()]
        return sum({status.st_ino: status.st_size for status in statuses if status}.values())

    def _evict(self, total: "_Total", num_bytes: int) -> None:
        """Remove entries, the least recently leased first, none that is leased, until so many bytes are free."""
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
        held = _hold(self._total, exclusive=True, create=True)
        try:
            text = os.pread(held.descriptor, 20, 0).strip()
            total = _Total(held, int(text) if text.isdigit() else 0)  # it is counted anew when a process starts
            yield total
            total.save()
        finally:
            held.release()


@dataclass(slots=True)
class _Total:
    file: _Hold
    bytes: int

    def save(self) -> None:
        os.pwrite(self.file.descriptor, b"%20d" % self.bytes, 0)


def _remove(path: Path) -> bool:
    """Remove a file that nobody holds."""
    held = _hold(path, exclusive=True, wait=False)
    if held is None:
        return False
    path.unlink()
    held.release()
    return True


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None
