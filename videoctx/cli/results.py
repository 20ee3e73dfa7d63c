"""`videoctx results`."""

import os
from collections.abc import Sequence
from pathlib import Path

from videoctx.cli.tool_parser import tool_parser

WIDE = 1000


def run_results(arguments: Sequence[str]) -> None:
    """Print a table of all tested runs below some folders: one row per results.json."""
    parser = tool_parser("videoctx results", run_results.__doc__)
    parser.add_argument("folders", nargs="+", help="run folders, or folders of runs")
    options = parser.parse_args(list(arguments))

    from videoctx.evaluation.controls import controls_of
    from videoctx.evaluation.result_files import read_result, result_files
    from videoctx.evaluation.tables import results_table
    from videoctx.printed_tables import Console

    files = result_files([Path(folder) for folder in options.folders])
    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = WIDE  # a file or another program gets all columns
    results = {file.parent: read_result(file) for file in files}
    found = {folder: controls_of(folder) for folder in results}
    console.print(results_table(results, found, width=console.width))
