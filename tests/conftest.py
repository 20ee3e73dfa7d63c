"""Fixtures of videos and manifests that several tests read. Each is written once per session and not changed."""

import gc
import os
import signal
from dataclasses import dataclass
from pathlib import Path

import av
import hypothesis
import numpy as np
import pytest
import torch

from tests.numbered import NumberedVideo, write_video
from videoctx.data.annotations import write_manifest

pytest_plugins = ["tests.tiny_runs"]
# A run in the background ignores these signals, and so does all that it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
# A busy machine takes its time.
hypothesis.settings.register_profile("patient", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("patient")
torch.set_num_threads(1)  # small shapes: more threads only wait for each other


def pytest_collection_modifyitems(items):
    """Skip the tests marked `cuda` without a GPU. With VIDEOCTX_CUDA_TESTS_ON_CPU they run on the CPU, to try them."""
    if torch.cuda.is_available() or os.environ.get("VIDEOCTX_CUDA_TESTS_ON_CPU"):
        return
    for item in items:
        if item.get_closest_marker("cuda"):
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))


def pytest_collection_finish(session):  # noqa: ARG001
    """Leave half a million objects of imports and collection out of garbage collections: a tenth of all time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


@pytest.fixture(scope="session")
def closed_gop_mp4(tmp_path_factory) -> NumberedVideo:
    """60 frames of H.264 with B-frames, key frames at 0, 24 and 48."""
    return write_video(tmp_path_factory.mktemp("mp4") / "closed_gop.mp4", num_frames=60)


@pytest.fixture(scope="session")
def b_frame_avi(tmp_path_factory) -> NumberedVideo:
    """60 frames of MPEG-4 with B-frames and 3 key frames: a container that decord decodes incorrectly."""
    path = tmp_path_factory.mktemp("avi") / "b_frames.avi"
    return write_video(path, num_frames=60, fps=25, codec="mpeg4", options={"g": "24", "bf": "2", "b": "800k"})


@pytest.fixture(scope="session")
def broken_files(tmp_path_factory, closed_gop_mp4, b_frame_avi) -> dict[str, Path]:
    """Files that are not readable videos, by their defect."""
    folder = tmp_path_factory.mktemp("broken")
    contents = {
        "empty": b"",
        "zeros": bytes(5000),
        "text": b"this is no video\n" * 100,
        "truncated": _part(closed_gop_mp4.path, 0.5),  # the index at its end is missing
        # the index at its start lists frames that are missing
        "cut short": _part(
            write_video(folder / "whole.mp4", num_frames=60, container_options={"movflags": "faststart"}).path, 0.75
        ),
    }
    files = {name: folder / f"{name}.mp4" for name in contents}
    for name, content in contents.items():
        files[name].write_bytes(content)
    files["truncated AVI"] = folder / "truncated.avi"
    files["truncated AVI"].write_bytes(_part(b_frame_avi.path, 0.5))
    files["audio only"] = _write_silence(folder / "audio.mp4")
    files["missing"] = folder / "missing.mp4"
    files["directory"] = folder / "directory.mp4"
    files["directory"].mkdir()
    return files


@dataclass(frozen=True, slots=True)
class VideoFolder:
    manifest: Path
    videos: dict[str, list[NumberedVideo]]  # by split, in manifest order


# (width, height, number of frames) of the videos of each split; decord 0.6 does not read every width below 80
FOLDER = {
    "train": [(64, 48, 20), (96, 64, 24), (64, 96, 16), (64, 64, 12), (96, 64, 6)],
    "val": [(64, 48, 14), (64, 96, 18)],
    "test": [(64, 48, 21), (64, 96, 15), (80, 80, 5)],
}
CLASSES = ("clap", "wave")


@pytest.fixture(scope="session")
def video_folder(tmp_path_factory) -> VideoFolder:
    """A manifest of ten small videos of several sizes and lengths, of two alternating classes."""
    folder = tmp_path_factory.mktemp("folder")
    videos = {
        split: [
            write_video(folder / f"{split}{index}.mp4", num_frames=num_frames, width=width, height=height)
            for index, (width, height, num_frames) in enumerate(sizes)
        ]
        for split, sizes in FOLDER.items()
    }
    rows = [
        {"path": video.path.name, "label": CLASSES[index % 2], "split": split}
        for split, split_videos in videos.items()
        for index, video in enumerate(split_videos)
    ]
    write_manifest(folder / "manifest.csv", rows, CLASSES)
    return VideoFolder(folder / "manifest.csv", videos)


def _part(path: Path, share: float) -> bytes:
    content = path.read_bytes()
    return content[: int(len(content) * share)]


def _write_silence(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path
