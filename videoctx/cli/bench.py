"""`videoctx bench`."""

from collections.abc import Sequence
from pathlib import Path

from jsonargparse.typing import PositiveInt

from videoctx.cli.tool_parser import ToolParser


def run_bench(arguments: Sequence[str]) -> None:
    """Measure a part of the package against what it replaces."""
    parser = ToolParser(prog="videoctx bench", description=run_bench.__doc__)
    subcommands = parser.add_subcommands(required=True)

    non_local = ToolParser(description="Non-local affinities with the N × M matrix and without it.")
    non_local.add_argument("--inner_channels", type=PositiveInt, default=256, help="width of θ, φ and g")
    non_local.add_argument("--repeats", type=PositiveInt, default=3, help="timed runs; the median is given")
    non_local.add_argument("--json", type=Path | None, help="write the measurements to this file")
    subcommands.add_subcommand("nonlocal", non_local)

    options = parser.parse_args(list(arguments))
    if options.subcommand == "nonlocal":
        from videoctx.bench.non_local import bench_non_local, report

        options = options["nonlocal"]
        report(bench_non_local(inner_channels=options.inner_channels, repeats=options.repeats), options.json)
