"""`videoctx compare`."""

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from rich.console import Console
from rich.table import Table

from videoctx.cli.score import HEADINGS
from videoctx.cli.tool_parser import ToolParser
from videoctx.evaluation.bootstrap import Estimate
from videoctx.evaluation.comparison import Comparison
from videoctx.evaluation.evaluation_result import EvaluationResult, percent
from videoctx.evaluation.scores import read_run
from videoctx.evaluation.view_scores import Average
from videoctx.evaluation.view_subset import Views, choose_views


def run_compare(arguments: Sequence[str]) -> None:
    """Two tested runs on the same videos: their difference, whether it may be luck, and the classes that moved."""
    parser = ToolParser(prog="videoctx compare", description=run_compare.__doc__)
    parser.add_argument("first", type=str, help="folder of a run of `videoctx test`")
    parser.add_argument("second", type=str, help="another, over the same manifest")
    parser.add_argument("--views", help="clips x crops of both, such as 1x1; by default all that each was tested with")
    parser.add_argument(
        "--average", default="probabilities", choices=get_args(Average), help="what is averaged over a video's views"
    )
    parser.add_argument("--classes", type=int, default=10, help="most classes to list")
    options = parser.parse_args(list(arguments))
    runs = [read_run(Path(folder)) for folder in (options.first, options.second)]
    if options.views:
        runs = [choose_views(run, Views.parse(options.views)).scores for run in runs]
    comparison = Comparison(*(EvaluationResult(run, options.average) for run in runs))
    console = Console()
    console.print(_metrics(comparison, [str(Views(*run.shape)) for run in runs]))
    if not runs[0].multi_label:
        only_first, only_second = comparison.discordance
        console.print(
            f"McNemar: {only_first} videos right only in the first, {only_second} only in the second;"
            f" p = {comparison.discordance.p_value:.3g}"
        )
    if moves := comparison.moved_classes(options.classes):
        table = Table(caption="classes that differ most")
        for heading in ("class", "videos", "first", "second", "difference"):
            table.add_column(heading, justify="left" if heading == "class" else "right", overflow="fold")
        for move in moves:
            table.add_row(move.name, str(move.videos), f"{move.first:.1%}", f"{move.second:.1%}", f"{move.gain:+.1%}")
        console.print(table)


def _metrics(comparison: Comparison, views: list[str]) -> Table:
    table = Table(caption="in brackets 95 % intervals over videos, the same ones drawn for both runs")
    for heading in ("", f"first, {views[0]}", f"second, {views[1]}", "difference"):
        table.add_column(heading, justify="right" if heading else "left")
    first, second = comparison.first.estimates, comparison.second.estimates
    for name, gain in comparison.gains.items():
        table.add_row(HEADINGS[name], percent(first[name]), percent(second[name]), _signed(gain))
    return table


def _signed(gain: Estimate) -> str:
    low, high = (100 * end for end in gain.interval)
    return f"{gain.value:+.2%} ({low:+.2f} – {high:+.2f})"
