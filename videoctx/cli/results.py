"""`videoctx results`."""

import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from videoctx.cli.tool_parser import ToolParser


def run_results(arguments: Sequence[str]) -> None:
    """A table of everything that was tested below some folders: one row a results.json."""
    parser = ToolParser(prog="videoctx results", description=run_results.__doc__)
    parser.add_argument("folders", nargs="+", help="run folders, or folders of runs")
    folders = [Path(folder) for folder in parser.parse_args(list(arguments)).folders]
    files = sorted({file for folder in folders for file in folder.rglob("results.json")})
    if not files:
        raise ValueError(f"{', '.join(map(str, folders))}: no results.json in there; `videoctx test` writes one a run")
    table = Table(caption="top-1 and top-5 accuracy; a video that could not be read counts as wrong")
    for heading in ("run", "params", "videos", "views", "failed", "clip@1", "video@1", "video@5"):
        table.add_column(heading, justify="left" if heading == "run" else "right", overflow="fold")
    for file in files:
        result = json.loads(file.read_text())
        table.add_row(
            str(file.parent),
            f"{result['num_parameters'] / 1e6:.2f}M",
            *(str(result[name]) for name in ("num_videos", "num_views", "num_failed")),
            *(f"{result[name]:.1%}" for name in ("clip_top1", "video_top1", "video_top5")),
        )
    Console().print(table)
