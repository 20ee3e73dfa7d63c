"""Frames from one process to another, through shared memory that is reused.

New shared memory costs more than the copy into it: 1.3 ms compared with 0.04 ms for the 2 MB of a clip, because the
kernel has to provide new pages. So the receiving process keeps the memory, and every task names the memory for its
frames. Frames that do not fit are sent through the pipe, and memory that is allocated later is large enough for them.
"""

import errno
import logging
import os
import threading
import weakref
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from multiprocessing.shared_memory import SharedMemory
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from videoctx.data.loading.dataset import DecodedVideo
from videoctx.data.loading.page_locking import page_lock, unlock

logger = logging.getLogger(__name__)

FIRST_BYTES = 2**22
SHARED_MEMORY = "/dev/shm"
NOTHING = torch.empty(0)
NUM_ATTACHED = 64  # slots that a sender keeps open; the least recently used ones are closed first


class Slot:
    """Shared memory of this process. It is released with the object, also if a task that would fill it is cancelled."""

    def __init__(self, num_bytes: int) -> None:
        try:
            self.memory = SharedMemory(create=True, size=num_bytes)
        except OSError as error:
            reason = f"no shared memory for frames ({error.strerror}); expected room there and fewer open files"
            raise OSError(error.errno, reason, SHARED_MEMORY) from error
        address = np.frombuffer(self.buffer, np.uint8).ctypes.data
        self.is_page_locked = page_lock(address, self.memory.size)
        weakref.finalize(self, _end, self.memory, address if self.is_page_locked else None)

    @property
    def buffer(self) -> memoryview:
        """The bytes of the memory."""
        return _buffer(self.memory)

    @property
    def name(self) -> str:
        """Name by which another process attaches the memory."""
        return self.memory.name


class Slots:
    """The slots that are free, and the size that new slots need."""

    def __init__(self) -> None:
        self._free: list[Slot] = []
        self._lock = threading.Lock()
        self._num_bytes = FIRST_BYTES
        self._has_warned = False

    def take(self) -> Slot:
        """Return a free slot, or a new one."""
        with self._lock:
            while self._free:
                if (slot := self._free.pop()).memory.size >= self._num_bytes:
                    return slot
            return Slot(self._num_bytes)

    def receive(self, frames: "np.ndarray | tuple[int, ...]", slot: Slot) -> Tensor:
        """Return the frames that `send` has sent. The slot is free again when nothing refers to the tensor."""
        if isinstance(frames, np.ndarray):
            self._num_bytes = max(self._num_bytes, frames.nbytes)
            if frames.nbytes <= slot.memory.size and not self._has_warned:
                self._has_warned = True
                logger.warning("shared memory is full, so frames come through slower pipes (docker: --shm-size)")
            return torch.from_numpy(frames)
        if not (num_bytes := int(np.prod(frames))):
            return torch.empty(frames, dtype=torch.uint8)
        in_slot = np.frombuffer(slot.buffer, np.uint8, count=num_bytes)  # the tensor's storage keeps it alive
        weakref.finalize(in_slot, self._free.append, slot).atexit = False
        return torch.frombuffer(in_slot, dtype=torch.uint8).view(frames)


class _Attached:
    """A slot of another process, attached to write to it."""

    def __init__(self, name: str) -> None:
        self.memory = SharedMemory(name)
        self._num_bytes = 0  # bytes that have pages already

    def put(self, frames: np.ndarray) -> bool:
        """Copy frames into the slot. Return False if they do not fit."""
        if frames.nbytes > self.memory.size or not self._has_pages(frames.nbytes):
            return False
        np.frombuffer(_buffer(self.memory), np.uint8, count=frames.nbytes)[:] = frames.reshape(-1)
        return True

    def _has_pages(self, num_bytes: int) -> bool:
        """Allocate pages. Without this, writing to a full file system would kill the process (SIGBUS)."""
        if num_bytes > self._num_bytes and hasattr(os, "posix_fallocate"):
            try:
                os.posix_fallocate(self.memory._fd, 0, num_bytes)  # type: ignore[attr-defined]  # not public
            except OSError as error:
                if error.errno == errno.ENOSPC:
                    return False
                raise
            self._num_bytes = num_bytes
        return True


@lru_cache(maxsize=NUM_ATTACHED)  # attaching costs more than the copy
def _attach(slot: str) -> _Attached:
    return _Attached(slot)


def send(frames: np.ndarray, slot: str) -> "np.ndarray | tuple[int, ...]":
    """Copy frames into the receiver's slot, and return what is sent instead of them: their shape, or the frames
    themselves if they do not fit.
    """
    return frames.shape if _attach(slot).put(frames) else frames


class Sent(NamedTuple):
    """A decoded video as it is sent from one process to another."""

    video: DecodedVideo  # with empty tensors, which are cheap to send
    frames: np.ndarray | tuple[int, ...]  # the shape if they are in the slot
    clips: np.ndarray


def pack(video: DecodedVideo, slot: str) -> Sent:
    """Return what is sent for a video, whose frames are copied into the slot of this name."""
    return Sent(replace(video, frames=NOTHING, clips=NOTHING), send(video.frames.numpy(), slot), video.clips.numpy())


def unpack(sent: Sent, slot: Slot, slots: Slots) -> DecodedVideo:
    """Return the video that `pack` has sent."""
    return replace(sent.video, frames=slots.receive(sent.frames, slot), clips=torch.from_numpy(sent.clips))


def _buffer(memory: SharedMemory) -> memoryview:
    assert memory.buf is not None, "the shared memory is closed"
    return memory.buf


def _end(memory: SharedMemory, locked_address: int | None) -> None:
    if locked_address is not None:
        unlock(locked_address)
    with suppress(FileNotFoundError):
        memory.unlink()
    try:
        memory.close()
    except BufferError:  # a tensor still uses it, and the memory is released with the tensor
        memory.close = lambda: None  # type: ignore[method-assign]  # its __del__ would close it again
