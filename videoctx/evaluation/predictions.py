"""What a network says of videos that nobody has labeled: a table for people."""

import csv
from pathlib import Path

import numpy as np

from videoctx.atomic_write import atomic_write
from videoctx.evaluation.view_scores import ViewScores


def write_predictions(stored: ViewScores, predictions: Path, *, num_best: int = 5) -> None:
    """A CSV row a video: its best classes and their probabilities, averaged over its views, or why it failed."""
    num_best = min(num_best, len(stored.class_names))
    header = [f"{name}_{rank}" for rank in range(1, num_best + 1) for name in ("class", "probability")]
    with atomic_write(predictions) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["video", *header, "failure"])
        for video, average, failure in zip(stored.paths, stored.averages(), stored.failures, strict=True):
            if failure is not None:
                writer.writerow([video, *[""] * len(header), failure])
                continue
            best = np.argsort(-average, kind="stable")[:num_best]
            cells = [cell for index in best for cell in (stored.class_names[index], f"{average[index]:.4f}")]
            writer.writerow([video, *cells, ""])
