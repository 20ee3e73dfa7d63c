"""`videoctx seeds`."""

import sys
from collections.abc import Sequence
from pathlib import Path

from jsonargparse.typing import PositiveInt

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
    parser.add_argument(
        "--per_class",
        type=PositiveInt | None,
        metavar="N",
        help="with --against: also print the N classes of each network whose accuracy differs most",
    )
    parser.add_argument("--plot", metavar="FILE", help="write a PNG with a dot per run")
    parser.add_argument(
        "--marks", type=float, metavar="VALUE", nargs="+", default=[], help="values to mark in the plot, such as chance"
    )
    parser.add_argument(
        "--plot_gains", metavar="FILE", help="with --against: write a PNG with the differences and their intervals"
    )
    parser.add_argument(
        "--plot_curves", metavar="FILE", help="write a PNG with the validation results by epoch, a line per network"
    )
    options = parser.parse_args(list(arguments))
    for name in ("per_class", "plot_gains"):
        if options[name] and not options.against:
            raise ValueError(f"--{name} compares with a network; expected --against NETWORK beside it")
    for plot in (options.plot, options.plot_gains, options.plot_curves):
        if plot:
            writable_file(Path(plot))

    from videoctx.evaluation.learning_curves import read_learning_curves
    from videoctx.evaluation.result_files import newest_result_files
    from videoctx.evaluation.seed_plots import draw_gains, draw_learning_curves, draw_seeds
    from videoctx.evaluation.seed_runs import group_by_setting, read_seed_run, trainings_without_test
    from videoctx.evaluation.seeds import class_gains, classes_without_videos, seed_intervals
    from videoctx.evaluation.tables import class_gain_table, seed_gain_table, seed_table

    folder = Path(options.folder)
    files, lines = newest_result_files([folder], with_controls=options.controls)
    for line in lines:
        print(line, file=sys.stderr)
    runs = [read_seed_run(file, options.metric) for file in files]
    groups = {group.name: group for group in sorted(group_by_setting(runs, folder), key=lambda group: group.mean)}
    if options.against and options.against not in groups:
        raise ValueError(f"no network {options.against!r} in {folder}; expected one of {', '.join(groups)}")
    console = Console()
    untested = [str(training.relative_to(folder)) for training in trainings_without_test(folder, runs)]
    console.print(seed_table(list(groups.values()), options.metric, width=console.width, untested=untested))
    if options.against:
        baseline = groups[options.against]
        num_runs = {name: len(group.values) for name, group in groups.items()}
        intervals = seed_intervals(list(groups.values()), baseline, options.metric)
        console.print(seed_gain_table(intervals, options.against, num_runs=num_runs, width=console.width))
        if options.plot_gains:
            draw_gains(intervals, Path(options.plot_gains), baseline=options.against, metric=options.metric)
        if options.per_class:
            gains = {name: class_gains(group, baseline) for name, group in groups.items() if group is not baseline}
            first = {name: found[: options.per_class] for name, found in gains.items()}
            num_classes = max(map(len, gains.values()), default=0)
            console.print(
                class_gain_table(
                    first,
                    options.against,
                    num_runs=num_runs,
                    num_classes=num_classes,
                    width=console.width,
                    without_videos=classes_without_videos(baseline),
                )
            )
    if options.plot:
        draw_seeds(list(groups.values()), Path(options.plot), metric=options.metric, marks=options.marks)
    if options.plot_curves:
        curves = {group.name: read_learning_curves(group.trainings, options.metric) for group in groups.values()}
        for line in (line for found in curves.values() for line in found.missing):
            print(line, file=sys.stderr)
        draw_learning_curves(curves, Path(options.plot_curves), metric=options.metric)
    for plot in (options.plot, options.plot_gains, options.plot_curves):
        if plot:
            console.print(f"plot: {plot}", soft_wrap=True)
