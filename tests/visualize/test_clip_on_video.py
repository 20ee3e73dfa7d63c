"""The clip of a video: its frames, its crop, and a planted patch that is found on the video."""

from functools import partial

import av
import numpy as np
import pytest
import torch
from torch import nn

from tests.each_case import each_case
from tests.numbered import read_number, write_uneven_video, write_video
from tests.small_preprocessing import small_preprocessing
from videoctx.data.decoding.containers import VideoDecodeError
from videoctx.data.loading.segment import Segment
from videoctx.data.transforms.normalize import IMAGENET_MEAN, IMAGENET_STD
from videoctx.layers import NonLocal
from videoctx.visualize.attention import trace_blocks
from videoctx.visualize.clip_on_video import Query, read_clip
from videoctx.visualize.grids import Grid

RAW = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}


preprocessing = partial(small_preprocessing, frame_interval=5, short_side_px=48, crop_size_px=40)


def numbers(clip) -> list[int]:
    return [read_number(frame) for frame in clip.frames]


# Which frames -----------------------------------------------------------------------------------------------------


def test_clip_is_in_the_middle_without_a_query(closed_gop_mp4):
    clip = read_clip(str(closed_gop_mp4.path), preprocessing())
    assert numbers(clip) == clip.indices.tolist() == [22, 27, 32, 37]
    assert clip.fps == 30
    assert clip.input.shape == (1, 3, 4, 40, 40)


@each_case(
    ("query", "frames", "nearest"),
    [
        (Query(x=50, y=40, frame=31), [21, 26, 31, 36], 2),
        (Query(x=50, y=40, seconds=31 / 30), [21, 26, 31, 36], 2),
        (Query(x=50, y=40, seconds=31.9 / 30), [21, 26, 31, 36], 2),
        (Query(x=50, y=40, frame=0), [0, 5, 10, 15], 0),
        (Query(x=50, y=40, frame=7), [2, 7, 12, 17], 1),
        (Query(x=50, y=40, frame=59), [44, 49, 54, 59], 3),
        (Query(x=50, y=40, frame=57), [42, 47, 52, 57], 3),
    ],
)
def test_frame_of_the_query_is_in_the_clip(closed_gop_mp4, query, frames, nearest):
    clip = read_clip(str(closed_gop_mp4.path), preprocessing(), query=query)
    assert numbers(clip) == frames
    assert clip.input_position(query)[0] == nearest


def test_times_of_a_variable_frame_rate_are_those_of_its_frames(tmp_path):
    """Ten frames lie in the first second and two in the next: six per second on average."""
    write_uneven_video(tmp_path / "uneven.mp4")
    made, query = preprocessing(frame_interval=1), Query(x=50, y=40, seconds=0.35)
    for where in ({"query": query}, {"around_seconds": 0.35}, {"around_seconds": 0.35, "segment": Segment(0.1)}):
        clip = read_clip(str(tmp_path / "uneven.mp4"), made, **where)
        assert clip.indices.tolist() == [1, 2, 3, 4], where
        assert clip.seconds == pytest.approx([0.1, 0.2, 0.3, 0.4]), where
        assert clip.input_position(query)[0] == 2
    for seconds, number in ((0.0, 0), (0.99, 9), (1.49, 10), (1.6, 11)):
        clip = read_clip(str(tmp_path / "uneven.mp4"), made, query=Query(x=50, y=40, seconds=seconds))
        assert number in clip.indices, seconds
    with pytest.raises(ValueError, match=r"the query is at 9 s; expected frame 0 to 11, or 0 to less than"):
        read_clip(str(tmp_path / "uneven.mp4"), made, query=Query(x=50, y=40, seconds=9))


def test_short_video_wraps_around_or_is_refused(tmp_path):
    video = write_video(tmp_path / "short.mp4", num_frames=7)
    query = Query(x=50, y=40, frame=5)
    clip = read_clip(str(video.path), preprocessing(), query=query)
    assert numbers(clip) == [0, 5, 3, 1]
    assert clip.input_position(query)[0] == 1
    with pytest.raises(VideoDecodeError, match=r"short.mp4: 7 frames, but a clip of 4, 5 apart, spans 16"):
        read_clip(str(video.path), preprocessing(short_videos="refuse"))


# Where ------------------------------------------------------------------------------------------------------------


@each_case(
    ("width", "height", "box"),
    [
        # 112 × 80 → 67 × 48 → corner (4, 13)
        (112, 80, (13 * 112 / 67, 4 * 80 / 48, 53 * 112 / 67, 44 * 80 / 48)),
        # 80 × 113 is stored as 80 × 112: yuv420p knows even sizes alone
        (80, 112, (4 * 80 / 48, 13 * 112 / 67, 44 * 80 / 48, 53 * 112 / 67)),
        (96, 48, (28, 4, 68, 44)),
    ],
)
def test_box_is_the_crop_on_the_video(tmp_path, width, height, box):
    video = write_video(tmp_path / "video.mp4", num_frames=16, width=width, height=height)
    clip = read_clip(str(video.path), preprocessing())
    assert clip.box == pytest.approx(box)
    seen = ~np.isnan(clip.upsample(np.zeros((1, 1, 1)), Grid.uniform((1, 1, 1), (4, 40, 40))))
    left, top, right, bottom = box
    for y in range(height):
        for x in range(width):
            assert seen[0, y, x] == (left <= x + 0.5 < right and top <= y + 0.5 < bottom)


@each_case(("x", "y"), [(30, 20), (80.5, 60.25), (22, 7)])
def test_input_and_video_positions_are_inverse(closed_gop_mp4, x, y):
    clip = read_clip(str(closed_gop_mp4.path), preprocessing(), query=Query(x=x, y=y, frame=30))
    assert clip.video_position(clip.input_position(Query(x=x, y=y, frame=30))) == pytest.approx((2, x, y))


