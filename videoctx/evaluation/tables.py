"""The tables that `videoctx score`, `compare`, `seeds` and `results` print."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from videoctx.evaluation.evaluation_result import percent
from videoctx.evaluation.fitted_table import fitted_table
from videoctx.evaluation.result_files import COUNTS
from videoctx.first_few import first_few

if TYPE_CHECKING:  # their modules import scipy and matplotlib, which a table does not need
    from videoctx.evaluation.bootstrap import Estimate
    from videoctx.evaluation.comparison import ClassDifference, Comparison
    from videoctx.evaluation.seeds import ClassGain, SeedGroup, SeedIntervals
    from videoctx.evaluation.view_curve import Point

HEADINGS = {
    "clip_top1": "clip@1",
    "clip_top5": "clip@5",
    "video_top1": "video@1",
    "video_top5": "video@5",
    "video_mean_class": "mean class",
    "video_auc": "AUC",
    "video_ece": "ECE",
    "video_map": "mAP",
}
RESULT_METRICS = ("clip_top1", "video_top1", "video_top5", "video_auc", "video_map")
# What `videoctx results` leaves out first in a narrow terminal; of video@1 or mAP there is always a column.
LESS_IMPORTANT = ("views", "params", "videos", "failed", "clip@1", "AUC", "video@5")


def score_table(points: "Sequence[Point]", title: str, *, width: int) -> Table:
    """Return a table of the metrics with their intervals: one row per number of views."""
    rows = [
        [str(point.subset.views), point.grid, *(percent(found) for found in point.estimates.values())]
        for point in points
    ]
    headings = ["views", "clips", *(HEADINGS[name] for name in points[0].estimates)]
    caption = f"{title}; in brackets 95 % intervals over videos"
    is_exact = all(point.subset.exact for point in points)
    optional = (*(["clips"] if is_exact else []), "ECE", "mean class")
    return fitted_table(headings, rows, width=width, caption=caption, optional=optional)


def comparison_table(comparison: "Comparison", views: Sequence[str], *, width: int) -> Table:
    """Return a table of the metrics of two runs, and of their difference.

    Args:
        views: the views of the first and of the second run, such as 10x3.
        width: of the terminal.
    """
    first, second = comparison.first.estimates, comparison.second.estimates
    rows = [
        [HEADINGS[name], percent(first[name]), percent(second[name]), _signed(gain)]
        for name, gain in comparison.gains.items()
    ]
    headings = ("", f"first, {views[0]}", f"second, {views[1]}", "difference")
    caption = "in brackets 95 % intervals over videos, the same ones sampled for both runs"
    return fitted_table(headings, rows, width=width, caption=caption)


def _signed(gain: "Estimate") -> str:
    low, high = (100 * end for end in gain.interval)
    return f"{gain.value:+.2%} ({low:+.2f} – {high:+.2f})"


def class_table(differences: "Sequence[ClassDifference]", *, width: int) -> Table:
    """Return a table of the classes whose accuracy differs between two runs."""
    rows = [
        [one.name, str(one.num_videos), f"{one.first:.1%}", f"{one.second:.1%}", f"{one.gain:+.1%}"]
        for one in differences
    ]
    headings = ("class", "videos", "first", "second", "difference")
    return fitted_table(headings, rows, width=width, caption="classes that differ most")


def seed_table(groups: "Sequence[SeedGroup]", metric: str, *, width: int, untested: Sequence[str] = ()) -> Table:
    """Return a table of mean, deviation and range of a metric over seeds: one row per network.

    Args:
        groups: of tested runs. There is a column of failed videos where any run has one.
        metric: what their values are.
        width: of the terminal.
        untested: names of trainings without a test, with a row each.
    """
    any_failed = any(group.num_failed for group in groups)
    rows = [
        [
            group.name,
            f"{group.num_parameters / 1e6:.3f}M",
            str(len(group.values)),
            f"{group.mean:.1%}",
            "" if group.deviation is None else f"{100 * group.deviation:.1f}",
            f"{min(group.values.values()):.1%}",
            f"{max(group.values.values()):.1%}",
            str(group.num_failed),
        ]
        for group in groups
    ]
    rows += [[name, "", "0", "not tested", "", "", "", ""] for name in untested]
    headings = ["network", "params", "runs", "mean", "deviation", "least", "most", "failed"]
    caption = f"{metric} over seeds; the deviation is of single runs, not of the mean"
    if any_failed:
        caption += "; failed videos, over all runs, count as incorrect"
    else:
        rows, headings = [row[:-1] for row in rows], headings[:-1]
    return fitted_table(headings, rows, width=width, caption=caption, optional=("params", "least", "most"))


def covered_by_intervals(num_runs: Mapping[str, int]) -> str:
    """Return what the intervals over the runs of some networks cover: of a single run, its seed is not varied.

    >>> covered_by_intervals({"plain": 3, "gc": 1})
    'over seeds and videos, but over videos alone of what has a single run (gc)'
    >>> covered_by_intervals({"plain": 1, "gc": 1})
    'over videos alone, as each network has a single run'
    """
    single = [name for name, number in num_runs.items() if number == 1]
    if not single:
        return "over seeds and videos"
    if len(single) == len(num_runs):
        return "over videos alone, as each network has a single run"
    return f"over seeds and videos, but over videos alone of what has a single run ({first_few(single, most=10)})"


def seed_gain_table(
    found: "Mapping[str, SeedIntervals]", baseline: str, *, num_runs: Mapping[str, int], width: int
) -> Table:
    """Return a table of the mean of each network, and of its difference from the baseline.

    Args:
        found: of each network.
        baseline: the network that is compared with.
        num_runs: of each network.
        width: of the terminal.
    """
    rows = []
    for name, (mean, gain) in found.items():
        low, high = (100 * end for end in gain.interval)
        over = f"{100 * gain.value:+.1f} ({low:+.1f} – {high:+.1f})"
        rows.append([name, percent(mean), "" if name == baseline else over])
    caption = f"in brackets 95 % intervals {covered_by_intervals(num_runs)}"
    return fitted_table(("network", "mean", f"over {baseline}"), rows, width=width, caption=caption)


def class_gain_table(
    found: "Mapping[str, Sequence[ClassGain]]",
    baseline: str,
    *,
    num_runs: Mapping[str, int],
    num_classes: int,
    width: int,
    without_videos: Sequence[str] = (),
) -> Table:
    """Return a table of the classes whose accuracy differs most from the baseline's, the first ones of each network.

    Args:
        found: of each network.
        baseline: the network that is compared with.
        num_runs: of each network.
        num_classes: of all classes that have test videos.
        width: of the terminal.
        without_videos: the other classes, which the caption names.
    """
    rows = []
    for name, gains in found.items():
        for one in gains:
            low, high = (100 * end for end in one.gain.interval)
            over = f"{100 * one.gain.value:+.1f} ({low:+.1f} – {high:+.1f})"
            rows.append([name, one.name, str(one.num_videos), f"{one.baseline:.1%}", f"{one.mean:.1%}", over])
    headings = ("network", "class", "videos", baseline, "mean", f"over {baseline}")
    caption = (
        f"classes that differ most; in brackets 95 % intervals {covered_by_intervals(num_runs)}. Of a network's"
        f" {num_classes} classes, one in 20 is outside its interval by chance"
    )
    if without_videos:
        caption += f"; without test videos: {first_few(without_videos, most=10)}"
    return fitted_table(headings, rows, width=width, caption=caption)


def results_table(
    results: Mapping[Path, Mapping[str, Any]], controls: Mapping[Path, Sequence[str]], *, width: int
) -> Table:
    """Return a table of the results of tested runs, by the folder of each run.

    Folders are shown from the folder on that they have in common. Less important columns are left out where the table
    would be wider than `width`.

    Args:
        results: of each run.
        controls: of each run (`videoctx.evaluation.controls`). There is a column of them where any run is a control.
        width: of the terminal.
    """
    metrics = [name for name in RESULT_METRICS if any(name in result for result in results.values())]
    caption = "accuracy; a video that could not be read counts as incorrect"
    common = Path(os.path.commonpath(results)) if len(results) > 1 else Path()
    if common in results:
        common = common.parent
    if common.name:
        caption = f"runs in {common}; {caption}"
    any_control = any(controls.values())
    rows = [
        [
            str(folder.relative_to(common)) if common.name else str(folder),
            *([", ".join(controls.get(folder, ()))] if any_control else []),
            f"{result['num_parameters'] / 1e6:.2f}M",
            *(str(result[name]) for name in COUNTS),
            *(f"{result[name]:.1%}" if name in result else "" for name in metrics),
        ]
        for folder, result in results.items()
    ]
    any_failed = any(result["num_failed"] for result in results.values())
    optional = [name for name in LESS_IMPORTANT if name != "failed" or not any_failed]
    headings = (
        "run",
        *(["control"] if any_control else []),
        "params",
        "videos",
        "views",
        "failed",
        *(HEADINGS[name] for name in metrics),
    )
    return fitted_table(headings, rows, width=width, caption=caption, optional=optional)
