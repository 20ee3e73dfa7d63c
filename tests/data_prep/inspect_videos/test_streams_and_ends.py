"""Inspection writes which stream is the video, and finds truncated files."""

import shutil

import pytest

from data_prep.inspect_videos.inspection import inspect_file
from tests import corpus
from videoctx.data.storage.local_files import LocalFiles

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="FFmpeg's command line is not installed")


@needs_ffmpeg
def test_the_video_stream_is_written(tmp_path):
    found = inspect_file(str(corpus.make("default_second.mp4", tmp_path)), files=LocalFiles())
    assert (found["video_stream"], found["codec"]) == ("1", "mpeg4")
    assert not {"decord", "torchcodec"} & set(found["decoders"].split())


@needs_ffmpeg
def test_a_truncated_file_is_a_problem(tmp_path):
    content = corpus.make("h264_closed.mkv", tmp_path).read_bytes()
    (tmp_path / "cut.mkv").write_bytes(content[: len(content) * 63 // 100])
    assert "truncated" in inspect_file(str(tmp_path / "cut.mkv"), files=LocalFiles())["problem"]
