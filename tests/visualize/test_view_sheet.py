"""Contact sheets of views, of videos whose frames show their numbers."""

from functools import partial
from io import BytesIO

import numpy as np
import pytest
from matplotlib.image import imread

from tests.each_case import each_case
from tests.numbered import read_number, write_video
from tests.small_preprocessing import small_preprocessing
from videoctx.data.decoding.containers import VideoDecodeError
from videoctx.visualize.view_sheet import GAP_PX, ViewSheet, view_sheet

preprocessing = partial(
    small_preprocessing,
    clip_len=8,
    frame_interval=3,
    short_side_px=64,
    crop_size_px=64,
    views=(3, 1),
    mean=(0.5, 0.5, 0.5),
    std=(0.2, 0.2, 0.2),
)


def tiles(sheet: ViewSheet, *, size: int) -> list[np.ndarray]:
    image = imread(BytesIO(sheet.jpeg), format="jpeg")
    assert image.shape == (sheet.height, sheet.width, 3)
    pitch = size + GAP_PX
    corners = [(index // 4 * pitch, index % 4 * pitch) for index in range(len(sheet.frames))]
    return [image[top : top + size, left : left + size] for top, left in corners]


@pytest.fixture(scope="module")
def square(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("square") / "square.mp4", num_frames=60, width=96, height=96)


@each_case(
    ("changes", "start", "frames"),
    [
        ({}, 19, [19, 22, 25, 28, 31, 34, 37, 40]),
        ({}, 50, [50, 53, 56, 59, 2, 5, 8, 11]),  # wraps around
        ({"short_videos": "repeat_last"}, 50, [50, 53, 56, 59, 59, 59, 59, 59]),
        ({"clip_len": 16, "frame_interval": 1}, 22, [22, 24, 26, 28, 31, 33, 35, 37]),  # eight of them
        ({"clip_len": 2}, 0, [0, 3]),
        # T spread over 48 frames at 60 a second and rounded down: not `frame_interval` apart from its start
        ({"protocol": "pyslowfast"}, 0, None),
    ],
)
def test_frames_are_those_of_the_clip(square, changes, start, frames):
    made = preprocessing(**changes)
    if frames is None:
        frames = made.sampler().clips(60, square.fps, np.random.default_rng(0))[0].tolist()
        assert frames != made.shape.frames(0, 60, square.fps).tolist()
    sheet = view_sheet(str(square.path), made, start_frame=start, crop=0)
    assert sheet.frames == frames
    assert [read_number(tile) for tile in tiles(sheet, size=64)] == frames


@each_case(("crop", "color"), [(0, (255, 0, 0)), (2, (255, 255, 255))])
def test_image_is_that_of_the_crop(tmp_path, crop, color):
    video = write_video(tmp_path / "wide.mp4", num_frames=10, width=192, height=96)
    made = preprocessing(crop_size_px=48, views=(1, 3), clip_len=4, frame_interval=1)
    image, *_ = tiles(view_sheet(str(video.path), made, start_frame=3, crop=crop), size=48)
    corner = image[-6:, :6] if crop == 0 else image[-6:, -6:]
    assert np.abs(corner.mean(axis=(0, 1)) - color).max() < 40
    with pytest.raises(ValueError, match="crop is 3; expected less than 3"):
        view_sheet(str(video.path), made, start_frame=3, crop=3)


def test_large_crops_are_made_small(square):
    sheet = view_sheet(str(square.path), preprocessing(short_side_px=256, crop_size_px=256), start_frame=0, crop=0)
    assert [read_number(tile) for tile in tiles(sheet, size=128)] == sheet.frames
    assert (sheet.width, sheet.height) == (4 * 130 - 2, 2 * 130 - 2)


def test_video_without_such_a_clip_is_refused(square, tmp_path):
    with pytest.raises(VideoDecodeError, match="60 frames, but the clip started at 60"):
        view_sheet(str(square.path), preprocessing(), start_frame=60, crop=0)
    with pytest.raises(VideoDecodeError, match="spans 78"):
        view_sheet(str(square.path), preprocessing(short_videos="refuse", frame_interval=11), start_frame=0, crop=0)
    with pytest.raises(VideoDecodeError, match="No such file"):
        view_sheet(str(tmp_path / "gone.mp4"), preprocessing(), start_frame=0, crop=0)
