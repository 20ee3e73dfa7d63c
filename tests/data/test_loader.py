"""Tests of the loader: order of batches, videos that hang or kill their process, and the end of processes."""

import os
import signal
import subprocess
import sys
import threading
import weakref
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import torch

from tests.each_case import each_case
from tests.http_server import FileServer
from tests.numbered import read_number
from videoctx.data.annotations import VideoRecord
from videoctx.data.loading.dataset import ClipDecoder, SampleIndex, VideoDataset
from videoctx.data.loading.loader import VideoLoader
from videoctx.data.sampling.clip_samplers import ClipShape, RandomClips
from videoctx.data.sampling.video_samplers import EvaluationSampler
from videoctx.data.storage.local_files import LocalFiles

CLIPS = RandomClips(shape=ClipShape(clip_len=3, frame_interval=2), num_clips=2)


@dataclass(frozen=True, kw_only=True)
class TrickyDecoder(ClipDecoder):
    """A decoder whose process hangs or dies, as the name of the video tells, or decodes the good video."""

    good: str

    def load(self, index, record, location):
        match Path(record.path).stem:
            case "hangs":
                while True:
                    signal.pause()
            case "kills":
                os.kill(os.getpid(), signal.SIGKILL)
            case "exits":
                os._exit(3)
            case "kills once" if not (marker := Path(location)).exists():
                marker.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            case "raises":
                raise AttributeError("our own mistake")
        return super().load(index, record, self.good)


@pytest.fixture
def tricky(closed_gop_mp4, tmp_path):
    """A function that returns a loader of good videos (None) and of bad ones, by name."""
    loaders = []

    def make(*names, batch_size=1, deadline_seconds=30.0, num_workers=2):
        paths = [str(tmp_path / f"{name}.mp4") if name else str(closed_gop_mp4.path) for name in names]
        records = [VideoRecord(path, 0, "train") for path in paths]
        data = VideoDataset(records, sampler=CLIPS, seed=0)
        data.clip_decoder = TrickyDecoder(
            sampler=CLIPS, seed=0, decoder="auto", frames="rgb", good=str(closed_gop_mp4.path)
        )
        sampler = EvaluationSampler(len(records), num_ranks=1, rank=0)
        loader = VideoLoader(
            data, sampler, batch_size=batch_size, num_workers=num_workers, deadline_seconds=deadline_seconds
        )
        loaders.append(loader)
        return loader

    yield make
    for loader in loaders:
        loader.close()


def rows_and_failures(loader):
    videos = [video for batch in loader for video in batch.videos]
    return [video.row for video in videos], {v.row: v.failure.reason for v in videos if v.failure}


# ---------------------------------------------------------------- order and contents


@pytest.mark.parametrize("num_workers", [0, 1])
def test_frames_are_released_when_their_reader_drops_them(tricky, num_workers):
    batches = iter(tricky(None, None, num_workers=num_workers))
    for _ in range(2):
        batch = next(batches)
        gone = weakref.ref(batch.videos[0].frames)
        del batch
        assert gone() is None  # although the next batch has not been requested


def test_seconds_waited_are_counted(tricky, monkeypatch):
    """The fake clock advances by one second per call, so each batch and the end of the epoch take one second."""
    monkeypatch.setattr("videoctx.data.loading.loader.time", SimpleNamespace(perf_counter=count().__next__))
    loader = tricky(None, None, None, num_workers=0)
    assert loader.seconds_waited == 0
    batches = iter(loader)
    for num_batches in (1, 2, 3):
        next(batches)
        assert loader.seconds_waited == num_batches
    assert list(batches) == []
    assert loader.seconds_waited == 4


