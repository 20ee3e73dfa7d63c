"""`videoctx seeds`."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import yaml
from rich.console import Console
from rich.table import Table

from videoctx.cli.tool_parser import ToolParser
from videoctx.evaluation.evaluation_result import percent
from videoctx.evaluation.seeds import SeedGroup, SeedIntervals, draw_seeds, seed_intervals


class Run(NamedTuple):
    """A tested run, and what tells whether another is the same but for its seed."""

    folder: Path
    seed: int
    setting: str  # how it was trained, without the seed and without where it wrote; and what it was tested on
    num_parameters: int
    value: float


def run_seeds(arguments: Sequence[str]) -> None:
    """Mean and spread of tested runs that differ only in their seed: a table, and a plot of every run."""
    parser = ToolParser(prog="videoctx seeds", description=run_seeds.__doc__)
    parser.add_argument("folder", type=str, help="folder of runs; those of one network in a folder of their own")
    parser.add_argument("--metric", default="video_top1", help="a number of results.json")
    parser.add_argument("--against", help="a network of the table: what each is better by, with 95 % intervals")
    parser.add_argument("--plot", help="PNG with a dot a run")
    parser.add_argument("--marks", type=float, nargs="+", default=[], help="values to mark in it, such as chance")
    options = parser.parse_args(list(arguments))
    folder = Path(options.folder)
    files = sorted(folder.rglob("results.json"))
    if not files:
        raise ValueError(f"{folder}: no results.json in there; `videoctx test` writes one a run")
    groups = sorted(grouped([read_run(file, options.metric) for file in files], folder), key=lambda group: group.mean)
    names = [group.name for group in groups]
    if options.against and options.against not in names:
        raise ValueError(f"no network {options.against!r} in {folder}; expected one of {', '.join(names)}")
    console = Console()
    console.print(_over_seeds(groups, options.metric))
    if options.against:
        baseline = groups[names.index(options.against)]
        console.print(_against(seed_intervals(groups, baseline, options.metric), baseline.name))
    if options.plot:
        draw_seeds(groups, Path(options.plot), metric=options.metric, marks=options.marks)
        console.print(f"plot: {options.plot}", soft_wrap=True)


def _over_seeds(groups: Sequence[SeedGroup], metric: str) -> Table:
    table = _table(
        ("network", "params", "runs", "mean", "deviation", "least", "most"),
        f"{metric} over seeds; the deviation is of single runs, not of the mean",
    )
    for group in groups:
        deviation, values = group.deviation, group.values.values()
        table.add_row(
            group.name,
            f"{group.num_parameters / 1e6:.3f}M",
            str(len(values)),
            f"{group.mean:.1%}",
            "" if deviation is None else f"{100 * deviation:.1f}",
            f"{min(values):.1%}",
            f"{max(values):.1%}",
        )
    return table


def _against(found: Mapping[str, SeedIntervals], baseline: str) -> Table:
    table = _table(("network", "mean", f"over {baseline}"), "in brackets 95 % intervals over seeds and videos")
    for name, (mean, gain) in found.items():
        low, high = (100 * end for end in gain.interval)
        over = f"{100 * gain.value:+.1f} ({low:+.1f} – {high:+.1f})"
        table.add_row(name, percent(mean), "" if name == baseline else over)
    return table


def _table(headings: Sequence[str], caption: str) -> Table:
    table = Table(caption=caption)
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "network" else "right", overflow="fold")
    return table


def read_run(file: Path, metric: str) -> Run:
    """The run whose results.json this is. Its seed is that of the training, whose config lies by the checkpoint.

    Raises:
        ValueError: no checkpoint, no config by it, no seed in that, or no such metric.
    """
    try:
        result = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file}: not a result, or a truncated one: {error}") from error
    numbers = [name for name, value in result.items() if isinstance(value, float)]
    if metric not in numbers:
        raise ValueError(f"{file}: no metric {metric!r} in there; expected one of {', '.join(numbers)}")
    if not result.get("checkpoint"):
        raise ValueError(f"{file}: tested without a checkpoint of `videoctx fit`; its seed is not known")
    trained = Path(result["checkpoint"]).parents[1] / "config.yaml"
    tested = file.with_name("config.yaml")
    for config in (trained, tested):
        if not config.is_file():
            raise ValueError(f"{file}: expected the run's config at {config}; paths are as the test was given them")
    config = yaml.safe_load(trained.read_text(encoding="utf-8"))
    seed = config.pop("seed_everything")
    del config["trainer"]["logger"]
    setting = {"trained": config, "tested": yaml.safe_load(tested.read_text(encoding="utf-8"))["data"]}
    setting["checkpoint"] = Path(result["checkpoint"]).name
    return Run(file.parent, seed, json.dumps(setting, sort_keys=True), result["num_parameters"], result[metric])


def grouped(runs: Sequence[Run], folder: Path) -> list[SeedGroup]:
    """Groups of runs of one setting, each named after the folder, below `folder`, that holds all of its runs.

    Raises:
        ValueError: two runs of one setting and seed, or two settings whose runs are mixed in one folder.
    """
    by_setting: dict[str, dict[int, Run]] = {}
    for run in runs:
        seeds = by_setting.setdefault(run.setting, {})
        if run.seed in seeds:
            raise ValueError(
                f"{seeds[run.seed].folder} and {run.folder} are of one setting and of seed {run.seed}; expected one"
            )
        seeds[run.seed] = run
    groups: dict[str, SeedGroup] = {}
    for seeds in by_setting.values():
        common = os.path.commonpath([run.folder for run in seeds.values()])
        name = os.path.relpath(common, folder) if Path(common) != folder else folder.name
        if name in groups:
            raise ValueError(f"{common}: runs of different settings are mixed in there; expected a folder for each")
        first = next(iter(seeds.values()))
        values = {seed: run.value for seed, run in sorted(seeds.items())}
        folders = tuple(run.folder for _, run in sorted(seeds.items()))
        groups[name] = SeedGroup(name, first.num_parameters, values, folders)
    return list(groups.values())
