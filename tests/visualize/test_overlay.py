"""Overlays, contact sheets and video files."""

import av
import numpy as np
import pytest

from tests.each_case import each_case
from tests.numbered import paint, read_number
from videoctx.visualize.contact_sheet import chosen_frames, write_contact_sheet
from videoctx.visualize.overlay import DARKENED, OPACITY, Overlay
from videoctx.visualize.video_file import write_video


def overlay(values, *, shade: int = 100, query=None, is_uniform: bool = False) -> Overlay:
    values = np.asarray(values, dtype=float)
    frames = np.full((*values.shape, 3), shade, np.uint8)
    return Overlay(frames=frames, values=values, unit="weight", query=query, is_uniform=is_uniform)


# Overlay ----------------------------------------------------------------------------------------------------------


def test_zero_is_transparent_and_the_greatest_value_has_the_last_color():
    shown = overlay([[[0.0, 2.0, 4.0]]])
    assert shown.limits == (0.0, 4.0)
    black, middle, brightest = shown.images()[0, 0].astype(float)
    assert black.tolist() == [100, 100, 100]
    last = 255 * np.array(shown.colors(1.0)[:3])
    np.testing.assert_allclose(brightest, (1 - OPACITY) * 100 + OPACITY * last, atol=0.6)
    half = 255 * np.array(shown.colors(0.5)[:3])
    np.testing.assert_allclose(middle, (1 - OPACITY / 2) * 100 + OPACITY / 2 * half, atol=0.6)


def test_one_scale_for_the_whole_clip():
    first, second = overlay([[[1.0]], [[4.0]]]).images()[:, 0, 0].astype(int)
    assert np.abs(first - 100).max() < np.abs(second - 100).max()


def test_negative_values_have_other_colors():
    shown = overlay([[[-2.0, 0.0, 4.0]]])
    assert shown.limits == (-4.0, 4.0)
    negative, zero, positive = shown.images()[0, 0].astype(int)
    assert zero.tolist() == [100, 100, 100]
    assert negative[2] > negative[0]  # blue
    assert positive[0] > positive[2]  # red


def test_uniform_map_has_the_color_in_the_middle_everywhere():
    values = np.array([[[1.0, 1.001]], [[0.999, 1.0]]])
    images = overlay(values, is_uniform=True).images().astype(int)
    assert np.abs(images - images[0, 0, 0]).max() <= 1
    middle = 255 * np.array(overlay(values).colors(0.5)[:3])
    np.testing.assert_allclose(images[0, 0, 0], (1 - OPACITY / 2) * 100 + OPACITY / 2 * middle, atol=1)
    assert overlay(-values, is_uniform=True).limits == (-2.002, 2.002)
    assert (overlay(np.zeros((1, 2, 2)), is_uniform=True).images() == 100).all()


def test_map_of_zeros():
    shown = overlay(np.zeros((1, 2, 2)))
    assert (shown.images() == 100).all()


def test_outside_the_crop_is_darkened():
    image = overlay([[[np.nan, 1.0]]]).images()[0]
    assert image[0, 0].tolist() == [round(DARKENED * 100)] * 3


@each_case(("x", "y"), [(30, 20), (0, 0), (47, 39)])
def test_cross_of_the_query_is_in_its_frame_only(x, y):
    values = np.zeros((3, 40, 48))
    marked = (overlay(values, query=(1, x, y)).images() != 100).any(axis=3)
    assert not marked[0].any()
    assert not marked[2].any()
    rows, columns = np.nonzero(marked[1])
    assert not marked[1, y, x]  # the place itself stays open
    assert np.abs(rows - y).max() <= 5
    assert np.abs(columns - x).max() <= 5
    if (x, y) == (30, 20):
        assert rows.mean() == pytest.approx(y)
        assert columns.mean() == pytest.approx(x)


# Video ------------------------------------------------------------------------------------------------------------


