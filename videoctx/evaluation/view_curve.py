"""Accuracy against the number of views, made of one test."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from videoctx.atomic_write import atomic_write
from videoctx.evaluation.bootstrap import Estimate
from videoctx.evaluation.view_scores import ViewScores
from videoctx.evaluation.view_subset import Subset, Views


class Point(NamedTuple):
    """A subset of the views, and its metrics."""

    subset: Subset
    estimates: dict[str, Estimate]

    @property
    def grid(self) -> str:
        """Whether a test with so many clips would have taken these."""
        return "exact" if self.subset.exact else "nearest"


def all_views(stored: ViewScores) -> list[Views]:
    """Every number of clips that was tested, with the middle crop where there is one, and with all."""
    num_clips, num_crops = stored.shape
    crops = [1, num_crops] if num_crops > 1 and num_crops % 2 else [num_crops]
    return [Views(clips + 1, count) for count in crops for clips in range(num_clips)]


def write_table(points: Sequence[Point], path: Path) -> None:
    """A CSV row a subset: its views, which clips they are of, and every metric with the ends of its interval."""
    names = list(points[0].estimates)
    header = [column for name in names for column in (name, f"{name}_low", f"{name}_high")]
    with atomic_write(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["clips", "crops", "grid", "stored_clips", *header])
        for point in points:
            found = [point.estimates[name] for name in names]
            values = [f"{number:.6f}" for value, interval in found for number in (value, *interval)]
            clips = " ".join(map(str, point.subset.clips))
            writer.writerow([*point.subset.views, point.grid, clips, *values])


def draw_curve(points: Sequence[Point], metric: str, path: Path, *, title: str) -> None:
    """A PNG: a line for each number of crops, with 95 % intervals; hollow where the grid is only the nearest."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for color, num_crops in enumerate(sorted({point.subset.views.num_crops for point in points})):
        line = sorted((point for point in points if point.subset.views.num_crops == num_crops), key=_num_views)
        found = [point.estimates[metric] for point in line]
        views, values = [_num_views(point) for point in line], [estimate.value for estimate in found]
        style = {"color": f"C{color}", "label": f"{num_crops} crop{'s' * (num_crops > 1)} a clip"}
        axes.plot(views, values, **style)
        axes.fill_between(views, *zip(*(estimate.interval for estimate in found), strict=True), alpha=0.15, linewidth=0)
        for view, value, point in zip(views, values, line, strict=True):
            face = f"C{color}" if point.subset.exact else "white"
            axes.plot(view, value, "o", markeredgecolor=f"C{color}", markerfacecolor=face)
    axes.set(xlabel="views a video", ylabel=metric.replace("_", " "), title=title)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.legend()
    axes.grid(alpha=0.3)
    with atomic_write(path) as part:
        figure.savefig(part, dpi=150)


def _num_views(point: Point) -> int:
    return point.subset.views.num_clips * point.subset.views.num_crops
