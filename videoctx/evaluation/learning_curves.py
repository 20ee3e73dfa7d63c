"""Validation results by epoch of trainings that differ only in their seed, from Lightning's `metrics.csv`."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from videoctx.evaluation.resumed_trainings import trainings_resumed
from videoctx.evaluation.run_folders import METRICS_FILE


@dataclass(frozen=True, slots=True)
class LearningCurves:
    """The curves of the trainings of one network, over the epochs that all of them have.

    Args:
        epochs: from 0.
        values: seed → the metric after each of the epochs.
        missing: a line for each training that lacks epochs of another one.
    """

    epochs: tuple[int, ...]
    values: dict[int, tuple[float, ...]]
    missing: tuple[str, ...] = ()

    @property
    def mean(self) -> np.ndarray:
        """(E,) the mean over seeds."""
        return np.mean(list(self.values.values()), axis=0)

    @property
    def deviation(self) -> np.ndarray:
        """(E,) the standard deviation over seeds, with n - 1. There must be two or more."""
        return np.std(list(self.values.values()), axis=0, ddof=1)


def read_learning_curves(trainings: Mapping[int, Path], metric: str) -> LearningCurves:
    """Read the curves of a network's trainings.

    Args:
        trainings: seed → folder of the training.
        metric: the validation metric, such as `video_top1`.

    Raises:
        ValueError: a training has no such metric by epoch, or no epoch is in all of them.
    """
    curves = {seed: read_learning_curve(folder, metric) for seed, folder in trainings.items()}
    every = sorted({epoch for curve in curves.values() for epoch in curve})
    shared = tuple(epoch for epoch in every if all(epoch in curve for curve in curves.values()))
    if not shared:
        names = ", ".join(map(str, trainings.values()))
        raise ValueError(f"{names}: no epoch has val/{metric} in all of these trainings; expected the same epochs")
    missing = []
    for seed, curve in curves.items():
        if absent := [str(epoch + 1) for epoch in every if epoch not in curve]:
            missing.append(f"{trainings[seed]}: no val/{metric} in epoch {', '.join(absent)}, which is left out")
    values = {seed: tuple(curve[epoch] for epoch in shared) for seed, curve in curves.items()}
    return LearningCurves(shared, values, tuple(missing))


def read_learning_curve(training: Path, metric: str) -> dict[int, float]:
    """Return the metric after each epoch, from 0. Epochs before a training was resumed are read in the earlier log.

    Raises:
        ValueError: the log has no such metric.
    """
    found: dict[int, float] = {}
    for folder in trainings_resumed(training):
        found = _logged(folder / METRICS_FILE, f"val/{metric}") | found
    if not found:
        raise ValueError(f"{training / METRICS_FILE}: no values of val/{metric}; expected a training with validation")
    return found


def _logged(file: Path, column: str) -> dict[int, float]:
    """Return the values of a column by their epoch. A log that is not there, or a truncated line, has none."""
    if not file.is_file():
        return {}
    found = {}
    with file.open(newline="", encoding="utf-8", errors="replace") as lines:
        try:
            for row in csv.DictReader(lines):
                try:
                    found[int(row["epoch"])] = float(row[column])
                except (KeyError, TypeError, ValueError):  # a row of other metrics
                    continue
        except csv.Error as error:
            raise ValueError(f"{file}: not a CSV file ({error})") from error
    return found
