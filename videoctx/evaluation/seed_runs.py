"""Finds tested runs that differ only in their seed, and trainings that were not tested."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from videoctx.evaluation.controls import controls_of
from videoctx.evaluation.result_files import read_result
from videoctx.evaluation.resumed_trainings import config_of_whole_training, read_run_config, trainings_resumed
from videoctx.evaluation.run_folders import CONFIG_FILE, TRAINING_CARD_FILE, training_of
from videoctx.evaluation.seeds import SeedGroup


class SeedRun(NamedTuple):
    """A tested run, and what identifies other runs of the same setting."""

    folder: Path  # of the test
    place: Path  # of the training that the test lies in, or else of the test
    seed: int
    setting: str  # JSON of how it was trained, without seed and output folder, and of the data it was tested on
    num_parameters: int
    value: float  # the metric
    training: Path  # whose checkpoint was tested
    num_failed: int  # videos of the test that could not be evaluated
    controls: tuple[str, ...] = ()  # of the test


def read_seed_run(file: Path, metric: str) -> SeedRun:
    """Return the run of a `results.json`. Its seed is in the config of the training whose checkpoint was tested.

    That is the training that the test lies in, or else the one that the checkpoint lies in.

    A training that was resumed has the setting of one that was not interrupted.

    Raises:
        ValueError: there is no checkpoint, no config of its training, or no such metric.
    """
    result = read_result(file)
    numbers = [name for name, value in result.items() if isinstance(value, float)]
    if metric not in numbers:
        raise ValueError(f"{file}: no metric {metric!r} in there; expected one of {', '.join(numbers)}")
    if not result.get("checkpoint"):
        raise ValueError(f"{file}: tested without a checkpoint of `videoctx fit`; its seed is not known")
    checkpoint = Path(result["checkpoint"])
    training = training_of(file.parent) or training_of(checkpoint) or checkpoint.parents[1]
    trained, tested = training / CONFIG_FILE, file.with_name(CONFIG_FILE)
    for needed in (trained, tested):
        if not needed.is_file():
            raise ValueError(f"{file}: expected the run's config at {needed}; paths are as the test was given them")
    config = config_of_whole_training(training)
    seed = config.pop("seed_everything")
    del config["trainer"]["logger"]
    found = controls_of(file.parent)
    setting = {
        "trained": config,
        "tested": read_run_config(tested.parent)["data"],
        "checkpoint": checkpoint.name,
        "controls": found,
    }
    place = training if file.is_relative_to(training) else file.parent
    described = json.dumps(setting, sort_keys=True)
    return SeedRun(
        folder=file.parent,
        place=place,
        seed=seed,
        setting=described,
        num_parameters=result["num_parameters"],
        value=result[metric],
        training=training,
        num_failed=result["num_failed"],
        controls=found,
    )


def trainings_without_test(folder: Path, runs: Sequence[SeedRun]) -> list[Path]:
    """Return the trainings below a folder that have no test, such as those that failed, sorted by path.

    A training from which another one was resumed is a part of that one.

    Args:
        runs: all tested runs below the folder.
    """
    tested = {part.resolve() for run in runs for part in trainings_resumed(run.training)}
    found = sorted(file.parent for file in folder.rglob(TRAINING_CARD_FILE))
    return [training for training in found if training.resolve() not in tested]


def group_by_setting(runs: Sequence[SeedRun], folder: Path) -> list[SeedGroup]:
    """Group the runs of each setting.

    Args:
        folder: a folder above all runs. A group is named after the folder below it that holds all of its runs, and
            after the controls of its tests.

    Raises:
        ValueError: two runs have the same setting and seed, or a folder mixes runs of two settings.
    """
    by_setting: dict[str, dict[int, SeedRun]] = {}
    for run in runs:
        seeds = by_setting.setdefault(run.setting, {})
        if run.seed in seeds:
            raise ValueError(
                f"{seeds[run.seed].folder} and {run.folder} are of one setting and of seed {run.seed}; expected one"
            )
        seeds[run.seed] = run
    groups: dict[str, SeedGroup] = {}
    for seeds in by_setting.values():
        sorted_runs = [run for _, run in sorted(seeds.items())]
        shared = Path(os.path.commonpath([run.place for run in sorted_runs]))
        name = os.path.relpath(shared, folder) if shared != folder else folder.name
        name = ", ".join([name, *sorted_runs[0].controls])
        if name in groups:
            raise ValueError(f"{shared}: runs of different settings are mixed in there; expected a folder for each")
        groups[name] = SeedGroup(
            name,
            sorted_runs[0].num_parameters,
            values={run.seed: run.value for run in sorted_runs},
            folders=tuple(run.folder for run in sorted_runs),
            trainings={run.seed: run.training for run in sorted_runs},
            num_failed=sum(run.num_failed for run in sorted_runs),
        )
    return list(groups.values())
