"""The chart of a timeline: classes stacked to one, thumbnails below the axis, and times on the axis."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from tests.each_case import each_case
from videoctx.inference.leading_classes import LEAST_CLASSES
from videoctx.inference.timeline import Moment
from videoctx.inference.timeline_chart import MAX_MOMENTS, MAX_THUMBNAILS, MOST_CLASSES, TimelineChart, clock


def chart_of(probabilities: np.ndarray, *, seconds: float = 10.0, multi_label: bool = False) -> TimelineChart:
    names = [f"class {index}" for index in range(probabilities.shape[1])]
    names[0] = "_a $^$ {c}\x1b"
    chart = TimelineChart(names, multi_label=multi_label)
    for index, row in enumerate(probabilities):
        start = index * seconds / len(probabilities)
        chart.add(Moment(start, start + 0.5, row))
    return chart


def leading_in_turn(num_classes: int, num_moments: int) -> np.ndarray:
    """The first classes, as many as there are moments, lead in turn with 0.6; the others share the rest."""
    values = np.full((num_moments, num_classes), 0.4 / (num_classes - 1))
    values[np.arange(num_moments), np.arange(num_moments) % num_classes] = 0.6
    return values


def drawn(chart: TimelineChart):
    axes = Figure().add_subplot()
    chart._draw_classes(axes, *chart._ends)
    return axes


@each_case(("num_classes", "num_leading"), [(3, 3), (40, 2), (40, 40)])
def test_leading_classes_and_the_others_sum_to_one(num_classes, num_leading):
    values = leading_in_turn(num_classes, num_leading)
    areas = drawn(chart_of(values)).collections
    labels = [area.get_label() for area in areas]
    shown = min(max(num_leading, LEAST_CLASSES), MOST_CLASSES, num_classes)
    assert len(areas) == shown + (shown < num_classes)
    assert labels[-1] == {3: " class 2", 2: " other", 40: " other (also 20 that lead at times)"}[num_leading]
    top = areas[-1].get_paths()[0].vertices[:, 1].max()
    assert top == pytest.approx(1, abs=1e-6)


def test_a_single_other_class_is_named():
    labels = [area.get_label() for area in drawn(chart_of(leading_in_turn(8, 7))).collections]
    assert labels[-1] == " class 7"


def test_several_labels_per_video_are_lines():
    axes = drawn(chart_of(leading_in_turn(3, 6) + 0.3, multi_label=True))
    assert (len(axes.lines), len(axes.collections)) == (3, 0)


def test_files_show_thumbnails_of_their_time_below_the_axis(tmp_path):
    """Frames turn from blue to red."""
    chart = chart_of(leading_in_turn(3, 20), seconds=30.0)
    for index in range(200):
        chart.add_frame(
            np.full((90, 160, 3), (index * 255 // 199, 0, 255 - index * 255 // 199), np.uint8), index * 0.15
        )
    chart.draw(tmp_path / "a.png", title="a$^$ _file.mp4")
    image = (255 * imread(tmp_path / "a.png")[..., :3]).astype(int)
    strip = image[-60]
    thumbnails = strip[(strip[:, 1] < 5) & (np.abs(strip[:, 0] + strip[:, 2] - 255) < 10)]
    assert len(thumbnails) > 400
    assert (np.diff(thumbnails[:, 0]) >= 0).all()
    assert thumbnails[0, 0] < 60 < 195 < thumbnails[-1, 0]


def test_memory_is_bounded_and_one_moment_is_a_chart(tmp_path):
    values = leading_in_turn(2, 1)
    chart = chart_of(values)
    for index in range(5000):
        chart.add(Moment(index, index + 1, values[0]))
        chart.add_frame(np.zeros((8, 8, 3), np.uint8), index)
    assert len(chart._seconds) <= MAX_MOMENTS
    assert len(chart._thumbnails) <= MAX_THUMBNAILS
    assert chart.num_moments == 5001
    chart_of(values).draw(tmp_path / "one.png", title="one")
    assert (tmp_path / "one.png").stat().st_size > 5000


@each_case(
    ("seconds", "end", "step", "text"),
    [(0, 59, 10, "0:00"), (61.4, 99, 10, "1:01"), (3599.6, 4000, 600, "1:00:00"), (36001, 40000, 3600, "10:00:01")],
)
def test_times(seconds, end, step, text):
    assert clock(seconds, end=end, step=step) == text
