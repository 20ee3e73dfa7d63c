"""`videoctx results`."""

import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from videoctx.cli.tool_parser import ToolParser

COUNTS = ("num_videos", "num_views", "num_failed")
METRICS = {"clip_top1": "clip@1", "video_top1": "video@1", "video_top5": "video@5", "video_map": "mAP"}


def run_results(arguments: Sequence[str]) -> None:
    """A table of everything that was tested below some folders: one row a results.json."""
    parser = ToolParser(prog="videoctx results", description=run_results.__doc__)
    parser.add_argument("folders", nargs="+", help="run folders, or folders of runs")
    folders = [Path(folder) for folder in parser.parse_args(list(arguments)).folders]
    files = sorted({file for folder in folders for file in folder.rglob("results.json")})
    if not files:
        raise ValueError(f"{', '.join(map(str, folders))}: no results.json in there; `videoctx test` writes one a run")
    results = [_read(file) for file in files]
    shown = {name: heading for name, heading in METRICS.items() if any(name in result for result in results)}
    table = Table(caption="accuracy; a video that could not be read counts as wrong")
    for heading in ("run", "params", "videos", "views", "failed", *shown.values()):
        table.add_column(heading, justify="left" if heading == "run" else "right", overflow="fold")
    for file, result in zip(files, results, strict=True):
        table.add_row(
            str(file.parent),
            f"{result['num_parameters'] / 1e6:.2f}M",
            *(str(result[name]) for name in COUNTS),
            *(f"{result[name]:.1%}" if name in result else "" for name in shown),
        )
    Console().print(table)


def _read(file: Path) -> dict:
    try:
        result = json.loads(file.read_text())
    except ValueError as error:
        raise ValueError(f"{file}: not a result, or a truncated one: {error}") from error
    missing = {"num_parameters", *COUNTS} - (result.keys() if isinstance(result, dict) else set())
    if missing:
        raise ValueError(f"{file}: not a result of `videoctx test`: it lacks {', '.join(sorted(missing))}")
    return result
