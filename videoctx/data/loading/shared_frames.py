"""Frames from one process to another through shared memory that is used again and again.

Fresh shared memory costs more than the copy into it: 1.3 ms against 0.04 ms for the 2 MB of a clip, since the kernel
hands out every page anew. So the process that receives keeps the memory and says with each task where the answer
goes. What does not fit comes through the pipe, and what is made from then on is large enough.
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

logger = logging.getLogger(__name__)

FIRST_BYTES = 2**22
NUM_ATTACHED = 64  # slots that a sender keeps open; those that are no longer used are the first to go


class Slot:
    """Shared memory of this process; it ends with the object, also where a task that would fill it is given up."""

    def __init__(self, num_bytes: int) -> None:
        self.memory = SharedMemory(create=True, size=num_bytes)
        weakref.finalize(self, _end, self.memory)

    @property
    def name(self) -> str:
        return self.memory.name


class Slots:
    """The memory that is free, and how much is needed."""

    def __init__(self) -> None:
        self._free: list[Slot] = []
        self._lock = threading.Lock()
        self._num_bytes = FIRST_BYTES
        self._has_warned = False

    def take(self) -> Slot:
        with self._lock:
            while self._free:
                if (slot := self._free.pop()).memory.size >= self._num_bytes:
                    return slot
            return Slot(self._num_bytes)

    def receive(self, frames: "np.ndarray | tuple[int, ...]", slot: Slot) -> Tensor:
        """The tensor of what `send` has sent; its memory is free again when nothing refers to it."""
        if isinstance(frames, np.ndarray):
            self._num_bytes = max(self._num_bytes, frames.nbytes)
            if frames.nbytes <= slot.memory.size and not self._has_warned:
                self._has_warned = True
                logger.warning("shared memory is full, so frames come through slower pipes (docker: --shm-size)")
            return torch.from_numpy(frames)
        if not (num_bytes := int(np.prod(frames))):
            return torch.empty(frames, dtype=torch.uint8)
        lease = np.frombuffer(slot.memory.buf, np.uint8, count=num_bytes)  # kept by the tensor's storage
        weakref.finalize(lease, self._free.append, slot).atexit = False
        return torch.frombuffer(lease, dtype=torch.uint8).view(frames)


class _Attached:
    """Another process's slot, as this one writes to it."""

    def __init__(self, name: str) -> None:
        self.memory = SharedMemory(name)
        self._num_bytes = 0  # that there are pages for

    def put(self, frames: np.ndarray) -> bool:
        """Whether there was room."""
        if frames.nbytes > self.memory.size or not self._has_pages(frames.nbytes):
            return False
        np.frombuffer(self.memory.buf, np.uint8, count=frames.nbytes)[:] = frames.reshape(-1)
        return True

    def _has_pages(self, num_bytes: int) -> bool:
        """Make sure of them: without, a file system that is full kills whoever writes (SIGBUS)."""
        if num_bytes > self._num_bytes and hasattr(os, "posix_fallocate"):
            try:
                os.posix_fallocate(self.memory._fd, 0, num_bytes)
            except OSError as error:
                if error.errno == errno.ENOSPC:
                    return False
                raise
            self._num_bytes = num_bytes
        return True


@lru_cache(maxsize=NUM_ATTACHED)  # attaching anew costs more than the copy
def _attach(slot: str) -> _Attached:
    return _Attached(slot)


def send(frames: np.ndarray, slot: str) -> "np.ndarray | tuple[int, ...]":
    """Put frames where the receiver wants them: what is to be sent instead of them."""
    return frames.shape if _attach(slot).put(frames) else frames


class Sent(NamedTuple):
    """A video on its way from one process to another."""

    video: DecodedVideo  # without tensors
    frames: np.ndarray | tuple[int, ...]  # the shape of what lies in the slot
    clips: np.ndarray


def pack(video: DecodedVideo, slot: str) -> Sent:
    return Sent(replace(video, frames=None, clips=None), send(video.frames.numpy(), slot), video.clips.numpy())


def unpack(sent: Sent, slot: Slot, slots: Slots) -> DecodedVideo:
    return replace(sent.video, frames=slots.receive(sent.frames, slot), clips=torch.from_numpy(sent.clips))


def _end(memory: SharedMemory) -> None:
    with suppress(FileNotFoundError):
        memory.unlink()
    try:
        memory.close()
    except BufferError:  # a tensor still looks at it, and the memory ends with that
        memory.close = lambda: None  # which its __del__ would call again
