"""The grid of a source whose container states no frame rate, or another one, has the rate of its frames."""

import shutil
import subprocess
from fractions import Fraction

import pytest

from data_prep.transcode.segment import plan_segment
from tests.each_case import each_case

RATES = {  # file: rate, FFmpeg's options
    "b_frames.avi": ("25", "-c:v libx264 -bf 2"),
    "odd.flv": ("31", "-c:v flv1"),
    "odd.mkv": ("31", "-c:v libx264 -bf 2"),
    "raw.dv": ("30000/1001", "-s 720x480 -pix_fmt yuv411p"),
    "raw.h264": ("25", "-c:v libx264 -bf 2"),
}


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="FFmpeg's command line is not installed")
@each_case("name", RATES)
def test_seconds_of_a_segment_are_the_frames_of_that_time(tmp_path, name):
    text, options = RATES[name]
    rate = Fraction(text)
    source = f"ffmpeg -v error -f lavfi -i testsrc2=s=96x80:r={text}:d=2 {options}"
    subprocess.run([*source.split(), str(tmp_path / name)], check=True)
    whole, part = (
        plan_segment(str(tmp_path / name), short_side_px=80, fps=None, start_seconds=start, end_seconds=end)
        for start, end in ((None, None), (0.5, 1.5))
    )
    assert whole.rate == part.rate == rate
    assert (whole.first, whole.stop) == (0, round(2 * rate))
    assert part.first == pytest.approx(float(rate) * 0.5, abs=1)
    assert part.stop - part.first == round(rate)
