"""Accuracy over the number of views, computed from the scores of one test."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from videoctx.atomic_write import atomic_write
from videoctx.evaluation.bootstrap import Estimate
from videoctx.evaluation.result_files import write_csv
from videoctx.evaluation.view_scores import ViewScores
from videoctx.evaluation.view_subset import Subset, Views


class Point(NamedTuple):
    """A subset of the views and its metrics."""

    subset: Subset
    estimates: dict[str, Estimate]

    @property
    def grid(self) -> str:
        """`exact` if a test with that many clips has the same clips, else `nearest`."""
        return "exact" if self.subset.exact else "nearest"


def all_views(stored: ViewScores) -> list[Views]:
    """Return all numbers of clips up to the tested one, with the middle crop if there is one, and with all crops."""
    num_clips, num_crops = stored.shape
    crops = [1, num_crops] if num_crops > 1 and num_crops % 2 else [num_crops]
    return [Views(clips + 1, count) for count in crops for clips in range(num_clips)]


def write_table(points: Sequence[Point], path: Path) -> None:
    """Write a CSV file with one row per subset: its views, its clips, and every metric with its interval."""
    names = list(points[0].estimates)
    header = [column for name in names for column in (name, f"{name}_low", f"{name}_high")]
    rows = []
    for point in points:
        found = [point.estimates[name] for name in names]
        values = [f"{number:.6f}" for value, interval in found for number in (value, *interval)]
        rows.append([*point.subset.views, point.grid, " ".join(map(str, point.subset.clips)), *values])
    write_csv(path, ["clips", "crops", "grid", "stored_clips", *header], rows)


@rc_context({"text.parse_math": False})  # a name may have dollar signs
def draw_curve(points: Sequence[Point], metric: str, path: Path, *, title: str) -> None:
    """Draw a PNG with one line per number of crops and its 95 % intervals.

    Markers are filled where the clips are exactly those of a test with as many clips, and open where they are the
    nearest ones.

    Args:
        points: in any order.
        metric: the metric to draw, as in `results.json`.
        path: the file to write.
        title: of the chart.
    """
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for color, num_crops in enumerate(sorted({point.subset.views.num_crops for point in points})):
        line = sorted((point for point in points if point.subset.views.num_crops == num_crops), key=_num_views)
        found = [point.estimates[metric] for point in line]
        views, values = [_num_views(point) for point in line], [estimate.value for estimate in found]
        axes.plot(views, values, color=f"C{color}", label=f"{num_crops} crop{'s' * (num_crops > 1)} per clip")
        lows, highs = ([estimate.interval[end] for estimate in found] for end in (0, 1))
        axes.fill_between(views, lows, highs, alpha=0.15, linewidth=0)
        for view, value, point in zip(views, values, line, strict=True):
            face = f"C{color}" if point.subset.exact else "white"
            axes.plot(view, value, "o", markeredgecolor=f"C{color}", markerfacecolor=face)
    axes.set(xlabel="views per video", ylabel=metric.replace("_", " "), title=title)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.legend()
    axes.grid(alpha=0.3)
    with atomic_write(path) as part:
        figure.savefig(part, dpi=150)


def _num_views(point: Point) -> int:
    return point.subset.views.num_clips * point.subset.views.num_crops
