"""Tests of frames in shared memory: they are received as sent, and memory in use is not overwritten."""

import errno
import gc
import os
import subprocess
import sys
import time
from multiprocessing.shared_memory import SharedMemory

import numpy as np
import pytest

from videoctx.data.loading import arena
from videoctx.data.loading.arena import FIRST_SLOT_BYTES, Slots
from videoctx.data.loading.shared_frames import receive, send


def frames_of(num_bytes, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (1, 1, num_bytes), dtype=np.uint8)


def test_frames_are_received_and_memory_is_reused():
    slots = Slots()
    places = set()
    for seed in range(5):
        slot = slots.take()
        places.add(slot.place)
        tensor = receive(send(frames_of(1000, seed), slot.place), slot, slots)
        assert np.array_equal(tensor.numpy(), frames_of(1000, seed))
        del tensor, slot
    assert len(places) == 1


def test_memory_in_use_is_not_overwritten():
    slots = Slots()
    kept = []
    for seed in range(5):
        slot = slots.take()
        kept.append(receive(send(frames_of(1000, seed), slot.place), slot, slots)[:, :, 100:200])  # a part keeps all
        del slot
    gc.collect()
    for seed, part in enumerate(kept):
        assert np.array_equal(part.numpy(), frames_of(1000, seed)[:, :, 100:200])


def test_large_frames_are_received_and_the_slot_grows():
    slots = Slots()
    large = frames_of(FIRST_SLOT_BYTES + 1)
    sent = []
    for _ in range(2):
        slot = slots.take()
        sent.append(send(large, slot.place))
        assert np.array_equal(receive(sent[-1], slot, slots).numpy(), large)
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
        sent = send(frames, slot.place)
        assert isinstance(sent, np.ndarray)
        assert np.array_equal(receive(sent, slot, slots).numpy(), frames)
    (message,) = (record.getMessage() for record in caplog.records)
    assert message == (
        "/dev/shm is full, so frames come through slower pipes; expected more room there (docker: --shm-size)"
    )


def test_empty_frames_are_received():
    slots = Slots()
    slot = slots.take()
    assert receive(send(np.empty((0, 0, 0, 3), np.uint8), slot.place), slot, slots).shape == (0, 0, 0, 3)


def test_memory_is_freed_with_its_last_tensor():
    slots = Slots()
    given_up, used = slots.take(), slots.take()
    name = used.place.arena
    assert given_up.place.arena == name
    tensor = receive(send(frames_of(10), used.place), used, slots)
    del given_up, used, slots
    gc.collect()
    assert np.array_equal(tensor.numpy(), frames_of(10))
    SharedMemory(name).close()
    del tensor
    gc.collect()
    with pytest.raises(FileNotFoundError):
        SharedMemory(name)


def test_a_slot_that_is_given_up_is_used_again():
    slots = Slots()
    first = slots.take()
    place = first.place
    del first
    assert slots.take().place == place


def test_slots_do_not_overlap():
    slots = Slots()
    taken = [slots.take() for _ in range(3 * arena.FIRST_SLOTS)]
    ends: dict[str, int] = {}
    for slot in sorted(taken, key=lambda slot: slot.place):
        assert slot.place.offset >= ends.get(slot.place.arena, 0)
        ends[slot.place.arena] = slot.place.offset + slot.place.num_bytes
    assert len(ends) == 3  # each as large as all before it


def test_small_arenas_are_freed_after_slots_have_grown():
    slots = Slots()
    slot = slots.take()
    name = slot.place.arena
    receive(frames_of(FIRST_SLOT_BYTES + 1), slot, slots)
    SharedMemory(name).close()  # while a slot is in use
    del slot
    gc.collect()
    with pytest.raises(FileNotFoundError):
        SharedMemory(name)
    assert FIRST_SLOT_BYTES < slots.take().place.num_bytes <= 1.25 * (FIRST_SLOT_BYTES + 1)


def test_one_large_video_does_not_make_all_slots_large(monkeypatch, caplog):
    slots = Slots()
    taken = [slots.take() for _ in range(3)]
    large = frames_of(FIRST_SLOT_BYTES + 1)
    monkeypatch.setattr(arena, "_free_bytes", lambda: 5 * FIRST_SLOT_BYTES)
    for _ in range(2):
        assert np.array_equal(receive(large, taken[0], slots).numpy(), large)
    assert slots.take().place.num_bytes == FIRST_SLOT_BYTES
    (message,) = (record.getMessage() for record in caplog.records)
    assert message.startswith("/dev/shm has no room for 3 videos of 4 MB, so such frames come through slower pipes; ")


def test_no_shared_memory_is_an_error_that_names_the_folder(monkeypatch):
    def refuse(**_):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(arena, "SharedMemory", refuse)
    with pytest.raises(OSError, match=r"no shared memory for frames \(Too many open files\); expected .*/dev/shm"):
        Slots().take()


MANY = """
import os, resource, signal, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
import numpy as np
from videoctx.data.loading.arena import Slots
from videoctx.data.loading.shared_frames import receive, send
slots, kept, arenas = Slots(), [], set()
for video in range(1200):  # three batches of 400
    slot = slots.take()
    arenas.add(slot.place.arena)
    kept.append(receive(send(np.full((1, 8, 8, 3), video % 251, np.uint8), slot.place), slot, slots))
assert all((frames == video % 251).all() for video, frames in enumerate(kept))
print(len(os.listdir("/proc/self/fd")), *arenas, flush=True)
if sys.argv[1:]:
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts open files as Linux lists them")
@pytest.mark.parametrize("killed", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_many_videos_need_few_open_files_and_leave_nothing(killed):
    run = subprocess.run(
        [sys.executable, "-c", MANY, *["killed"] * killed], capture_output=True, text=True, check=False
    )
    if not killed:
        assert (run.returncode, run.stderr) == (0, "")
    open_files, *arenas = run.stdout.split()
    assert int(open_files) < 60
    deadline = time.monotonic() + 60
    while any(os.path.exists(f"{arena.SHARED_MEMORY}/{name}") for name in arenas):  # until the tracker has noticed
        assert killed, arenas
        assert time.monotonic() < deadline, arenas
        time.sleep(0.1)
