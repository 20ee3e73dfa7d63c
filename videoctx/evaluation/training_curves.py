"""The curves of a training, of the `metrics.csv` that Lightning's CSVLogger writes."""

import csv
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

METRICS_FILE = "metrics.csv"
CLIPS_PER_SECOND = "train/clips_per_second"
DATA_WAIT_FRACTION = "train/data_wait_fraction"
LEARNING_RATE = "lr-"  # how names begin that LearningRateMonitor gives
PREFIXES = ("train/", "val/", LEARNING_RATE)
MOST_POINTS = 300  # of a curve: more than a chart has room for

TITLES = LOSS, METRICS, RATE, SPEED, WAIT = (
    "Loss",
    "Metrics",
    "Learning rate",
    "Clips a second",
    "Time spent waiting for videos",
)

Curve = list[tuple[float, float]]  # step, value


class TrainingLog(NamedTuple):
    """Curves by the names of their metrics, and how many values were left out because they are no finite number."""

    curves: dict[str, Curve]
    num_left_out: int


def read_curves(path: Path) -> TrainingLog:
    """Every `train/…`, `val/…` and `lr-…` column over the steps; a long one as means of neighboring steps.

    Raises:
        ValueError: it is no such table, or has no such column.
    """
    found: dict[str, Curve] = defaultdict(list)
    num_left_out = 0
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        try:
            reader = csv.DictReader(file)
            names = [name for name in reader.fieldnames or () if name and name.startswith(PREFIXES)]
            rows = list(reader)
        except csv.Error as error:
            raise ValueError(f"{path}: not a CSV file ({error})") from error
    if not names or "step" not in reader.fieldnames:
        raise ValueError(f"{path}: not a log of `videoctx fit`: expected columns such as step and train/loss")
    for row in rows:
        for name in names:
            try:
                point = float(row["step"]), float(row[name])
            except (TypeError, ValueError):  # of another metric of this step, or a line cut short
                continue
            if all(map(math.isfinite, point)):
                found[name].append(point)
            else:
                num_left_out += 1
    return TrainingLog({name: _thinned(sorted(curve)) for name, curve in found.items()}, num_left_out)


def grouped(curves: Mapping[str, Curve]) -> dict[str, dict[str, Curve]]:
    """What belongs on the same axes, by their title."""
    groups = {title: {} for title in TITLES}
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
    size = max(1, math.ceil(len(curve) / MOST_POINTS))
    parts = [curve[start : start + size] for start in range(0, len(curve), size)]
    return [tuple(sum(values) / len(part) for values in zip(*part, strict=True)) for part in parts]