def test_batches_do_not_depend_on_the_number_of_workers(closed_gop_mp4, b_frame_avi, broken_files):
    paths = [closed_gop_mp4.path, broken_files["empty"], b_frame_avi.path, closed_gop_mp4.path]
    data = VideoDataset([VideoRecord(str(path), 0, "train") for path in paths], sampler=CLIPS, seed=0)
    indices = [SampleIndex(2, 1), SampleIndex(0, 1), None, SampleIndex(1, 1), SampleIndex(3, 1)]

    def load(num_workers):
        loader = VideoLoader(data, indices, batch_size=2, num_workers=num_workers)
        batches = [batch.videos for batch in loader]
        loader.close()
        return batches

    here, in_processes = load(0), load(2)
    for batches in (here, in_processes):
        assert [[video.row for video in videos] for videos in batches] == [[2, 0], [1], [3]]
    for videos, others in zip(here, in_processes, strict=True):
        for one, other in zip(videos, others, strict=True):
            assert (one.path, one.seed, one.starts, one.failure) == (
                other.path,
                other.seed,
                other.starts,
                other.failure,
            )
            assert torch.equal(one.frames, other.frames)
            assert torch.equal(one.clips, other.clips)
    video = in_processes[0][1]
    shown = np.array([read_number(frame.numpy()) for frame in video.frames])[video.clips]
    assert shown.tolist() == [[start, start + 2, start + 4] for start in video.starts]


@each_case(("drop_last", "sizes"), [(False, [3, 3, 1]), (True, [3, 3])])
@each_case("num_workers", [0, 2])
def test_batch_sizes(closed_gop_mp4, num_workers, drop_last, sizes):
    data = VideoDataset([VideoRecord(str(closed_gop_mp4.path), 0, "train")] * 7, sampler=CLIPS, seed=0)
    loader = VideoLoader(
        data, EvaluationSampler(7, num_ranks=1, rank=0), batch_size=3, drop_last=drop_last, num_workers=num_workers
    )
    for _ in range(2):  # the processes stay for the next epoch
        assert [len(batch.videos) for batch in loader] == sizes
    assert len(loader) == len(sizes)
    loader.close()


def test_rank_without_a_video_gets_an_empty_batch(closed_gop_mp4):
    data = VideoDataset([VideoRecord(str(closed_gop_mp4.path), 0, "test")] * 9, sampler=CLIPS, seed=0)
    samplers = [EvaluationSampler(9, num_ranks=4, rank=rank) for rank in range(4)]
    sizes = [[len(batch.videos) for batch in VideoLoader(data, sampler, batch_size=2)] for sampler in samplers]
    assert sizes == [[2, 1], [2, 0], [2, 0], [2, 0]]


def test_an_epoch_that_is_not_finished_does_not_affect_the_next(tricky):
    loader = tricky(*[None] * 12, batch_size=2)
    for batch in loader:
        assert [video.row for video in batch.videos] == [0, 1]
        break
    assert rows_and_failures(loader) == (list(range(12)), {})


# ---------------------------------------------------------------- videos that hang or kill


def test_a_video_that_hangs_fails_alone_and_is_not_tried_again(tricky, monkeypatch):
    loader = tricky(None, "hangs", None, None, None, batch_size=2, deadline_seconds=5)
    rows, failures = rows_and_failures(loader)
    assert rows == [0, 1, 2, 3, 4]
    assert failures == {1: "decoding took longer than 5 s; its process was killed"}
    decoded, decode = [], loader._processes.decode
    monkeypatch.setattr(
        loader._processes, "decode", lambda index, *rest: decoded.append(index.video) or decode(index, *rest)
    )
    assert rows_and_failures(loader) == (rows, failures)
    assert decoded == [0, 2, 3, 4]


def test_only_the_videos_that_kill_their_process_fail(tricky):
    rows, failures = rows_and_failures(tricky(None, None, "kills", None, "exits", None))
    assert rows == [0, 1, 2, 3, 4, 5]
    endings = {2: "SIGKILL: perhaps out of memory", 4: "exit status 3"}
    assert failures == {row: f"its decoding process died 2 times ({ending})" for row, ending in endings.items()}


