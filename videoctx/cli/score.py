"""`videoctx score`."""

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from videoctx.cli.tested_run import RUN_HELP, tested_run
from videoctx.cli.tool_parser import tool_parser
from videoctx.evaluation.choices import Average, Level
from videoctx.printed_tables import Console


def run_score(arguments: Sequence[str]) -> None:
    """Evaluate a tested run again with fewer of its views, from its scores: a table and a curve of accuracy."""
    parser = tool_parser("videoctx score", run_score.__doc__)
    parser.add_argument("run", type=str, help=RUN_HELP)
    parser.add_argument("--views", nargs="+", help="clips x crops, such as 1x1 5x1 10x3; by default all that there are")
    parser.add_argument(
        "--average", default="probabilities", choices=get_args(Average), help="what is averaged over a video's views"
    )
    parser.add_argument(
        "--level", default="video", choices=get_args(Level), help="evaluate whole videos, or each view on its own"
    )
    parser.add_argument("--output", help="folder for views.csv and views.png; by default the run's")
    options = parser.parse_args(list(arguments))

    from videoctx.evaluation.evaluation_result import EvaluationResult
    from videoctx.evaluation.scores import read_run
    from videoctx.evaluation.tables import score_table
    from videoctx.evaluation.view_curve import Point, all_views, draw_curve, write_table
    from videoctx.evaluation.view_subset import Views, choose_views

    run = tested_run(options.run)
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
        estimates = EvaluationResult(subset.scores, options.average).estimates
        at_level = {name: e for name, e in estimates.items() if name.startswith("clip") == (options.level == "clip")}
        points.append(Point(subset, at_level))
    title = f"{len(stored.paths)} videos, {stored.failed.sum()} failed; mean of {options.average}"
    write_table(points, output / "views.csv")
    draw_curve(points, next(iter(points[0].estimates)), output / "views.png", title=title)
    console = Console()
    console.print(score_table(points, title, width=console.width))
    if not all(subset.exact for subset in subsets):
        console.print("nearest: the tested clips nearest to a grid of that many clips, not that grid itself")
    console.print(f"table and curve: {output / 'views.csv'}, {output / 'views.png'}", soft_wrap=True)
