"""`videoctx score`."""

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from rich.console import Console
from rich.table import Table

from videoctx.cli.tool_parser import ToolParser
from videoctx.evaluation.evaluation_result import EvaluationResult, Level, percent
from videoctx.evaluation.scores import read_run
from videoctx.evaluation.view_curve import Point, all_views, draw_curve, write_table
from videoctx.evaluation.view_scores import Average
from videoctx.evaluation.view_subset import Views, choose_views

HEADINGS = {
    "clip_top1": "clip@1",
    "clip_top5": "clip@5",
    "video_top1": "video@1",
    "video_top5": "video@5",
    "video_mean_class": "mean class",
    "video_ece": "ECE",
    "video_map": "mAP",
}


def run_score(arguments: Sequence[str]) -> None:
    """Evaluate a tested run again by fewer of its views, without the network: a table and a curve of accuracy."""
    parser = ToolParser(prog="videoctx score", description=run_score.__doc__)
    parser.add_argument("run", type=str, help="folder of a run of `videoctx test`")
    parser.add_argument("--views", nargs="+", help="clips x crops, such as 1x1 5x1 10x3; by default all that there are")
    parser.add_argument(
        "--average", default="probabilities", choices=get_args(Average), help="what is averaged over a video's views"
    )
    parser.add_argument(
        "--level", default="video", choices=get_args(Level), help="evaluate videos, or every view for itself"
    )
    parser.add_argument("--output", help="folder for views.csv and views.png; by default the run's")
    options = parser.parse_args(list(arguments))
    run = Path(options.run)
    stored = read_run(run)
    if stored.multi_label and options.level == "clip":
        raise ValueError("level is 'clip', but videos with several labels are evaluated as a whole; expected 'video'")
    output = Path(options.output or run)
    if not output.is_dir():
        raise ValueError(f"{output}: no such folder; expected one for views.csv and views.png")
    wanted = [Views.parse(text) for text in options.views] if options.views else all_views(stored)
    subsets = [choose_views(stored, views) for views in wanted]
    if not subsets:
        raise ValueError(f"{run}: all {len(stored.paths)} videos have failed: there are no views to evaluate by")
    points = []
    for subset in subsets:
        found = EvaluationResult(subset.scores, options.average).estimates
        shown = {
            name: estimate for name, estimate in found.items() if name.startswith("clip") == (options.level == "clip")
        }
        points.append(Point(subset, shown))
    title = f"{len(stored.paths)} videos, {stored.failed.sum()} failed; mean of {options.average}"
    write_table(points, output / "views.csv")
    draw_curve(points, next(iter(points[0].estimates)), output / "views.png", title=title)
    console = Console()
    console.print(_table(points, title))
    if not all(subset.exact for subset in subsets):
        console.print("nearest: those of the tested clips that are nearest to a grid of so many, not that grid")
    console.print(f"table and curve: {output / 'views.csv'}, {output / 'views.png'}", soft_wrap=True)


def _table(points: Sequence[Point], title: str) -> Table:
    table = Table(caption=f"{title}; in brackets 95 % intervals over videos")
    for heading in ("views", "clips", *(HEADINGS[name] for name in points[0].estimates)):
        table.add_column(heading, justify="right")
    for point in points:
        table.add_row(str(point.subset.views), point.grid, *(percent(found) for found in point.estimates.values()))
    return table
