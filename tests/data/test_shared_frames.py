"""Tests of frames in shared memory: they are received as sent, and memory in use is not overwritten."""

import errno
import gc
import os
from multiprocessing.shared_memory import SharedMemory

import numpy as np
import pytest

from videoctx.data.loading.shared_frames import FIRST_BYTES, Slots, send


def frames_of(num_bytes, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (1, 1, num_bytes), dtype=np.uint8)


def test_frames_are_received_and_memory_is_reused():
    slots = Slots()
    names = set()
    for seed in range(5):
        slot = slots.take()
        names.add(slot.name)
        tensor = slots.receive(send(frames_of(1000, seed), slot.name), slot)
        assert np.array_equal(tensor.numpy(), frames_of(1000, seed))
        del tensor, slot
    assert len(names) == 1


def test_memory_in_use_is_not_overwritten():
    slots = Slots()
    kept = []
    for seed in range(5):
        slot = slots.take()
        kept.append(slots.receive(send(frames_of(1000, seed), slot.name), slot)[:, :, 100:200])  # a part keeps all
        del slot
    gc.collect()
    for seed, part in enumerate(kept):
        assert np.array_equal(part.numpy(), frames_of(1000, seed)[:, :, 100:200])


def test_large_frames_are_received_and_the_slot_grows():
    slots = Slots()
    large = frames_of(FIRST_BYTES + 1)
    sent = []
    for _ in range(2):
        slot = slots.take()
        sent.append(send(large, slot.name))
        assert np.array_equal(slots.receive(sent[-1], slot).numpy(), large)
        del slot
    assert isinstance(sent[0], np.ndarray)
    assert sent[1] == large.shape


def test_frames_are_sent_through_the_pipe_if_shared_memory_is_full(monkeypatch, caplog):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    slots, frames = Slots(), frames_of(1000)
    monkeypatch.setattr(os, "posix_fallocate", full)
    for _ in range(2):
        slot = slots.take()
        sent = send(frames, slot.name)
        assert isinstance(sent, np.ndarray)
        assert np.array_equal(slots.receive(sent, slot).numpy(), frames)
    assert [record.getMessage() for record in caplog.records if "--shm-size" in record.getMessage()] != []
    assert len(caplog.records) == 1


def test_empty_frames_are_received():
    slots = Slots()
    slot = slots.take()
    assert slots.receive(send(np.empty((0, 0, 0, 3), np.uint8), slot.name), slot).shape == (0, 0, 0, 3)


def test_memory_is_freed_with_its_last_tensor():
    slots = Slots()
    given_up, used = slots.take(), slots.take()
    names = [given_up.name, used.name]
    tensor = slots.receive(send(frames_of(10), used.name), used)
    del given_up, used, slots
    gc.collect()
    assert np.array_equal(tensor.numpy(), frames_of(10))
    del tensor
    gc.collect()
    for name in names:
        with pytest.raises(FileNotFoundError):
            SharedMemory(name)
