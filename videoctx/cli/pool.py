"""`videoctx pool`."""

from collections.abc import Sequence
from pathlib import Path

from videoctx.cli.tested_run import RUN_HELP, tested_run
from videoctx.cli.tool_parser import tool_parser


def run_pool(arguments: Sequence[str]) -> None:
    """Merge the scores of tested runs on different videos, such as the folds of a cross-validation, into one run.

    `videoctx score`, `compare` and `report` take that run as any other.
    """
    parser = tool_parser("videoctx pool", run_pool.__doc__)
    parser.add_argument("runs", type=str, nargs="+", help=f"each the {RUN_HELP}")
    parser.add_argument("--output", type=str, required=True, help="folder to create")
    options = parser.parse_args(list(arguments))

    from videoctx.evaluation.evaluation_result import EvaluationResult
    from videoctx.evaluation.run_folders import SCORES_FILE
    from videoctx.evaluation.scores import pool_scores, read_run

    output = Path(options.output)
    pool_scores([tested_run(run) / SCORES_FILE for run in options.runs], output / SCORES_FILE)
    print(EvaluationResult(read_run(output)).describe())
    print(f"scores of every view: {output / SCORES_FILE}")
