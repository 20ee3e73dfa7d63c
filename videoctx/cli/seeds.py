"""`videoctx seeds`."""

import sys
from collections.abc import Sequence
from pathlib import Path

from videoctx.cli.output_path import writable_file
from videoctx.cli.tool_parser import tool_parser
from videoctx.printed_tables import Console


def run_seeds(arguments: Sequence[str]) -> None:
    """Print mean and deviation of tested runs that differ only in their seed, and plot every run."""
    parser = tool_parser("videoctx seeds", run_seeds.__doc__)
    parser.add_argument(
        "folder",
        type=str,
        help="folder of runs, with a folder per network in it; of each training the newest test is taken",
    )
    parser.add_argument("--metric", default="video_top1", help="a number in results.json")
    parser.add_argument(
        "--against", metavar="NETWORK", help="also print the difference from this network, with 95 %% intervals"
    )
    parser.add_argument(
        "--controls",
        action="store_true",
        help="also list the tests under controls, such as another data.test.frame_order, each as a network of its own",
    )
    parser.add_argument("--plot", metavar="FILE", help="write a PNG with a dot per run")
    parser.add_argument(
        "--marks", type=float, metavar="VALUE", nargs="+", default=[], help="values to mark in the plot, such as chance"
    )
    options = parser.parse_args(list(arguments))
    if options.plot:
        writable_file(Path(options.plot))

    from videoctx.evaluation.result_files import newest_result_files
    from videoctx.evaluation.seed_runs import group_by_setting, read_seed_run
    from videoctx.evaluation.seeds import draw_seeds, seed_intervals
    from videoctx.evaluation.tables import seed_gain_table, seed_table

    folder = Path(options.folder)
    files, lines = newest_result_files([folder], with_controls=options.controls)
    for line in lines:
        print(line, file=sys.stderr)
    runs = [read_seed_run(file, options.metric) for file in files]
    groups = {group.name: group for group in sorted(group_by_setting(runs, folder), key=lambda group: group.mean)}
    if options.against and options.against not in groups:
        raise ValueError(f"no network {options.against!r} in {folder}; expected one of {', '.join(groups)}")
    console = Console()
    console.print(seed_table(list(groups.values()), options.metric, width=console.width))
    if options.against:
        intervals = seed_intervals(list(groups.values()), groups[options.against], options.metric)
        console.print(seed_gain_table(intervals, options.against, width=console.width))
    if options.plot:
        draw_seeds(list(groups.values()), Path(options.plot), metric=options.metric, marks=options.marks)
        console.print(f"plot: {options.plot}", soft_wrap=True)
