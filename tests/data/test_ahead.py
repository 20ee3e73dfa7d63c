"""Batches that are prepared one ahead: the same batches in the same order, and errors where they are read."""

import os
import threading
import time
import weakref
from concurrent.futures import CancelledError
from types import SimpleNamespace

import pytest
import torch
from torchvision.transforms.v2 import RandAugment

from tests.data.test_datamodule import module
from tests.tiny_runs import column
from videoctx.batch import ClipBatch, View
from videoctx.data.loading import arena, page_locking
from videoctx.data.loading.ahead import Ahead, ReadyBatch
from videoctx.data.loading.dataset import DecodedBatch, DecodedVideo

CPU = torch.device("cpu")


def decoded(number: int) -> DecodedBatch:
    frames = torch.full((2, 4, 4, 3), number, dtype=torch.uint8)
    return DecodedBatch([DecodedVideo(f"{number}.mp4", number, 0, 0, frames, torch.tensor([[0, 1]]), [0])])


def clips_of(batch: DecodedBatch) -> ClipBatch:
    (video,) = batch.videos
    return ClipBatch(
        clips=video.frames.permute(3, 0, 1, 2)[None].float(),
        video=torch.tensor([0]),
        labels=torch.tensor([0]),
        paths=[video.path],
        rows=[video.row],
        views=[View(0, 0)],
        views_expected=torch.tensor([1]),
    )


def test_a_batch_is_released_when_its_reader_drops_it():
    batches = Ahead(CPU, clips_of).batches(decoded(number) for number in range(3))
    for _ in range(3):
        batch = next(batches)
        gone = weakref.ref(batch)
        del batch
        assert gone() is None  # although the next one has not been requested


def test_batches_come_in_order_and_one_is_prepared_while_another_is_used():
    prepared: list[int] = []

    def prepare(batch):
        assert threading.current_thread() is not threading.main_thread()
        prepared.append(batch.videos[0].row)
        return clips_of(batch)

    batches = Ahead(CPU, prepare).batches(decoded(number) for number in range(5))
    first = next(batches)
    assert isinstance(first, ReadyBatch)
    assert len(first) == 1
    deadline = time.monotonic() + 60
    while len(prepared) < 2:
        assert time.monotonic() < deadline, "nothing is prepared ahead"
        time.sleep(0.01)
    rest = [batch.take() for batch in batches]
    assert first.take().rows == [0]
    assert [batch.rows for batch in rest] == [[1], [2], [3], [4]]
    assert [batch.clips.unique().item() for batch in rest] == [1, 2, 3, 4]


def test_an_error_is_raised_where_the_batch_is_read():
    def some():
        yield decoded(0)
        raise ValueError("a broken manifest")

    batches = Ahead(CPU, clips_of).batches(some())
    assert next(batches).take().rows == [0]
    with pytest.raises(ValueError, match="a broken manifest"):
        next(batches)

    def fails(_):
        raise TypeError("a broken transform")

    with pytest.raises(TypeError, match="a broken transform"):
        next(Ahead(CPU, fails).batches(iter([decoded(0)])))


def test_an_epoch_that_is_left_early_leaves_no_thread():
    before = threading.active_count()
    batches = Ahead(CPU, clips_of).batches(decoded(number % 200) for number in range(10**9))
    next(batches)
    batches.close()
    assert threading.active_count() == before


def test_a_loader_that_is_closed_ends_the_thread():
    before = threading.active_count()
    ahead = Ahead(CPU, clips_of)
    batches = ahead.batches(decoded(number % 200) for number in range(10**9))
    next(batches)
    ahead.stop()
    with pytest.raises(CancelledError, match="closed"):
        list(batches)
    assert threading.active_count() == before


@pytest.mark.parametrize("augmented", [False, True])
def test_the_data_module_gives_the_same_batches_with_it(video_folder, augmented):
    def numbers(stage, ahead):
        data = module(
            video_folder.manifest,
            batch_size=2,
            train={"augment": [RandAugment()]} if augmented else {},
            loading={"ahead": ahead, "num_workers": 0},
        )
        data.trainer = SimpleNamespace(
            world_size=1,
            global_rank=0,
            training=stage == "train",
            validating=stage == "val",
            sanity_checking=False,
            train_dataloader=None,
            precision="32-true",
            strategy=SimpleNamespace(root_device=CPU),
        )
        loader = getattr(data, f"{stage}_dataloader")()
        assert (loader.ahead is not None) == ahead
        found = []
        for batch in loader:
            assert isinstance(batch, ReadyBatch if ahead else DecodedBatch)
            clips = data.on_after_batch_transfer(data.transfer_batch_to_device(batch, CPU, 0), 0)
            found.append((clips.rows, clips.clips[:]))
        loader.close()
        return found

    for stage in ("train", "val", "test"):
        without, with_it = (numbers(stage, ahead) for ahead in (False, True))
        assert [rows for rows, _ in without] == [rows for rows, _ in with_it]
        for (_, clips), (_, others) in zip(without, with_it, strict=True):
            assert torch.equal(clips, others)


@pytest.mark.slow
def test_training_and_evaluation_have_the_same_numbers_with_it(run):
    """`loading.ahead` is off on a CPU by default."""
    found = []
    for ahead in ("false", "true"):
        folder = run("fit", "--trainer.max_epochs=2", f"--data.loading.ahead={ahead}", name=ahead)
        found.append([column(folder, name) for name in ("train/loss", "val/video_top1")])
    assert found[0] == found[1]
    assert len(found[0][0]) > 0


def test_shared_memory_is_page_locked_and_released(monkeypatch):
    class Runtime:
        """What stands for CUDA's functions."""

        def __init__(self):
            self.locked, self.status = {}, 0

        def cudaHostRegister(self, address, num_bytes, flags):
            assert flags == page_locking.PORTABLE
            assert address % 4096 == 0
            if not self.status:
                self.locked[address] = num_bytes
            return self.status

        def cudaHostUnregister(self, address):
            del self.locked[address]
            return 0

    runtime = Runtime()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "cudart", lambda: runtime)
    memory = arena.Arena(2**14, 4)
    assert memory.is_page_locked
    assert list(runtime.locked.values()) == [memory.memory.size]
    assert (
        os.stat(f"{arena.SHARED_MEMORY}/{memory.memory.name}").st_blocks * 512 >= 2**16
    )  # or CUDA would touch missing pages
    del memory
    assert runtime.locked == {}
    runtime.status = 712
    page_locking._warn.cache_clear()
    arenas = [arena.Arena(2**14, 4) for _ in range(3)]
    assert not any(memory.is_page_locked for memory in arenas)
    del arenas
    runtime.status = 0
    monkeypatch.setattr(arena, "has_pages", lambda *_: False)  # shared memory is full
    assert not arena.Arena(2**14, 4).is_page_locked
    assert runtime.locked == {}


def test_a_refusal_is_reported_once(caplog):
    page_locking._warn.cache_clear()
    for _ in range(3):
        page_locking._warn("CUDA error 712")
    assert [record.message for record in caplog.records] == [
        "memory cannot be page-locked (CUDA error 712), so copies to the GPU are slower; expected a larger `ulimit -l`"
    ]


def test_without_a_gpu_nothing_is_page_locked(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert not arena.Arena(2**14, 4).is_page_locked
