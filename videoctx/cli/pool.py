"""`videoctx pool`."""

from collections.abc import Sequence
from pathlib import Path

from videoctx.cli.tool_parser import ToolParser
from videoctx.evaluation.evaluation_result import EvaluationResult
from videoctx.evaluation.scores import SCORES_FILE, pool_scores, read_run


def run_pool(arguments: Sequence[str]) -> None:
    """Tested runs over different videos, such as the folds of a cross-validation, as one run: all of their scores, for
    `score`, `compare` and `report`."""
    parser = ToolParser(prog="videoctx pool", description=run_pool.__doc__)
    parser.add_argument("runs", type=str, nargs="+", help="folders of runs of `videoctx test`")
    parser.add_argument("--output", type=str, required=True, help="folder to make")
    options = parser.parse_args(list(arguments))
    output = Path(options.output)
    pool_scores([Path(run) / SCORES_FILE for run in options.runs], output / SCORES_FILE)
    print(EvaluationResult(read_run(output)).described())
    print(f"scores of every view: {output / SCORES_FILE}")
