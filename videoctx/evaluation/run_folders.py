"""Where runs lie: the folder of a training, and its evaluations inside it.

    runs/own_videos/version_0              a training: training_card.json, config.yaml, checkpoints, metrics.csv
    runs/own_videos/version_0/test         the first test of one of its checkpoints
    runs/own_videos/version_0/test-1       the second one; `validate` and `predict` are named likewise

This file imports neither torch nor numpy, because the command line uses it before it parses its arguments.
"""

import re
from pathlib import Path

from videoctx.evaluation.controls import controls_of

CONFIG_FILE = "config.yaml"
TRAINING_CARD_FILE = "training_card.json"
METRICS_FILE = "metrics.csv"  # of Lightning's CSVLogger
SCORES_FILE = "scores.parquet"
RESULT_FILE = "results.json"

EVALUATIONS = ("validate", "test", "predict")


def training_of(path: str | Path) -> Path | None:
    """Return the folder of the training that a file or folder lies in: the nearest one above it with a training card.

    A link to a checkpoint belongs to the training that the link lies in or, where that is none, to that of the file.
    """
    absolute = Path(path).absolute()
    for start in dict.fromkeys((absolute, absolute.resolve())):
        for folder in start.parents:
            if (folder / TRAINING_CARD_FILE).is_file():
                return _as_given(folder, path)
    return None


def _as_given(folder: Path, path: str | Path) -> Path:
    """Return a folder relative to the current one where the path in it was."""
    if not Path(path).is_absolute() and folder.is_relative_to(Path.cwd()):
        return folder.relative_to(Path.cwd())
    return folder


def number_of(folder: Path, command: str) -> int | None:
    """Return the number of an evaluation by its folder's name. None: the folder has another name.

    >>> [number_of(Path(name), "test") for name in ("run/test", "run/test-12", "run/tests")]
    [0, 12, None]
    """
    found = re.fullmatch(rf"{re.escape(command)}(?:-([1-9]\d*))?", folder.name)
    return int(found[1] or 0) if found else None


def next_name(run: Path, command: str) -> str:
    """Return the name of the next evaluation of a run: `test`, `test-1`, … Numbers are not used twice."""
    numbers = [number_of(folder, command) for folder in run.iterdir()] if run.is_dir() else []
    number = max((number for number in numbers if number is not None), default=-1) + 1
    return f"{command}-{number}" if number else command


def list_tests(run: Path) -> list[Path]:
    """Return the folders of a training's tests that have results, the oldest first."""
    numbers = {folder: number_of(folder, "test") for folder in run.iterdir()} if run.is_dir() else {}
    tests = {folder: number for folder, number in numbers.items() if number is not None and _is_tested(folder)}
    return sorted(tests, key=lambda folder: tests[folder])


def _is_tested(folder: Path) -> bool:
    return (folder / SCORES_FILE).is_file() or (folder / RESULT_FILE).is_file()


def newest_test(run: Path) -> tuple[Path, str]:
    """Return the folder with the scores of a tested run, and a line that names it if there was a choice.

    A control (`videoctx.evaluation.controls`) is taken only where a training has no other test.

    Args:
        run: the folder of a test, or that of a training with tests inside.
    """
    tests = [] if _is_tested(run) else list_tests(run)
    if not tests:
        return run, ""
    found = {test: controls_of(test) for test in tests}
    without = [test for test in tests if not found[test]]
    chosen = (without or tests)[-1]
    if found[chosen]:
        return chosen, f"{run}: {chosen.name} is taken, a control ({', '.join(found[chosen])})"
    if len(without) < len(tests):
        return chosen, f"{run}: the newest of {len(tests)} tests that is no control is taken, {chosen.name}"
    return chosen, f"{run}: the newest of {len(tests)} tests is taken, {chosen.name}" if len(tests) > 1 else ""


def newest_of_each_control(run: Path) -> list[Path]:
    """Return the newest test of a training without a control, and the newest of each control, the oldest first."""
    newest = {controls_of(test): test for test in list_tests(run)}
    return [test for test in list_tests(run) if test in newest.values()]
