"""The tables that `videoctx score`, `compare`, `seeds` and `results` print."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len
from rich.markup import escape
from rich.table import Table

from videoctx.evaluation.evaluation_result import percent
from videoctx.evaluation.result_files import COUNTS
from videoctx.terminal import printable

if TYPE_CHECKING:  # their modules import scipy and matplotlib, which a table does not need
    from videoctx.evaluation.bootstrap import Estimate
    from videoctx.evaluation.comparison import ClassDifference, Comparison
    from videoctx.evaluation.seeds import SeedGroup, SeedIntervals
    from videoctx.evaluation.view_curve import Point

HEADINGS = {
    "clip_top1": "clip@1",
    "clip_top5": "clip@5",
    "video_top1": "video@1",
    "video_top5": "video@5",
    "video_mean_class": "mean class",
    "video_ece": "ECE",
    "video_map": "mAP",
}
BORDER = 3  # characters beside the content of a column: a line and two spaces
RESULT_METRICS = ("clip_top1", "video_top1", "video_top5", "video_map")


def score_table(points: "Sequence[Point]", title: str) -> Table:
    """Return a table of the metrics with their intervals: one row per number of views."""
    table = Table(caption=f"{title}; in brackets 95 % intervals over videos")
    for heading in ("views", "clips", *(HEADINGS[name] for name in points[0].estimates)):
        table.add_column(heading, justify="right")
    for point in points:
        table.add_row(str(point.subset.views), point.grid, *(percent(found) for found in point.estimates.values()))
    return table


def comparison_table(comparison: "Comparison", views: Sequence[str]) -> Table:
    """Return a table of the metrics of two runs, and of their difference.

    Args:
        views: the views of the first and of the second run, such as 10x3.
    """
    table = Table(caption="in brackets 95 % intervals over videos, the same ones sampled for both runs")
    for heading in ("", f"first, {views[0]}", f"second, {views[1]}", "difference"):
        table.add_column(heading, justify="right" if heading else "left")
    first, second = comparison.first.estimates, comparison.second.estimates
    for name, gain in comparison.gains.items():
        table.add_row(HEADINGS[name], percent(first[name]), percent(second[name]), _signed(gain))
    return table


def _signed(gain: "Estimate") -> str:
    low, high = (100 * end for end in gain.interval)
    return f"{gain.value:+.2%} ({low:+.2f} – {high:+.2f})"


def class_table(differences: "Sequence[ClassDifference]") -> Table:
    """Return a table of the classes whose accuracy differs between two runs."""
    table = Table(caption="classes that differ most")
    for heading in ("class", "videos", "first", "second", "difference"):
        table.add_column(heading, justify="left" if heading == "class" else "right", overflow="fold")
    for one in differences:
        table.add_row(
            escape(printable(one.name)),
            str(one.num_videos),
            f"{one.first:.1%}",
            f"{one.second:.1%}",
            f"{one.gain:+.1%}",
        )
    return table


def seed_table(groups: "Sequence[SeedGroup]", metric: str) -> Table:
    """Return a table of mean, deviation and range of a metric over seeds: one row per network."""
    table = _networks(
        ("network", "params", "runs", "mean", "deviation", "least", "most"),
        f"{metric} over seeds; the deviation is of single runs, not of the mean",
    )
    for group in groups:
        deviation, values = group.deviation, group.values.values()
        table.add_row(
            escape(printable(group.name)),
            f"{group.num_parameters / 1e6:.3f}M",
            str(len(values)),
            f"{group.mean:.1%}",
            "" if deviation is None else f"{100 * deviation:.1f}",
            f"{min(values):.1%}",
            f"{max(values):.1%}",
        )
    return table


def seed_gain_table(found: "Mapping[str, SeedIntervals]", baseline: str) -> Table:
    """Return a table of the mean of each network, and of its difference from the baseline."""
    table = _networks(("network", "mean", f"over {baseline}"), "in brackets 95 % intervals over seeds and videos")
    for name, (mean, gain) in found.items():
        low, high = (100 * end for end in gain.interval)
        over = f"{100 * gain.value:+.1f} ({low:+.1f} – {high:+.1f})"
        table.add_row(escape(printable(name)), percent(mean), "" if name == baseline else over)
    return table


def _networks(headings: Sequence[str], caption: str) -> Table:
    table = Table(caption=caption)
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "network" else "right", overflow="fold")
    return table


def results_table(results: Mapping[Path, Mapping[str, Any]], *, width: int) -> Table:
    """Return a table of the results of tested runs, by the folder of each run.

    Where it would be wider than `width`, each run's folder has lines of its own, above its numbers.
    """
    metrics = [name for name in RESULT_METRICS if any(name in result for result in results.values())]
    headings = ("params", "videos", "views", "failed", *(HEADINGS[name] for name in metrics))
    caption = "accuracy; a video that could not be read counts as incorrect"
    rows = {
        printable(str(folder)): [
            f"{result['num_parameters'] / 1e6:.2f}M",
            *(str(result[name]) for name in COUNTS),
            *(f"{result[name]:.1%}" if name in result else "" for name in metrics),
        ]
        for folder, result in results.items()
    }
    numbers_width = sum(max(map(len, column)) + BORDER for column in zip(headings, *rows.values(), strict=True))
    if max(map(cell_len, rows)) + BORDER + 1 + numbers_width <= width:
        table = Table(caption=caption)
        for heading in ("run", *headings):
            table.add_column(heading, justify="left" if heading == "run" else "right", overflow="fold")
        for name, cells in rows.items():
            table.add_row(escape(name), *cells)
        return table
    table = Table(caption=caption, show_lines=True)
    table.add_column(f"run\n{', '.join(headings)}", overflow="fold")
    for name, cells in rows.items():
        table.add_row(f"{escape(name)}\n{', '.join(cell or '–' for cell in cells)}")
    return table
