"""A part of the videos decoded on a GPU: which ones, by what, and what happens where it cannot be.

The threads, the kept decoders and every way back to the CPU are tested with torchcodec on the CPU in the GPU's place.
"""

import importlib.metadata
import logging
import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.each_case import each_case
from tests.numbered import write_video
from videoctx.data.annotations import VideoRecord
from videoctx.data.loading.dataset import VideoDataset
from videoctx.data.loading.gpu_decoding import FAILURES_IN_A_ROW, GpuDecoding, check_gpu_decoding
from videoctx.data.loading.loader import VideoLoader
from videoctx.data.sampling.clip_samplers import ClipShape, RandomClips
from videoctx.data.sampling.video_samplers import EvaluationSampler
from videoctx.data.settings import GpuDecodingSettings
from videoctx.data.transforms.normalize import IMAGENET_MEAN, IMAGENET_STD, Normalize
from videoctx.data.transforms.train_transform import TrainTransform

try:
    import torchcodec

    from videoctx.data.decoding import nvdec_reader
except (ImportError, OSError, RuntimeError) as error:  # it is missing, too old, or finds no FFmpeg
    pytest.skip(f"no torchcodec 0.17: {error}", allow_module_level=True)

CPU = torch.device("cpu")
CLIPS = RandomClips(shape=ClipShape(clip_len=3, frame_interval=2), num_clips=2)


@pytest.fixture
def decoders(monkeypatch):
    """The decoders that are made, which may be given a reason why they fall back to the CPU."""
    made = []

    class Decoder(torchcodec.decoders.VideoDecoder):
        fallback = ""
        cpu_fallback = property(lambda self: self.fallback)

        def __init__(self, path, **arguments):
            super().__init__(path, **arguments)
            made.append(path.rpartition("/")[2])

    monkeypatch.setattr(nvdec_reader, "VideoDecoder", Decoder)
    return SimpleNamespace(made=made, kind=Decoder)


def records_of(video_folder, count=5):
    return [VideoRecord(str(video.path), 0, "train") for video in video_folder.videos["train"][:count]]


def read(records, *, epochs=1, num_workers=0, deadline_seconds=30.0, **settings):
    """Return the videos of each epoch, and what decoded on the GPU."""
    dataset = VideoDataset(records, sampler=CLIPS, seed=0, decoder="torchcodec")
    gpu = GpuDecoding(dataset, CPU, GpuDecodingSettings(**{"share": 1.0} | settings), deadline_seconds=deadline_seconds)
    sampler = EvaluationSampler(len(records), num_ranks=1, rank=0)
    loader = VideoLoader(dataset, sampler, batch_size=2, num_workers=num_workers, gpu=gpu)
    videos = [[video for batch in loader for video in batch.videos] for _ in range(epochs)]
    loader.close()
    return videos, gpu


def on_cpu(records):
    dataset = VideoDataset(records, sampler=CLIPS, seed=0, decoder="torchcodec")
    loader = VideoLoader(dataset, EvaluationSampler(len(records), num_ranks=1, rank=0), batch_size=2)
    return [video for batch in loader for video in batch.videos]


def assert_same(found, expected):
    assert [video.path for video in found] == [video.path for video in expected]
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.equal(ours.frames, theirs.frames)
        assert torch.equal(ours.clips, theirs.clips)
        assert (ours.seed, ours.starts) == (theirs.seed, theirs.starts)


def warnings_of(caplog):
    return [record.message for record in caplog.records if record.levelno == logging.WARNING]


@each_case("share", [0.0, 0.5, 1.0])
def test_videos_are_those_of_the_cpu_wherever_they_are_decoded(video_folder, decoders, share):
    records = records_of(video_folder)
    (videos,), gpu = read(records, share=share)
    assert_same(videos, on_cpu(records))
    assert gpu.num_decoded == {0.0: 0, 0.5: 3, 1.0: 5}[share]
    decoders.made.clear()