def test_a_video_is_tried_again_after_its_process_died_once(tricky):
    assert rows_and_failures(tricky(None, "kills once", None)) == ([0, 1, 2], {})


@each_case("num_workers", [0, 2])
def test_programming_error_is_raised_and_not_reported_as_broken_video(tricky, num_workers):
    with pytest.raises(AttributeError, match="our own mistake"):
        rows_and_failures(tricky(None, "raises", None, num_workers=num_workers))


def test_an_idle_process_that_dies_is_replaced(tricky):
    loader = tricky(None, None, None)
    assert rows_and_failures(loader) == ([0, 1, 2], {})
    idle = [grandchild for child in psutil.Process().children() for grandchild in child.children()]
    for process in idle[:1]:
        process.kill()
        process.wait(60)
    for _ in range(2):
        assert rows_and_failures(loader) == ([0, 1, 2], {})


# ---------------------------------------------------------------- processes


def test_close_leaves_no_process(tricky):
    loader = tricky(None, None, num_workers=3)
    rows_and_failures(loader)
    # The server that forks them and the trackers of shared memory stay: they serve other loaders too.
    processes = [grandchild for child in psutil.Process().children() for grandchild in child.children()]
    assert len(processes) >= 3
    loader.close()
    _, alive = psutil.wait_procs(processes, timeout=60)
    assert alive == []
    assert rows_and_failures(loader) == ([0, 1], {})  # it starts again


class HeldFiles(LocalFiles):
    """Files of which "held.mp4" is not returned before `let_go` is set."""

    def __init__(self, cache_dir):
        super().__init__(cache_dir)
        self.let_go = threading.Event()

    @contextmanager
    def local_copy(self, path):
        with super().local_copy(path) as local:
            if path.endswith("held.mp4"):
                self.let_go.wait()
            yield local


def test_close_during_an_epoch_ends_fetching(closed_gop_mp4, tmp_path):
    with FileServer(dict.fromkeys(["a.mp4", "held.mp4"], closed_gop_mp4.path.read_bytes())) as server:
        names = ["a.mp4"] * 4 + ["held.mp4"] * 20
        loader = VideoLoader(
            VideoDataset([VideoRecord(server.url(name), 0, "train") for name in names], sampler=CLIPS, seed=0),
            EvaluationSampler(24, num_ranks=1, rank=0),
            batch_size=4,
            num_workers=2,
            files=(files := HeldFiles(tmp_path)),
        )
        batches = iter(loader)
        next(batches)
        loader.close()
        files.let_go.set()
        with pytest.raises(CancelledError):
            next(batches)
        loader.close()  # what `next` has started
        for thread in threading.enumerate():
            if thread.name.startswith("fetch"):
                thread.join(timeout=60)
                assert not thread.is_alive()


SCRIPT = """
import sys
from tests.data.test_loader import CLIPS
from videoctx.data.annotations import VideoRecord
from videoctx.data.loading.dataset import ClipDecoder, SampleIndex, VideoDataset
from videoctx.data.loading.loader import VideoLoader
if __name__ == "__main__":
    data = VideoDataset([VideoRecord(sys.argv[1], 0, "train")], sampler=CLIPS, seed=0)
    for batch in VideoLoader(data, [SampleIndex(0)] * 100_000, batch_size=2, num_workers=2):
        print("batch", flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_no_process_outlives_the_run(closed_gop_mp4, tmp_path, how):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    root = Path(__file__).parents[2]
    run = subprocess.Popen(
        [sys.executable, str(script), str(closed_gop_mp4.path)],
        env=os.environ | {"PYTHONPATH": str(root)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert run.stdout.readline() == "batch\n", run.stderr.read()
    family = psutil.Process(run.pid).children(recursive=True)
    assert len(family) >= 3
    run.send_signal(how)
    run.wait(timeout=120)
    _, alive = psutil.wait_procs(family, timeout=60)
    assert alive == []
