"""Full and read-only file systems, where one can be mounted: one sentence with the path, and nothing is left behind."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from data_prep.transcode.jobs import Job
from data_prep.transcode.make_file import make_file
from tests.data_prep.transcode.read_back import SMALL, needs_ffmpeg
from tests.file_limits import mounted
from tests.test_full_disk import TOOLS, evaluated_run
from videoctx.user_error import error_line

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def command_line(monkeypatch):
    monkeypatch.setattr("sys.argv", ["videoctx"])


def test_a_read_only_file_system_is_one_sentence(place, tmp_path, capsys):
    evaluated_run(place)
    with mounted(tmp_path, "ro"):
        for name, tool in TOOLS.items():
            line = tool.fails(place, tmp_path / f"{name}{tool.suffix}", capsys)
            assert f"{tmp_path / name}{tool.suffix}" in line
            assert "Read-only file system" in line
        line = TOOLS["convert"].fails(place, tmp_path / "no" / "a.pt", capsys)
        assert f"there is no folder {tmp_path / 'no'}" in line


@pytest.mark.parametrize("ffmpeg", [False, pytest.param(True, marks=needs_ffmpeg)])
def test_transcoding_to_a_full_disk(closed_gop_mp4, tmp_path, ffmpeg):
    with mounted(tmp_path, "size=8k"):
        (tmp_path / "other").write_bytes(bytes(4096))
        with pytest.raises(OSError, match="No space left") as caught:
            make_file(Job(str(closed_gop_mp4.path), str(tmp_path / "a.mp4")), encoding=SMALL, ffmpeg=ffmpeg)
        assert error_line(caught.value) == f"{tmp_path / 'a.mp4'}: cannot be written (No space left on device)"
        assert os.listdir(tmp_path) == ["other"]


LOADING = """
import sys
from videoctx.data.annotations import VideoRecord
from videoctx.data.loading.dataset import SampleIndex, VideoDataset
from videoctx.data.loading.loader import VideoLoader
from videoctx.data.sampling.clip_samplers import ClipShape, RandomClips
from videoctx.user_error import error_line
if __name__ == "__main__":
    sampler = RandomClips(shape=ClipShape(clip_len=3, frame_interval=2), num_clips=2)
    data = VideoDataset([VideoRecord(sys.argv[1], 0, "train")], sampler=sampler, seed=0)
    loader = VideoLoader(data, [SampleIndex(0)] * 4, batch_size=2, num_workers=1)
    try:
        print(sum(not video.failure for batch in loader for video in batch.videos), "videos")
    except OSError as error:
        print(error_line(error))
    loader.close()
"""


@pytest.mark.slow  # starts several processes
def test_a_full_dev_shm(closed_gop_mp4, tmp_path):
    """A little room: frames come through pipes. No room for the semaphores of processes: an error that names it."""
    if not shutil.which("unshare"):
        pytest.skip("there is no `unshare`")
    (tmp_path / "loading.py").write_text(LOADING)
    load = f"{sys.executable} {tmp_path / 'loading.py'} {closed_gop_mp4.path}"
    for size, printed, warning in (
        ("16k", "4 videos\n", "/dev/shm is full, so frames come through slower pipes"),
        ("4k", "No space left on device; expected room in /dev/shm, for the memory and the semaphores", ""),
    ):
        mount = f"mount -t tmpfs -o size={size} tmpfs /dev/shm"
        fill = "head -c 4096 /dev/zero > /dev/shm/full" if size == "4k" else "true"
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", f"{mount} || exit 77; {fill}; exec {load}"],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        )
        if done.returncode in (77, 1) and not done.stdout:
            pytest.skip(f"nothing can be mounted here: {done.stderr.strip()[-200:]}")
        assert done.stdout.startswith(printed), done.stderr
        assert warning in done.stderr
