"""Reading transcoded videos back, and what the tests of transcode share."""

import shutil

import numpy as np
import pytest

from data_prep.transcode.encoders import Encoding
from tests.numbered import read_number
from videoctx.data.decoding.video_reader import open_video

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no program ffmpeg here")
SMALL = Encoding(short_side_px=64, fps=None, crf=18, preset="ultrafast")


def images(path):
    with open_video(str(path), "pyav") as reader:
        return reader.read(np.arange(reader.num_frames))


def numbers(path, read=read_number):
    return [read(image) for image in images(path)]