@each_case(("width", "height"), [(64, 48), (65, 49), (64, 51)])
def test_video_file_shows_the_frames(tmp_path, width, height):
    frames = np.stack([paint(number, width=width, height=height) for number in range(5)])
    write_video(tmp_path / "shown.mp4", frames, fps=3.75)
    with av.open(str(tmp_path / "shown.mp4")) as container:
        stream = container.streams.video[0]
        codec = stream.codec_context
        assert (codec.name, codec.pix_fmt) == ("h264", "yuv420p")
        assert float(stream.average_rate) == 3.75
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert [read_number(frame[:height, :width]) for frame in frames] == [0, 1, 2, 3, 4]
    assert frames[0].shape == (height + height % 2, width + width % 2, 3)
    start = (tmp_path / "shown.mp4").read_bytes()
    assert start.index(b"moov") < start.index(b"mdat")  # plays before it is there as a whole


def test_video_without_frame_rate_is_refused(tmp_path):
    with pytest.raises(ValueError, match="fps is 0; expected more than 0"):
        write_video(tmp_path / "shown.mp4", np.zeros((1, 4, 4, 3), np.uint8), fps=0)


# Contact sheet ----------------------------------------------------------------------------------------------------


@each_case(
    ("num_frames", "query", "chosen"),
    [
        (1, None, [0]),
        (4, 2, [0, 1, 2, 3]),
        (8, None, [0, 1, 2, 3, 4, 5, 6, 7]),
        (32, None, [0, 4, 9, 13, 18, 22, 27, 31]),
        (32, 17, [0, 4, 9, 13, 17, 22, 27, 31]),
        (32, 31, [0, 4, 9, 13, 18, 22, 27, 31]),
    ],
)
def test_frames_of_a_sheet(num_frames, query, chosen):
    assert chosen_frames(num_frames, query) == chosen


def test_sheet_shows_frames_and_overlays_in_order(tmp_path):
    """Each frame has its own shade, and so has the pixel under the greatest value."""
    from matplotlib.image import imread

    values = np.zeros((3, 40, 60))
    values[1] = 5.0
    frames = np.stack([np.full((40, 60, 3), shade, np.uint8) for shade in (60, 130, 200)])
    shown = Overlay(frames=frames, values=values, unit="weight", query=None)
    write_contact_sheet(tmp_path / "sheet.png", shown, title="a$^$ title\x1b " * 30, labels=["a", "b", "c"])
    sheet = (imread(tmp_path / "sheet.png")[..., :3] * 255).round().astype(int)

    def extent(color) -> tuple[float, float]:
        rows, columns = np.nonzero((np.abs(sheet - np.asarray(color)) <= 1).all(axis=2))
        assert len(rows) > 1000, color
        return rows.mean(), columns.mean()

    (row_a, column_a), (row_b, column_b) = extent([60] * 3), extent([130] * 3)
    row_hot, column_hot = extent(shown.images()[1, 0, 0])
    assert column_a < column_b == pytest.approx(column_hot, abs=1)
    assert row_a > row_b  # frame 0 stands above its overlay, which is the same; frame 1's overlay is another
    assert row_hot > row_b


def test_a_smaller_overlay_keeps_its_color_scale_and_its_places():
    values = np.full((1, 40, 60), np.nan)
    values[:, :, 20:40] = np.linspace(0.1, 0.9, 40)[:, None]
    overlay = Overlay(frames=np.zeros((1, 40, 60, 3), np.uint8), values=values, unit="weight", query=(0, 29.5, 19.5))
    small = overlay.shrunk(np.zeros((1, 10, 15, 3), np.uint8))
    assert small.limits == overlay.limits == (0.0, 0.9)
    assert np.nanmax(small.values) < 0.9
    assert np.isnan(small.values[0, 0]).tolist() == [True] * 5 + [False] * 5 + [True] * 5
    assert small.query == (0, 7.0, 4.5)
