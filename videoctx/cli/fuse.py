"""`videoctx fuse`."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from videoctx.cli.tested_run import RUN_HELP, tested_run
from videoctx.cli.tool_parser import tool_parser
from videoctx.evaluation.choices import Average
from videoctx.terminal import printable


def run_fuse(arguments: Sequence[str]) -> None:
    """Average the scores of tested runs on the same videos, such as those of two networks, and evaluate them as one.

    `videoctx results`, `score`, `compare` and `report` take the run that --output names as any other.
    """
    parser = tool_parser("videoctx fuse", run_fuse.__doc__)
    parser.add_argument("runs", type=str, nargs="+", help=RUN_HELP)
    parser.add_argument("--weights", type=float, nargs="+", help="one per run, such as 1 1.5; by default equal ones")
    parser.add_argument(
        "--average", default="probabilities", choices=get_args(Average), help="what is averaged over the runs"
    )
    parser.add_argument("-o", "--output", type=Path | None, help="folder to create, with the scores and the results")
    options = parser.parse_args(list(arguments))

    from videoctx.evaluation.controls import CARD_FILE
    from videoctx.evaluation.evaluation_result import EvaluationResult
    from videoctx.evaluation.fusion import fuse
    from videoctx.evaluation.result_files import RESULT_FILE, read_json_object
    from videoctx.evaluation.scores import read_run
    from videoctx.evaluation.written_run import write_run

    folders = [tested_run(run) for run in options.runs]
    if options.output and options.output.exists():
        raise ValueError(f"{options.output}: exists already; expected a folder to create")
    fusion = fuse(
        [read_run(folder) for folder in folders], options.runs, weights=options.weights, average=options.average
    )
    for note in fusion.notes:
        print(printable(note), file=sys.stderr)
    if not options.output:
        print(EvaluationResult(fusion.scores).describe())
        return
    cards = [read_json_object(folder / CARD_FILE) for folder in folders]
    results = [read_json_object(folder / RESULT_FILE) for folder in folders]
    result = write_run(
        fusion.scores,
        options.output,
        network=" + ".join(_network(card, folder) for card, folder in zip(cards, folders, strict=True)),
        data=cards[0].get("data") if all(card.get("data") == cards[0].get("data") for card in cards) else None,
        num_parameters=sum(result.get("num_parameters", 0) for result in results),
    )
    print(result.describe())
    print(printable(f"scores and results: {options.output}"))


def _network(card: dict[str, Any], folder: Path) -> str:
    return str(card.get("network") or folder)