def test_a_batch_of_planes_and_of_frames_of_the_gpu_becomes_the_same_clips(video_folder):
    """Decoding processes send planes, and the GPU has RGB."""
    records = records_of(video_folder)
    dataset = VideoDataset(records, sampler=CLIPS, seed=0, frames="yuv")
    clips, kinds = [], []
    for share in (0.0, 0.5):
        gpu = GpuDecoding(dataset, CPU, GpuDecodingSettings(share=share), deadline_seconds=30)
        loader = VideoLoader(dataset, EvaluationSampler(len(records), num_ranks=1, rank=0), batch_size=5, gpu=gpu)
        (batch,) = loader
        loader.close()
        kinds.append([video.colors is None for video in batch.videos])
        transform = TrainTransform(
            crop_size_px=32,
            short_side_px=(36, 40),
            flip_probability=0.5,
            normalize=Normalize(IMAGENET_MEAN, IMAGENET_STD),
        )
        clips.append(transform(batch).clips)
    assert kinds == [[False] * 5, [True, False, True, False, True]]
    level = 1 / 255 / min(IMAGENET_STD)
    assert (clips[1] - clips[0]).abs().mean() < level


def test_the_share_is_even_and_a_video_keeps_its_place():
    dataset = SimpleNamespace(
        records=[VideoRecord("a.mp4", 0, "train")] * 1000 + [VideoRecord("https://host/a.mp4", 0, "train")]
    )
    for share in (0.1, 0.5, 0.9):
        gpu = GpuDecoding(dataset, CPU, GpuDecodingSettings(share=share), deadline_seconds=1)
        taken = np.array([gpu.takes(video) for video in range(1000)])
        assert np.abs(taken.reshape(10, 100).mean(1) - share).max() < 0.02, share
        assert (taken == [gpu.takes(video) for video in range(1000)]).all()
    assert not GpuDecoding(dataset, CPU, GpuDecodingSettings(share=1), deadline_seconds=1).takes(1000)  # it is remote


def test_decoders_are_kept_up_to_a_number(video_folder, decoders):
    records = records_of(video_folder, 3)
    read(records, epochs=3, num_threads=1, num_decoders=3)
    assert decoders.made == [f"train{index}.mp4" for index in range(3)]
    decoders.made.clear()
    read(records, epochs=2, num_threads=1, num_decoders=2)  # in turn, the one that is needed next is closed
    assert len(decoders.made) == 6


def test_a_file_that_has_changed_is_opened_again(tmp_path, decoders):
    kept = nvdec_reader.NvdecDecoders(CPU, most=2)
    shapes = []
    for width in (64, 96):
        path = write_video(tmp_path / "a.mp4", num_frames=8, width=width, height=64).path
        for _ in range(2):
            with kept.open(str(path), "auto", None) as reader:
                shapes.append(tuple(reader.read(np.array([0, 3])).shape))
    assert shapes == [(2, 64, 64, 3)] * 2 + [(2, 64, 96, 3)] * 2
    assert (len(decoders.made), len(kept)) == (2, 2)


def test_what_the_gpu_does_not_decode_is_decoded_on_the_cpu_and_reported_once(video_folder, decoders, caplog):
    decoders.kind.fallback = "[CUDA] Fallback status: Falling back due to: Video not supported"
    records = records_of(video_folder)
    (first, second), gpu = read(records, epochs=2)
    for videos in (first, second):
        assert_same(videos, on_cpu(records))
    assert gpu.num_decoded == 0
    assert len(decoders.made) == 5  # the second epoch does not try again
    assert warnings_of(caplog) == [
        f"{records[0].path}: decoded on the CPU, as are others like it: {decoders.kind.fallback}"
    ]


def test_without_an_engine_nothing_more_is_tried(video_folder, decoders, caplog):
    decoders.kind.fallback = "[CUDA] Fallback status: Falling back due to: NVcuvid unavailable"
    records = records_of(video_folder)
    (first, second), gpu = read(records, epochs=2)
    assert_same(first + second, on_cpu(records) * 2)
    assert not any(gpu.takes(video) for video in range(5))
    assert warnings_of(caplog) == [
        "data.loading.gpu_decoding: no more videos are decoded on the GPU, but on the CPU: " + decoders.kind.fallback
    ]


