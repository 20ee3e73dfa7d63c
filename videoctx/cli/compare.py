"""`videoctx compare`."""

from collections.abc import Sequence
from typing import get_args

from jsonargparse.typing import NonNegativeInt

from videoctx.cli.tested_run import RUN_HELP, tested_run
from videoctx.cli.tool_parser import tool_parser
from videoctx.evaluation.choices import Average
from videoctx.printed_tables import Console


def run_compare(arguments: Sequence[str]) -> None:
    """Compare two tested runs on the same videos.

    Prints the differences of their metrics, whether those may be chance, and the classes that differ most.
    """
    parser = tool_parser("videoctx compare", run_compare.__doc__)
    parser.add_argument("first", type=str, help=RUN_HELP)
    parser.add_argument("second", type=str, help="the same of another run, over the same manifest")
    parser.add_argument("--views", help="clips x crops of both, such as 1x1; by default all that each was tested with")
    parser.add_argument(
        "--average", default="probabilities", choices=get_args(Average), help="what is averaged over a video's views"
    )
    parser.add_argument("--classes", type=NonNegativeInt, default=10, help="number of classes to list at most")
    options = parser.parse_args(list(arguments))

    from videoctx.evaluation.comparison import Comparison
    from videoctx.evaluation.evaluation_result import EvaluationResult
    from videoctx.evaluation.scores import read_run
    from videoctx.evaluation.tables import class_table, comparison_table
    from videoctx.evaluation.view_subset import Views, choose_views

    runs = [read_run(tested_run(folder)) for folder in (options.first, options.second)]
    if options.views:
        runs = [choose_views(run, Views.parse(options.views)).scores for run in runs]
    comparison = Comparison(*(EvaluationResult(run, options.average) for run in runs))
    console = Console()
    console.print(comparison_table(comparison, [str(Views(*run.shape)) for run in runs], width=console.width))
    if not runs[0].multi_label:
        found = comparison.mcnemar
        console.print(
            f"McNemar: {found.only_first} videos correct only in the first, {found.only_second} only in the second;"
            f" p = {found.p_value:.3g}"
        )
    if differences := comparison.class_differences(options.classes):
        console.print(class_table(differences, width=console.width))
