"""Frames from one process to another, through shared memory that is used again (`videoctx.data.loading.arena`).

Every task names the slot for its frames. Frames that do not fit are sent through the pipe, and slots that are taken
later are large enough for them.
"""

from dataclasses import replace
from multiprocessing.shared_memory import SharedMemory
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from videoctx.data.loading.arena import Place, Slot, Slots, buffer_of, has_pages
from videoctx.data.loading.dataset import DecodedVideo

NOTHING = torch.empty(0)


class _Attached:
    """An arena of another process, attached to write to its slots."""

    def __init__(self, place: Place) -> None:
        self.memory = SharedMemory(place.arena)
        self.slot_bytes = place.num_bytes
        self._num_bytes: dict[int, int] = {}  # bytes of a slot that have pages already, by its offset

    def put(self, frames: np.ndarray, offset: int) -> bool:
        """Copy frames to an offset. Return False if there are no pages for them."""
        if frames.nbytes > self._num_bytes.get(offset, 0):
            if not has_pages(self.memory, offset, frames.nbytes):
                return False
            self._num_bytes[offset] = frames.nbytes
        slot = np.frombuffer(buffer_of(self.memory), np.uint8, count=frames.nbytes, offset=offset)
        slot[:] = frames.reshape(-1)
        return True


_attached: dict[str, _Attached] = {}  # attaching costs more than the copy


def _attach(place: Place) -> _Attached:
    """Return the arena of a slot. Those with smaller slots are closed when larger ones come."""
    if place.arena not in _attached:
        for name in [name for name, arena in _attached.items() if arena.slot_bytes < place.num_bytes]:
            del _attached[name]
        _attached[place.arena] = _Attached(place)
    return _attached[place.arena]


def send(frames: np.ndarray, place: Place) -> "np.ndarray | tuple[int, ...]":
    """Copy frames into the receiver's slot, and return what is sent instead of them: their shape, or the frames
    themselves if they do not fit.
    """
    fit = not frames.nbytes or (frames.nbytes <= place.num_bytes and _attach(place).put(frames, place.offset))
    return frames.shape if fit else frames


def receive(frames: "np.ndarray | tuple[int, ...]", slot: Slot, slots: Slots) -> Tensor:
    """Return the frames that `send` has sent. The slot is free again when nothing refers to it or to the tensor."""
    if isinstance(frames, np.ndarray):
        slots.grow(frames.nbytes, slot)
        return torch.from_numpy(frames)
    if not (num_bytes := int(np.prod(frames))):
        return torch.empty(frames, dtype=torch.uint8)
    return torch.frombuffer(slot.frames(num_bytes), dtype=torch.uint8).view(frames)  # the storage keeps the array


class Sent(NamedTuple):
    """A decoded video as it is sent from one process to another."""

    video: DecodedVideo  # with empty tensors, which are cheap to send
    frames: np.ndarray | tuple[int, ...]  # the shape if they are in the slot
    clips: np.ndarray


def pack(video: DecodedVideo, place: Place) -> Sent:
    """Return what is sent for a video, whose frames are copied into a slot."""
    return Sent(replace(video, frames=NOTHING, clips=NOTHING), send(video.frames.numpy(), place), video.clips.numpy())


def unpack(sent: Sent, slot: Slot, slots: Slots) -> DecodedVideo:
    """Return the video that `pack` has sent."""
    return replace(sent.video, frames=receive(sent.frames, slot, slots), clips=torch.from_numpy(sent.clips))