@pytest.mark.slow
def test_decoding_processes_decode_what_is_left(video_folder, decoders):
    decoders.kind.fallback = "[CUDA] Fallback status: Falling back due to: Video not supported"
    records = records_of(video_folder, 3)
    (videos,), _ = read(records, num_workers=1)
    assert_same(videos, on_cpu(records))


def test_many_failures_in_a_row_end_it(video_folder, decoders, caplog):
    decoders.kind.fallback = "a card of another kind"
    (videos,), gpu = read(records_of(video_folder, 1) * (FAILURES_IN_A_ROW + 3), num_threads=1)
    assert all(video.failure is None for video in videos)
    assert warnings_of(caplog)[-1].endswith(
        "no more videos are decoded on the GPU, but on the CPU: a card of another kind"
    )
    assert not gpu.takes(FAILURES_IN_A_ROW + 2)


def test_a_thread_that_hangs_is_left_and_the_cpu_decodes(video_folder, decoders, monkeypatch, caplog):
    released = threading.Event()
    get_frames = decoders.kind.get_frames_at
    monkeypatch.setattr(decoders.kind, "get_frames_at", lambda *_: released.wait(60) and get_frames(*_))
    records = records_of(video_folder)
    (videos,), gpu = read(records, deadline_seconds=0.5, num_threads=1)
    released.set()
    monkeypatch.undo()
    assert_same(videos, on_cpu(records))
    assert gpu.num_decoded == 0
    assert warnings_of(caplog)[0].endswith("on the CPU: no frames within 0.5 s")


def test_files_that_may_differ_there_are_left_to_the_cpu(tmp_path, b_frame_avi, broken_files):
    def refusal(path, probe_result=None):
        with pytest.raises(nvdec_reader.UserError) as caught, kept.open(str(path), "auto", probe_result):
            pass
        return f"{type(caught.value).__name__}: {caught.value}"

    kept = nvdec_reader.NvdecDecoders(CPU, most=4)
    turned = write_video(tmp_path / "turned.mp4", num_frames=8, rotation=90).path
    assert "NotOnGpuError: its frames are turned, or have another pixel format" in refusal(turned)
    assert refusal(tmp_path) == "NotOnGpuError: images are decoded on the CPU"
    assert "NotOnGpuError: torchcodec may not be exact: " in refusal(b_frame_avi.path)
    assert "VideoDecodeError: " in refusal(broken_files["text"])
    assert len(kept) == 0


@pytest.fixture
def capable(monkeypatch):
    """What the capability queries report of a machine with a GPU."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    return monkeypatch


def missing(_):
    raise importlib.metadata.PackageNotFoundError


def test_what_is_missing_is_one_line_that_tells_what_to_do(capable):
    def line(device="cuda"):
        with pytest.raises(ValueError, match=r"^data\.loading\.gpu_decoding ") as caught:
            check_gpu_decoding(torch.device(device))
        return str(caught.value)

    end = "; expected null, which decodes all videos on the CPU"
    wanted = "data.loading.gpu_decoding needs torchcodec 0.17 or newer"
    check_gpu_decoding(torch.device("cuda"))
    assert line("cpu") == f"data.loading.gpu_decoding needs a CUDA device, and this run is on cpu{end}"
    capable.setattr(importlib.metadata, "version", missing)
    assert line() == f"{wanted} (pip install torchcodec), which is not installed{end}"
    for version in ("0.9.1", "0.16.2+cu130"):
        capable.setattr(importlib.metadata, "version", lambda _, version=version: version)
        assert line() == f"{wanted}, and {version} is installed (pip install --upgrade torchcodec){end}"
    capable.setattr(importlib.metadata, "version", lambda _: "1.0")
    capable.setitem(sys.modules, "videoctx.data.decoding.nvdec_reader", None)
    assert line().startswith(f"{wanted}, which does not load here (")


def test_a_run_on_the_cpu_refuses_it_in_one_line(refused):
    line = refused("fit", "--data.loading.gpu_decoding.share=0.5")
    assert line.startswith("data.loading.gpu_decoding needs a CUDA device, and this run is on cpu; expected null")
    line = refused("fit", "--data.loading.gpu_decoding.share=1.5")
    assert "loading.gpu_decoding.share is 1.5; expected 0 to 1" in line
