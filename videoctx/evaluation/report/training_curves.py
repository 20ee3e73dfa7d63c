"""Reads the curves of a training from the `metrics.csv` that Lightning's CSVLogger writes."""

import csv
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

CLIPS_PER_SECOND = "train/clips_per_second"
DATA_WAIT_FRACTION = "train/data_wait_fraction"
LEARNING_RATE = "lr-"  # prefix of the names that LearningRateMonitor logs
PREFIXES = ("train/", "val/", LEARNING_RATE)
MAX_POINTS = 300  # per curve; a chart has no room for more

TITLES = LOSS, METRICS, RATE, SPEED, WAIT = (
    "Loss",
    "Metrics",
    "Learning rate",
    "Clips per second",
    "Time spent waiting for videos",
)

Curve = list[tuple[float, float]]  # step, value


class TrainingLog(NamedTuple):
    """The curves of a training.

    Args:
        curves: name of the metric → (step, value) of each point.
        num_not_finite: how many values were left out because they are NaN or infinite.
    """

    curves: dict[str, Curve]
    num_not_finite: int


def read_curves(path: Path) -> TrainingLog:
    """Read every `train/…`, `val/…` and `lr-…` column of a log.

    A curve of more than `MAX_POINTS` points is replaced by the means of neighboring steps.

    Raises:
        ValueError: the file is not a log of `videoctx fit`.
    """
    found: dict[str, Curve] = defaultdict(list)
    num_not_finite = 0
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        try:
            reader = csv.DictReader(file)
            names = [name for name in reader.fieldnames or () if name and name.startswith(PREFIXES)]
            rows = list(reader)
        except csv.Error as error:
            raise ValueError(f"{path}: not a CSV file ({error})") from error
    if not names or "step" not in (reader.fieldnames or ()):
        raise ValueError(f"{path}: not a log of `videoctx fit`: expected columns such as step and train/loss")
    for row in rows:
        for name in names:
            try:
                point = float(row["step"]), float(row[name])
            except (TypeError, ValueError):  # a row of other metrics, or a truncated line
                continue
            if all(map(math.isfinite, point)):
                found[name].append(point)
            else:
                num_not_finite += 1
    return TrainingLog({name: _thinned(sorted(curve)) for name, curve in found.items()}, num_not_finite)


def grouped(curves: Mapping[str, Curve]) -> dict[str, dict[str, Curve]]:
    """Return the curves that share their axes, by the title of their chart."""
    groups: dict[str, dict[str, Curve]] = {title: {} for title in TITLES}
    for name, curve in curves.items():
        groups[_title(name)][name] = curve
    return {title: group for title, group in groups.items() if group}


def _title(name: str) -> str:
    if name.endswith("loss"):
        return LOSS
    if name.startswith(LEARNING_RATE):
        return RATE
    return {CLIPS_PER_SECOND: SPEED, DATA_WAIT_FRACTION: WAIT}.get(name, METRICS)


def _thinned(curve: Sequence[tuple[float, float]]) -> Curve:
    size = max(1, math.ceil(len(curve) / MAX_POINTS))
    parts = [curve[start : start + size] for start in range(0, len(curve), size)]
    return [(sum(x for x, _ in part) / len(part), sum(y for _, y in part) / len(part)) for part in parts]
