"""`videoctx classify VIDEO`: the classes of whole videos."""

import sys
from collections.abc import Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table

from videoctx.cli.probability_bars import class_table
from videoctx.evaluation.view_subset import Views
from videoctx.inference.classifier import Classifier
from videoctx.inference.prediction import Prediction
from videoctx.inference.video_paths import video_paths
from videoctx.printed_tables import Console
from videoctx.terminal import printable


def classify_videos(
    trained: Classifier, videos: Sequence[str], *, views: str | None, fps: float | None, num_best: int
) -> dict[str, Any]:
    """Print the classes of a video, or of each of several videos and folders, and return the result for JSON.

    Args:
        views: clips x crops, such as 10x3; by default those of the test.
        fps: frames per second of images.
    """
    paths = list(dict.fromkeys(path for video in videos for path in video_paths(video)))
    chosen = Views.parse(views) if views else Views(*trained.preprocessing.views)
    predictions = trained.predict(paths, top=num_best, views=chosen, fps=fps)
    if len(paths) > 1 or not predictions[0].failure:  # the one line below tells all of a single failure
        if len(paths) == 1:
            print(printable(paths[0]))
        console = Console()
        console.print(_table(predictions, console))
    for prediction in predictions:
        if prediction.failure:
            print(printable(f"{prediction.path}: {prediction.failure}"), file=sys.stderr)
    return {
        "views": list(chosen),
        "num_failed": sum(prediction.failure is not None for prediction in predictions),
        "videos": [_as_dict(prediction) for prediction in predictions],
    }


def _table(predictions: Sequence[Prediction], console: Console) -> Table:
    """Return a row per class for a single video, and a row per video for several."""
    if len(predictions) == 1:
        return class_table(predictions[0], console)
    table = Table()
    table.add_column("video", overflow="fold")  # a name that is cut could be another video's
    table.add_column("class, probability", overflow="fold")
    for prediction in predictions:
        best = ", ".join(f"{name} {probability:.1%}" for name, probability in prediction)
        cells = (prediction.path, best or f"failed: {prediction.failure}")
        table.add_row(*(escape(printable(cell)) for cell in cells))
    return table


def _as_dict(prediction: Prediction) -> dict[str, Any]:
    if prediction.failure:
        return {"video": prediction.path, "failure": prediction.failure}
    classes = [{"class": name, "probability": probability} for name, probability in prediction]
    return {"video": prediction.path, "classes": classes}