@each_case(
    ("query", "message"),
    [
        (Query(x=112, y=40, frame=3), r"x 112, y 40; expected x from 0 to less than 112 and y from 0 to less than 80"),
        (Query(x=-1, y=40, frame=3), r"x -1, y 40; expected x from 0"),
        (Query(x=5, y=40, frame=3), r"outside the network's crop: x from 22 to 89 and y from 7 to 73"),
        (Query(x=50, y=40, frame=60), r"at frame 60; expected frame 0 to 59, or 0 to less than 2.00 s"),
        (Query(x=50, y=40, seconds=2.0), r"at 2 s; expected frame 0 to 59"),
        (Query(x=50, y=40, seconds=-0.1), r"at -0.1 s; expected frame 0 to 59"),
    ],
)
def test_query_outside_is_refused(closed_gop_mp4, query, message):
    with pytest.raises(ValueError, match=message):
        read_clip(str(closed_gop_mp4.path), preprocessing(), query=query)


def test_query_as_text():
    assert Query.parse("120,64,2.5") == Query(x=120, y=64, seconds=2.5)
    assert Query.parse("1.5,2,75f") == Query(x=1.5, y=2, frame=75)
    for text in ("1,2", "1,2,3,4", "a,2,3", "1,2,3.5f", "1,2,", "nan,1,1", "1,2,inf"):
        with pytest.raises(ValueError, match=r"expected x,y,seconds or x,y,frame with an f"):
            Query.parse(text)


# A planted patch --------------------------------------------------------------------------------------------------


def plant(path, *, width: int, height: int, patch: tuple[int, int, int], num_frames: int = 24) -> str:
    """Write a lossless dark video with a bright square of 8 pixels in four frames."""
    first, top, left = patch
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = width, height, "bgr0"
        for index in range(num_frames):
            image = np.full((height, width, 3), 20, np.uint8)
            if first <= index < first + 4:
                image[top : top + 8, left : left + 8] = 255
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return str(path)


class Intensity(nn.Module):
    """Mean color of windows, halved in time, then a Non-local block that attends to what is bright."""

    def __init__(self, subsample: str) -> None:
        super().__init__()
        self.conv = nn.Conv3d(3, 2, (1, 5, 5), (1, 4, 4), (0, 2, 2), bias=False)
        nn.init.constant_(self.conv.weight, 4.0 / 75)
        self.pool = nn.AvgPool3d((2, 1, 1))
        self.block = NonLocal(2, affinity="gaussian", softmax_scale=False, subsample=subsample, inner_ratio=0.5)

    def forward(self, clip):
        return self.block(self.pool(self.conv(clip)))


@each_case("subsample", ["input", "none"])
@each_case(
    ("width", "height", "patch", "changes"),
    [
        (120, 90, (8, 20, 40), {"short_side_px": 64, "crop_size_px": 64}),
        (121, 91, (8, 60, 70), {"short_side_px": 64, "crop_size_px": 60}),
        (75, 133, (12, 50, 30), {"short_side_px": 75, "crop_size_px": 71}),
        (90, 90, (0, 30, 21), {"short_side_px": 120, "crop_size_px": 96}),
        (150, 100, (8, 40, 60), {"short_side_px": 66, "crop_size_px": 64, "protocol": "torchvision", "views": (1, 1)}),
        (121, 91, (8, 60, 70), {"short_side_px": 64, "crop_size_px": 63, "protocol": "pyslowfast"}),
    ],
)
def test_planted_patch_is_found_on_the_video(tmp_path, width, height, patch, changes, subsample):
    path = plant(tmp_path / "planted.mkv", width=width, height=height, patch=patch)
    first, top, left = patch
    query = Query(x=left + 3.5, y=top + 3.5, frame=first + 2)
    clip = read_clip(path, preprocessing(clip_len=8, frame_interval=2, **RAW | changes), query=query)
    attention = trace_blocks(Intensity(subsample).eval(), clip.input)["block"].attention
    values = attention.map_of(attention.queries.nearest(clip.input_position(query))).double().numpy()
    upsampled = clip.upsample(values, attention.keys)
    upsampled = np.nan_to_num(upsampled - np.nanmedian(upsampled)).clip(min=0)
    lit = upsampled.sum(axis=(1, 2))
    bright = clip.indices[(clip.indices >= first) & (clip.indices < first + 4)]
    assert (lit * clip.indices).sum() / lit.sum() == pytest.approx(bright.mean(), abs=1)  # a cell is 4 frames
    rows, columns = upsampled.sum(axis=(0, 2)), upsampled.sum(axis=(0, 1))
    cell = attention.keys.axes[2].step * width / clip.resized[1]  # in the video's pixels
    assert (rows * np.arange(height)).sum() / rows.sum() == pytest.approx(top + 3.5, abs=0.4 * cell)
    assert (columns * np.arange(width)).sum() / columns.sum() == pytest.approx(left + 3.5, abs=0.4 * cell)


def test_input_equals_that_of_a_test(closed_gop_mp4):
    """With the whole frame as the crop, the input is the normalized frame."""
    clip = read_clip(str(closed_gop_mp4.path), preprocessing(short_side_px=80, crop_size_px=80))
    left, top, right, bottom = clip.box
    assert (left, top, right, bottom) == (16, 0, 96, 80)
    mean, std = (torch.tensor(values)[:, None, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
    shown = torch.from_numpy(clip.frames[:, :, 16:96]).permute(3, 0, 1, 2) / 255
    torch.testing.assert_close(clip.input[0], (shown - mean) / std)
