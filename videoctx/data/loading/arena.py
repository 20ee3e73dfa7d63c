"""Shared memory for decoded frames: few large pieces, which are cut into slots, and in which slots are used again.

New shared memory costs more than the copy into it: 1.3 ms compared with 0.04 ms for the 2 MB of a clip, because the
kernel has to provide new pages. And memory of its own for every video takes two open files each, of which a process may
have 1,024. So the receiving process keeps the memory, a new arena is as large as all before it together, and every task
names the slot for its frames.

A slot is free again when its task has ended and nothing refers to its frames. An arena is released with its last slot.
"""

import errno
import logging
import os
import threading
import weakref
from collections import deque
from contextlib import suppress
from multiprocessing.shared_memory import SharedMemory
from typing import NamedTuple

import numpy as np
import torch

from videoctx.data.loading.page_locking import page_lock, unlock

logger = logging.getLogger(__name__)

SHARED_MEMORY = "/dev/shm"
FIRST_SLOT_BYTES = 2**22
FIRST_SLOTS = 16
MOST_ARENA_BYTES = 2**30  # of an arena with more than one slot
SHARE = 0.5  # of the free shared memory that larger slots may need together


class Place(NamedTuple):
    """Where a slot lies, for another process."""

    arena: str  # the name of the shared memory
    offset: int
    num_bytes: int


class Arena:
    """Shared memory of this process, cut into slots of one size.

    Raises:
        OSError: There is no shared memory.
    """

    def __init__(self, slot_bytes: int, num_slots: int) -> None:
        try:
            self.memory = SharedMemory(create=True, size=slot_bytes * num_slots)
        except OSError as error:
            reason = f"no shared memory for frames ({error.strerror}); expected room there and fewer open files"
            raise OSError(error.errno, reason, SHARED_MEMORY) from error
        self.slot_bytes = slot_bytes
        self.free = deque(slot_bytes * number for number in reversed(range(num_slots)))  # their offsets
        address = np.frombuffer(buffer_of(self.memory), np.uint8).ctypes.data
        self.is_page_locked = (
            torch.cuda.is_available()
            and has_pages(self.memory, 0, self.memory.size)
            and page_lock(address, self.memory.size)
        )
        weakref.finalize(self, _end, self.memory, address if self.is_page_locked else None)

    def take(self) -> "Slot | None":
        """Return a free slot, if there is one."""
        try:
            return Slot(self, self.free.pop())
        except IndexError:
            return None


class Slot:
    """A part of an arena. It is free again when this object is gone."""

    def __init__(self, arena: Arena, offset: int) -> None:
        self.place = Place(arena.memory.name, offset, arena.slot_bytes)
        self._arena = arena
        weakref.finalize(self, arena.free.append, offset).atexit = False

    def frames(self, num_bytes: int) -> np.ndarray:
        """Return the first bytes. They keep the slot."""
        part = np.frombuffer(buffer_of(self._arena.memory), np.uint8, count=num_bytes, offset=self.place.offset)
        weakref.finalize(part, _let_go, self).atexit = False
        return part


class Slots:
    """The arenas, and the size that slots need."""

    def __init__(self) -> None:
        self._arenas: list[Arena] = []
        self._lock = threading.Lock()
        self._slot_bytes = FIRST_SLOT_BYTES
        self._num_slots = 0
        self._has_warned = False

    def take(self) -> Slot:
        """Return a free slot, of an arena that may be new."""
        with self._lock:
            for arena in self._arenas:
                if slot := arena.take():
                    return slot
            num_slots = min(max(self._num_slots, FIRST_SLOTS), max(MOST_ARENA_BYTES // self._slot_bytes, 1))
            self._arenas.append(arena := Arena(self._slot_bytes, num_slots))
            self._num_slots += num_slots
            slot = arena.take()
            assert slot is not None
            return slot

    def grow(self, num_bytes: int, slot: Slot) -> None:
        """Note that frames did not come through their slot.

        Args:
            num_bytes: their size. If it is larger than the slot's, slots that are taken later are large enough, unless
                one for every video would need too much memory.
            slot: their slot.
        """
        if num_bytes <= slot.place.num_bytes:
            self._warn(f"{SHARED_MEMORY} is full, so frames come through slower pipes")
            return
        with self._lock:
            if num_bytes <= self._slot_bytes:
                return
            needed = _rounded(num_bytes)
            in_use = sum(arena.memory.size // arena.slot_bytes - len(arena.free) for arena in self._arenas)
            if in_use * needed > SHARE * _free_bytes():
                self._warn(
                    f"{SHARED_MEMORY} has no room for {in_use} videos of {num_bytes / 1e6:.0f} MB, so such frames come"
                    " through slower pipes"
                )
                return
            self._slot_bytes, self._num_slots, self._arenas = needed, 0, []  # slots in use keep theirs

    def _warn(self, problem: str) -> None:
        if not self._has_warned:
            self._has_warned = True
            logger.warning("%s; expected more room there (docker: --shm-size)", problem)


def buffer_of(memory: SharedMemory) -> memoryview:
    """Return the bytes of shared memory that is open."""
    assert memory.buf is not None, "the shared memory is closed"
    return memory.buf


def has_pages(memory: SharedMemory, offset: int, num_bytes: int) -> bool:
    """Allocate pages. Without this, writing to a full file system would kill the process (SIGBUS)."""
    if not hasattr(os, "posix_fallocate"):
        return True
    try:
        os.posix_fallocate(memory._fd, offset, num_bytes)  # type: ignore[attr-defined]  # not public
    except OSError as error:
        if error.errno == errno.ENOSPC:
            return False
        raise
    return True


def _rounded(num_bytes: int) -> int:
    """Round up by at most a quarter, so that slightly larger frames fit too."""
    step = max(2 ** (num_bytes.bit_length() - 3), 2**12)
    return -(-num_bytes // step) * step


def _free_bytes() -> float:
    try:
        status = os.statvfs(SHARED_MEMORY)
    except OSError:  # no such folder, as on a Mac
        return float("inf")
    return status.f_bavail * status.f_frsize


def _let_go(slot: Slot) -> None:
    """The reference to the slot ends with the call."""


def _end(memory: SharedMemory, locked_address: int | None) -> None:
    if locked_address is not None:
        unlock(locked_address)
    with suppress(FileNotFoundError):
        memory.unlink()
    try:
        memory.close()
    except BufferError:  # frames still use it, and the memory is released with them
        memory.close = lambda: None  # type: ignore[method-assign]  # its __del__ would close it again
        os.close(memory._fd)  # type: ignore[attr-defined]  # not public
