"""Writes, finds and reads the result files of tested runs, and writes predictions.

| file | written by | content |
|---|---|---|
| `results.json` | `videoctx test` | every metric with its interval, and the counts |
| `classes.csv` | `videoctx test` | one row per class: its videos, recall, precision and F1, or average precision |
| `confusion.csv` | `videoctx test` | one row per pair of label and prediction; only where a video has one label |
| `predictions.csv` | `videoctx predict` | one row per video: its best classes and their probabilities |

The scores themselves are `scores.parquet` (`videoctx.evaluation.scores`), the circumstances `card.json`
(`videoctx.evaluation.card`).
"""

import csv
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from videoctx.atomic_write import atomic_write
from videoctx.evaluation.evaluation_result import EvaluationResult
from videoctx.evaluation.ranking import best_classes
from videoctx.evaluation.run_folders import RESULT_FILE, list_tests, newest_of_each_control, newest_test, number_of
from videoctx.evaluation.scores import ScoreError
from videoctx.evaluation.view_scores import NOT_FINITE, ViewScores

CLASSES_FILE = "classes.csv"
CONFUSION_FILE = "confusion.csv"
PREDICTIONS_FILE = "predictions.csv"
COUNTS = ("num_videos", "num_views", "num_failed")


def write_result_files(
    result: EvaluationResult, folder: Path, *, checkpoint: str | None, num_parameters: int
) -> dict[str, object]:
    """Write `results.json`, `classes.csv` and, where a video has one label, `confusion.csv`.

    Args:
        folder: an existing folder.
        checkpoint: the path of the checkpoint that was tested.
        num_parameters: of the network.

    Returns:
        What `results.json` holds.
    """
    summary = {"checkpoint": checkpoint, "num_parameters": num_parameters, **result.summary()}
    with atomic_write(folder / RESULT_FILE) as part:
        part.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    write_classes(result, folder / CLASSES_FILE)
    if not result.view_scores.multi_label:
        write_confusion(result, folder / CONFUSION_FILE)
    return summary


def write_classes(result: EvaluationResult, path: Path) -> None:
    """Write a CSV file with one row per class: its videos, recall, precision and F1, or its average precision.

    The recall of a class is its accuracy. Empty: not defined, as the precision of a class that was never predicted.
    """
    if result.view_scores.multi_label:
        rows = [(found.name, found.num_videos, _decimal(found.value)) for found in result.per_class]
        write_csv(path, ("class", "videos", "average_precision"), rows)
        return
    header = ("class", "videos", "predicted", "correct", "recall", "precision", "f1")
    numbers = [map(_decimal, (one.value, one.precision, one.f1)) for one in result.per_class]
    counts = [(one.name, one.num_videos, one.num_predicted, one.num_correct) for one in result.per_class]
    write_csv(path, header, [(*first, *rest) for first, rest in zip(counts, numbers, strict=True)])


def _decimal(value: float | None) -> str:
    return "" if value is None else f"{value:.6f}"


def write_confusion(result: EvaluationResult, path: Path) -> None:
    """Write a CSV file with one row per pair of label and prediction that occurs, the most frequent pair first.

    The prediction of a video without scores is empty.
    """
    names = [*result.view_scores.class_names, ""]
    counts = [(-int(result.confusion[i, j]), names[i], names[j]) for i, j in np.argwhere(result.confusion)]
    write_csv(path, ("label", "prediction", "videos"), [(i, j, -count) for count, i, j in sorted(counts)])


def write_predictions(view_scores: ViewScores, path: Path, *, num_best: int = 5) -> None:
    """Write a CSV file with one row per video: its best classes with their probabilities, or why it failed.

    Args:
        num_best: the most classes of a row.
    """
    num_best = min(num_best, len(view_scores.class_names))
    header = [f"{name}_{rank}" for rank in range(1, num_best + 1) for name in ("class", "probability")]
    rows = []
    for video, average, failure in zip(view_scores.paths, view_scores.averages(), view_scores.failures, strict=True):
        cells = [""] * len(header)
        if failure is None and np.isnan(average).any():
            failure = NOT_FINITE
        if failure is None:
            best = best_classes(average, num_best)
            cells = [cell for index in best for cell in (view_scores.class_names[index], f"{average[index]:.4f}")]
        rows.append([video, *cells, failure or ""])
    write_csv(path, ["video", *header, "failure"], rows)


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV file in UTF-8 with one header line."""
    with atomic_write(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def read_json_object(path: Path) -> dict[str, Any]:
    """Return the content of a JSON file that a run has written. Without the file it is empty.

    Raises:
        ScoreError: it is not a JSON object, or a truncated one.
    """
    if not path.exists():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ScoreError(f"{path}: not what `videoctx test` writes, or truncated: {error}") from error
    if not isinstance(found, dict):
        raise ScoreError(f"{path}: not what `videoctx test` writes; expected an object, got {type(found).__name__}")
    return found


def result_files(folders: Sequence[Path]) -> list[Path]:
    """Return the results in some folders and below them, sorted by path.

    Raises:
        ValueError: there are none.
    """
    files = sorted({file for folder in folders for file in folder.rglob(RESULT_FILE)})
    if not files:
        names = ", ".join(map(str, folders))
        raise ValueError(f"{names}: no {RESULT_FILE} in there; `videoctx test` writes one per run")
    return files


def newest_result_files(folders: Sequence[Path], *, with_controls: bool = False) -> tuple[list[Path], list[str]]:
    """Return the results in some folders and below them, of several tests of one training only the newest.

    Args:
        with_controls: also the newest test of each control.

    Returns:
        The files, sorted by path; and a line for each training that has several.

    Raises:
        ValueError: there are none.
    """
    files, lines = result_files(folders), []
    older: set[Path] = set()
    for run in dict.fromkeys(file.parent.parent for file in files if number_of(file.parent, "test") is not None):
        newest, line = newest_test(run)
        kept = newest_of_each_control(run) if with_controls else [newest]
        if line and not with_controls:
            lines.append(line)
        older |= {folder / RESULT_FILE for folder in list_tests(run) if folder not in kept}
    return [file for file in files if file not in older], lines


def read_result(file: Path) -> dict[str, Any]:
    """Return the metrics and counts of a tested run.

    Raises:
        ValueError: it is not a result, or a truncated one.
    """
    try:
        result = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file}: not a result, or a truncated one: {error}") from error
    missing = {"num_parameters", *COUNTS} - (result.keys() if isinstance(result, dict) else set())
    if missing:
        raise ValueError(f"{file}: not a result of `videoctx test`: it lacks {', '.join(sorted(missing))}")
    return result
