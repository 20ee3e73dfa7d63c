"""`videoctx bench nonlocal`."""

from collections.abc import Sequence
from pathlib import Path

from jsonargparse.typing import PositiveInt

from videoctx.cli.output_path import writable_file
from videoctx.cli.tool_parser import tool_parser


def run_bench_nonlocal(arguments: Sequence[str]) -> None:
    """Measure Non-local affinities with the N × M matrix and without it."""
    parser = tool_parser("videoctx bench nonlocal", run_bench_nonlocal.__doc__)
    parser.add_argument("--inner_channels", type=PositiveInt, default=256, help="width of θ, φ and g")
    parser.add_argument("--repeats", type=PositiveInt, default=3, help="timed runs, whose median is printed")
    parser.add_argument("--json", type=Path | None, metavar="FILE", help="write the measurements to this file")
    options = parser.parse_args(list(arguments))

    from videoctx.bench.non_local import bench_non_local, report

    if options.json:
        writable_file(options.json)
    report(bench_non_local(inner_channels=options.inner_channels, repeats=options.repeats), options.json)
